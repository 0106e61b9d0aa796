package sasl

import (
	"strings"

	"github.com/emersion/go-sasl"

	"github.com/libvtx/libvtx/drivers/sasl/passwd"
)

const plus = "-PLUS" // of a SCRAM that is bound to its TLS connection (RFC 5802, section 4)

// strongest are the mechanisms, strongest first.
var strongest = []string{
	"SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", sasl.External, "SCRAM-SHA-512", "SCRAM-SHA-256", sasl.OAuthBearer, sasl.Plain,
}

// scramHash is what a mechanism hashes with, if it is a SCRAM.
func scramHash(mechanism string) (h passwd.Hash, ok bool) {
	for _, h := range passwd.Hashes {
		if h.Name == strings.TrimSuffix(mechanism, plus) {
			return h, true
		}
	}
	return h, false
}

// isPlus: it binds the exchange to the TLS connection.
func isPlus(mechanism string) bool { return strings.HasSuffix(mechanism, plus) }

// isOpen: it shows the secret itself to the server, and to whoever reads along.
func isOpen(mechanism string) bool { return mechanism == sasl.Plain || mechanism == sasl.OAuthBearer }
