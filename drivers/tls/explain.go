package tls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/libvtx/libvtx/internal/printable"
	"github.com/libvtx/libvtx/vtx"
)

// What the monitor's events of failed handshakes carry.
const (
	authFailed    = 400        // EventHandshakeFailedAuth: RFC 27's status of an authentication that failed
	cryptographic = 0x11000001 // EventHandshakeFailedProtocol: ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC
)

// peer is who is at the other end.
func (s *store) peer() string {
	if s.server {
		return "client"
	}
	return "server"
}

// explain puts why a handshake failed into words, so that whoever reads the event knows what to mend. An error that is
// not TLS's own stays as it is.
func (s *store) explain(err error) error {
	auth := func(format string, args ...any) error {
		return &vtx.HandshakeError{Kind: vtx.EventHandshakeFailedAuth, Value: authFailed, Reason: fmt.Sprintf(format, args...), Err: err}
	}
	protocol := func(format string, args ...any) error {
		return &vtx.HandshakeError{Kind: vtx.EventHandshakeFailedProtocol, Value: cryptographic, Reason: fmt.Sprintf(format, args...), Err: err}
	}
	peer := s.peer()
	var unverified *tls.CertificateVerificationError
	if errors.As(err, &unverified) {
		return auth("the %s's certificate %s", peer, fault(unverified))
	}
	if errors.Is(err, errPin) {
		return auth("the %s's certificate is not accepted: %v", peer, errPin)
	}
	if errors.As(err, new(tls.RecordHeaderError)) {
		return protocol("the %s does not speak TLS", peer)
	}
	if code, ok := remoteAlert(err); ok {
		if words, known := refusals[code]; known {
			return auth("the %s %s", peer, words)
		}
		switch code {
		case alertProtocolVersion:
			return protocol("the %s speaks no version of TLS that we do: ours is %s or later (tls.min)", peer, tls.VersionName(s.min))
		case alertNoApplicationProtocol:
			return protocol("the %s knows none of our application protocols (tls.alpn)", peer)
		}
		return protocol("the %s ended the TLS handshake: %s", peer, tls.AlertError(code))
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &vtx.HandshakeError{
			Kind: vtx.EventHandshakeFailed, Value: uint32(syscall.ECONNRESET), Err: err,
			Reason: "the " + peer + " ended the connection within the TLS handshake",
		}
	}
	switch text, ours := tlsText(err); { // these have no type
	case strings.Contains(text, "client didn't provide a certificate"):
		return auth("the client has sent no certificate")
	case strings.Contains(text, "unsupported versions"), strings.Contains(text, "unsupported protocol version"):
		return protocol("the %s speaks no version of TLS that we do: ours is %s or later (tls.min)", peer, tls.VersionName(s.min))
	case strings.Contains(text, "application protocol"):
		return protocol("the %s knows none of our application protocols (tls.alpn)", peer)
	case ours:
		return protocol("the TLS handshake with the %s failed: %s", peer, printable.Quote(text))
	}
	return err
}

// broken puts into words why a stream ended behind its handshake.
func (s *store) broken(err error) error {
	if code, ok := remoteAlert(err); ok {
		if _, late := refusals[code]; late {
			return s.explain(err)
		}
		return fmt.Errorf("the %s ended the connection: %s: %w", s.peer(), tls.AlertError(code), errBroken)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the connection ended within what the %s has sent: %w", s.peer(), err)
	}
	if text, ours := tlsText(err); ours {
		return fmt.Errorf("what came is not what the %s has protected: %s: %w", s.peer(), printable.Quote(text), errBroken)
	}
	return err
}

// errBroken is behind the errors of crypto/tls's own.
var errBroken = errors.New("the TLS connection is broken")

// tlsText is what crypto/tls says of an error of its own.
func tlsText(err error) (text string, ours bool) {
	return strings.CutPrefix(strings.TrimPrefix(err.Error(), "local error: "), "tls: ")
}

// fault says what is wrong with a certificate that was not accepted here.
func fault(e *tls.CertificateVerificationError) string {
	var (
		invalid x509.CertificateInvalidError
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
	)
	switch {
	case errors.As(e, &invalid) && invalid.Reason == x509.Expired:
		if now := time.Now(); now.Before(invalid.Cert.NotBefore) {
			return "is not valid before " + date(invalid.Cert.NotBefore)
		}
		return "has expired: it was valid until " + date(invalid.Cert.NotAfter)
	case errors.As(e, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "is not meant for this use (extended key usage)"
	case errors.As(e, &host):
		return fmt.Sprintf("is for another host: it is for %s, not for %s", namesIn(host.Certificate), printable.Quote(host.Host))
	case errors.As(e, &unknown):
		if leaf := e.UnverifiedCertificates[0]; leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil {
			return "is signed by an unknown authority: by itself"
		}
		return "is signed by an unknown authority"
	}
	return "is not accepted: " + printable.Quote(strings.TrimPrefix(e.Err.Error(), "x509: "))
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// namesIn are the hosts that a certificate is for: a few of them, since it may have thousands.
func namesIn(c *x509.Certificate) string {
	const few = 4
	var names []string
	for _, name := range c.DNSNames {
		names = append(names, printable.Quote(name))
	}
	for _, address := range c.IPAddresses {
		names = append(names, address.String())
	}
	switch {
	case len(names) == 0:
		return "no host"
	case len(names) > few:
		return strings.Join(names[:few], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// escaped is a certificate's words without what could be mistaken for an end of a line or of a string.
func escaped(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(&b, `\%02X`, c) // as in RFC 4514, section 2.4
			}
		}
	}
	return b.String()
}

// Alerts (RFC 8446, section 6) that are no refusal of our certificate.
const (
	alertProtocolVersion       = 70
	alertNoApplicationProtocol = 120
)

// refusals are the alerts about certificates: what the peer says of ours.
var refusals = map[uint8]string{
	42:  "did not accept our certificate",
	43:  "did not accept our certificate: its type is not supported",
	44:  "did not accept our certificate: it is revoked",
	45:  "did not accept our certificate: it has expired",
	46:  "did not accept our certificate",
	48:  "did not accept our certificate: it does not know the authority that signed it",
	49:  "did not accept our certificate: access denied",
	116: "demands a certificate (tls.cert)",
}

// remoteAlert finds the number of an alert that the peer has sent. Its type is not exported.
func remoteAlert(err error) (uint8, bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0, false
	}
	if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
		return uint8(v.Uint()), true
	}
	return 0, false
}
