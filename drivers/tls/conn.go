package tls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"strings"

	"github.com/libvtx/libvtx/vtx"
)

// conn is one connection's TLS, when hands have been shaken. It can say why the peer did not like that after all.
type conn struct {
	*tls.Conn
	store *store
}

// secure puts TLS on a connection.
func (s *store) secure(c net.Conn) net.Conn {
	return &vtx.SecureConn{Conn: c, Protect: func(ctx context.Context, under net.Conn) (vtx.Protected, vtx.Identity, error) {
		begin := tls.Client
		if s.server {
			begin = tls.Server
		}
		t := begin(under, s.current())
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, vtx.Identity{}, s.explain(err)
		}
		if !s.server && s.verify == verifyNone {
			s.tell("tls.verify=none: nobody has verified that " + c.RemoteAddr().String() + " is who it should be")
		}
		return conn{t, s}, s.identity(t.ConnectionState()), nil
	}}
}

// Read implements vtx.Protected. A server of TLS 1.3 refuses a client's certificate when the client's handshake is over.
func (c conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil {
		return n, nil
	}
	if e, ok := err.(net.Error); ok && e.Timeout() {
		return n, err
	}
	if err == io.EOF {
		return n, err
	}
	return n, c.store.broken(err)
}

// identity is what a connection's certificates say.
func (s *store) identity(state tls.ConnectionState) vtx.Identity {
	id := vtx.Identity{Mechanism: "TLS", Facts: map[string]string{
		"tls.version": strings.TrimPrefix(tls.VersionName(state.Version), "TLS "),
		"tls.alpn":    state.NegotiatedProtocol,
		"tls.resumed": map[bool]string{true: "yes", false: "no"}[state.DidResume],
	}}
	cert := s.known(state)
	if cert == nil {
		return id
	}
	subject := escaped(cert.Subject.String())
	id.Facts["tls.subject"] = subject
	id.Facts["tls.certificate"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	id.Facts["tls.pin"] = pinOf(cert).String()
	if s.server {
		id.Credentials = [][]byte{cert.Raw, []byte(subject)}
	}
	return id
}

// known is the peer's certificate if it has been verified, by an authority or by a pin.
func (s *store) known(state tls.ConnectionState) *x509.Certificate {
	if len(state.VerifiedChains) == 0 && (len(state.PeerCertificates) == 0 || len(s.pins) == 0) {
		return nil
	}
	return state.PeerCertificates[0]
}
