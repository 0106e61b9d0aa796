package tls

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/libvtx/libvtx/drivers/internal/files"
	"github.com/libvtx/libvtx/drivers/tcp"
	"github.com/libvtx/libvtx/vtx"
)

// store makes the TLS configuration of one endpoint, and makes it anew when a file that it came from has changed. Its
// methods may be called from any goroutine.
type store struct {
	settings
	cfg    *vtx.Config
	server bool

	mu     sync.Mutex
	config *tls.Config
	stamps [3]files.Stamp // of the files that config was made of
	told   [3]files.Stamp // of those about which the monitor has been told that they are not usable
}

func newServerStore(cfg *vtx.Config) (*store, error) {
	s := &store{settings: readSettings(cfg.Options.Named), cfg: cfg, server: true}
	if s.cert.value == "" {
		return nil, s.refuse(errors.New("whoever binds needs tls.cert and tls.key"))
	}
	if _, given := cfg.Endpoint.Params["servername"]; given || cfg.Endpoint.Params[optServerName] != "" {
		return nil, fmt.Errorf("endpoint %s: option %s is for endpoints that are connected: %w", cfg.Endpoint, optServerName, vtx.ErrNotSupported)
	}
	if s.verify == "" {
		if s.verify = verifyNone; s.ca.value != "" {
			s.verify = verifyRequire
		}
	}
	if s.verify != verifyNone && s.ca.value == "" {
		// Not the system's: they vouch for the names of hosts, and would let in whoever has one.
		return nil, s.refuse(fmt.Errorf("tls.verify=%s needs tls.ca, the authorities that clients are known by", s.verify))
	}
	if s.verify == verifyNone && len(s.pins) > 0 {
		return nil, s.refuse(errors.New("tls.pins needs tls.verify: without it clients are asked for no certificate"))
	}
	return s, s.begin()
}

func newClientStore(cfg *vtx.Config) (*store, error) {
	s := &store{settings: readSettings(cfg.Options.Named), cfg: cfg}
	if s.verify == "" || s.verify == verifyRequest { // a socket's own option may be meant for what it binds
		s.verify = verifyRequire
	}
	if s.serverName == "" {
		host, err := tcp.Host(cfg.Endpoint)
		if err != nil {
			return nil, err
		}
		if a, err := netip.ParseAddr(host); err == nil {
			host = a.WithZone("").String() // no certificate knows of our interfaces
		}
		s.serverName = host
	}
	return s, s.begin()
}

// refuse names the endpoint in an error that makes the bind or connect fail.
func (s *store) refuse(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return fmt.Errorf("endpoint %s: %w", s.cfg.Endpoint, err)
	}
	return fmt.Errorf("endpoint %s: %w: %w", s.cfg.Endpoint, err, vtx.ErrInvalid)
}

func (s *store) begin() (err error) {
	s.stamps = s.look()
	if s.config, err = s.load(); err != nil {
		return s.refuse(err)
	}
	return nil
}

// current is the configuration for the next connection. If the files have changed and are not usable, it is the old one,
// and the monitor is told, once for each change.
func (s *store) current() *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.look()
	if now == s.stamps {
		return s.config
	}
	config, err := s.load()
	switch {
	case err == nil:
		s.config, s.stamps = config, now
	case now != s.told:
		s.told = now
		s.tell("the files have changed and cannot be used; what was read before still holds: " + err.Error())
	}
	return s.config
}

// tell tells the monitor what nobody can be refused for.
func (s *store) tell(news string) {
	s.cfg.Report.Event(vtx.Event{Kind: vtx.EventRefused, Endpoint: s.cfg.Endpoint.String(), Reason: news})
}

func (s *store) look() [3]files.Stamp {
	return [3]files.Stamp{s.cert.stamp(), s.key.stamp(), s.ca.stamp()}
}

// load reads the files. A new configuration does not resume the sessions of an old one: what was verified then might not
// be accepted now.
func (s *store) load() (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:                  s.min,
		NextProtos:                  s.alpn,
		VerifyConnection:            s.verifyPins,
		DynamicRecordSizingDisabled: true, // nobody renders a page from the first bytes
	}
	if s.cert.value != "" {
		pair, err := s.keyPair()
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
		// Whatever authorities the server names: it can say better what is wrong with ours than with none.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	if s.ca.value != "" {
		pool, err := s.ca.pool()
		if err != nil {
			return nil, err
		}
		c.RootCAs, c.ClientCAs = pool, pool
	}
	if s.server {
		c.ClientAuth = map[string]tls.ClientAuthType{
			verifyNone:    tls.NoClientCert,
			verifyRequest: tls.VerifyClientCertIfGiven,
			verifyRequire: tls.RequireAndVerifyClientCert,
		}[s.verify]
		return c, nil
	}
	c.ServerName = s.serverName
	c.InsecureSkipVerify = s.verify == verifyNone
	c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	return c, nil
}

func (s *store) keyPair() (tls.Certificate, error) {
	cert, err := s.cert.read()
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := s.key.read()
	if err != nil {
		return tls.Certificate{}, err
	}
	if isEncrypted(key) {
		return tls.Certificate{}, fmt.Errorf("%s: the key is encrypted, and there is nobody to ask for its passphrase", s.key.option)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return pair, fmt.Errorf("%s and %s: %w", optCert, optKey, err)
	}
	return pair, nil
}

// isEncrypted recognises both ways in which keys are (PKCS #8, and the one of OpenSSL before).
func isEncrypted(text []byte) bool {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return true
		}
	}
	return false
}

// errPin is why a certificate that may be good is not enough.
var errPin = errors.New("none of its public keys is among tls.pins")

// verifyPins looks for a pinned key in the peer's certificate, and in those that vouch for it where that was verified.
// Unlike tls.Config's other ways it is called for resumed sessions too.
func (s *store) verifyPins(c tls.ConnectionState) error {
	if len(s.pins) == 0 || len(c.PeerCertificates) == 0 {
		return nil // a server that demands a certificate does not come here without one
	}
	chains := append(slices.Clip(c.VerifiedChains), c.PeerCertificates[:1])
	for _, chain := range chains {
		for _, cert := range chain {
			if slices.Contains(s.pins, pinOf(cert)) {
				return nil
			}
		}
	}
	return errPin
}

func pinOf(cert *x509.Certificate) pin { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// source is where something in PEM comes from: a file, or the option's own text. Its errors show neither, since the value
// may be a key that somebody has not recognised as one.
type source struct{ option, value string }

func (s source) read() ([]byte, error) {
	if isPEM(s.value) {
		return []byte(s.value), nil
	}
	text, err := files.Read(s.value)
	if err != nil {
		return nil, fmt.Errorf("%s: reading the file: %w", s.option, err)
	}
	return text, nil
}

// pool reads certificates, all of which have to be good: one that is left out would be missed much later.
func (s source) pool() (*x509.CertPool, error) {
	text, err := s.read()
	if err != nil {
		return nil, err
	}
	pool, found := x509.NewCertPool(), false
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.option, err)
		}
		pool.AddCert(cert)
		found = true
	}
	if !found {
		return nil, fmt.Errorf("%s: there is no certificate in it", s.option)
	}
	return pool, nil
}

// stamp is the zero one where there is no file.
func (s source) stamp() files.Stamp {
	if s.value == "" || isPEM(s.value) {
		return files.Stamp{}
	}
	return files.Look(s.value)
}
