package tls

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/libvtx/libvtx/vtx"
)

// The options. A certificate or key is the name of a file in PEM, or the PEM text itself.
const (
	optCert       = "tls.cert"       // our certificate, and behind it those that lead to an authority
	optKey        = "tls.key"        // its private key; by default it stands in tls.cert
	optCA         = "tls.ca"         // the authorities that we trust; by default, for clients, the system's
	optVerify     = "tls.verify"     // what we demand of the peer's certificate
	optServerName = "tls.servername" // who the server has to be; by default the endpoint's host
	optMin        = "tls.min"        // the oldest version of TLS
	optPins       = "tls.pins"       // public keys, of which the peer has to have one
	optALPN       = "tls.alpn"       // application protocols (RFC 7301)
)

// defaultALPN is what this driver calls what it speaks.
const defaultALPN = "zmtp/3.1"

var optionSpecs = []vtx.OptionSpec{
	{Name: optCert, Check: checkPEM, Secret: isSecret},
	{Name: optKey, Check: checkPEM, Secret: isSecret},
	{Name: optCA, Check: checkPEM, Secret: isSecret},
	{Name: optVerify, Check: oneOf(verifyNone, verifyRequest, verifyRequire), Secret: isSecret},
	{Name: optServerName, Check: checkName, Secret: isSecret},
	{Name: optMin, Check: oneOf("1.2", "1.3"), Secret: isSecret},
	{Name: optPins, Check: func(value string) error { _, err := parsePins(value); return err }, Secret: isSecret},
	{Name: optALPN, Check: func(value string) error { _, err := parseALPN(value); return err }, Secret: isSecret},
}

// The values of tls.verify. A server by default demands a certificate if it has been told whom to trust, and a client
// always.
const (
	verifyNone    = "none"
	verifyRequest = "request" // a server's: there need be none, but if there is one it has to be good
	verifyRequire = "require"
)

// settings are the options of one endpoint.
type settings struct {
	cert, key, ca source
	verify        string // "" where nobody said
	serverName    string
	min           uint16
	pins          []pin
	alpn          []string
}

// readSettings reads options that have been checked.
func readSettings(named map[string]string) settings {
	s := settings{
		cert: source{optCert, named[optCert]}, key: source{optKey, named[optKey]}, ca: source{optCA, named[optCA]},
		verify: named[optVerify], serverName: named[optServerName], min: tls.VersionTLS13, alpn: []string{defaultALPN},
	}
	if named[optMin] == "1.2" {
		s.min = tls.VersionTLS12
	}
	s.pins, _ = parsePins(named[optPins])
	if list, given := named[optALPN]; given {
		s.alpn, _ = parseALPN(list)
	}
	if s.key.value == "" {
		s.key.value = s.cert.value
	}
	return s
}

func isPEM(value string) bool { return strings.Contains(value, "-----BEGIN ") }

// isSecret: a private key's text, in whatever option it stands.
func isSecret(value string) bool { return strings.Contains(value, "PRIVATE KEY") }

// checkPEM refuses text that is PEM only by half. Whether a file is good shows when it is read.
func checkPEM(value string) error {
	if isPEM(value) && !strings.Contains(value, "-----END ") {
		return errors.New("the PEM text has no end")
	}
	if !isPEM(value) && strings.ContainsAny(value, "\r\n") {
		return errors.New("it is neither a file's name nor PEM text")
	}
	return nil
}

func oneOf(values ...string) func(string) error {
	return func(value string) error {
		for _, v := range values {
			if value == v {
				return nil
			}
		}
		return fmt.Errorf("it is one of %s", strings.Join(values, ", ")) // without the value, which may be anything
	}
}

func checkName(value string) error {
	if len(value) > 253 || strings.ContainsAny(value, " /*\r\n") {
		return errors.New("it is neither a host's name nor an address")
	}
	return nil
}

// pin is the SHA-256 of a public key as it stands in a certificate (SubjectPublicKeyInfo).
type pin [sha256.Size]byte

// String gives a pin as it may stand in tls.pins.
func (p pin) String() string { return base64.StdEncoding.EncodeToString(p[:]) }

// parsePins reads a comma-separated list, each in base64 or in hexadecimal.
func parsePins(value string) (list []pin, err error) {
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "sha256//") // as curl writes them
		if part == "" {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(part)
		if len(part) == 2*sha256.Size {
			b, err = hex.DecodeString(part)
		}
		if err != nil || len(b) != sha256.Size {
			return nil, errors.New("pins are SHA-256 digests of public keys, in base64 or hexadecimal, separated by commas")
		}
		list = append(list, pin(b))
	}
	return list, nil
}

// parseALPN reads a comma-separated list; nothing means that no protocol is named.
func parseALPN(value string) (list []string, err error) {
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		if len(part) > 255 || strings.ContainsAny(part, " \r\n") { // they are sent in the clear: let no key be taken for one
			return nil, errors.New("a protocol's name has at most 255 bytes and no spaces")
		}
		if part != "" {
			list = append(list, part)
		}
	}
	return list, nil
}
