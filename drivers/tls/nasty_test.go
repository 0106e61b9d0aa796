package tls_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/vtx"
)

// What certificates and hellos say, events show quoted, or not at all.
func TestNastyPeers(t *testing.T) {
	ascii := strings.NewReplacer("\x9b", "", "\u202e", "").Replace(app.Nasty) // what a name in a certificate can have
	const shown = `\x1b[2J\nok\a`
	ca := testca.New(t, "authority")
	far := newHost(t)
	printable := func(e *end) {
		t.Helper()
		for _, sentence := range e.said {
			app.Printable(t, sentence)
		}
	}
	raw := func(pair testca.Pair, config *tls.Config) (endpoint string) {
		keys, err := tls.X509KeyPair([]byte(pair.Cert), []byte(pair.Key))
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{keys}
		return serve(t, func(conn net.Conn) { _ = tls.Server(conn, config).Handshake() })
	}
	for what, c := range map[string]struct {
		change func(*x509.Certificate)
		says   string
	}{
		"host": {func(x *x509.Certificate) { x.DNSNames = []string{ascii} }, `is for another host: it is for "` + shown + `", not for "127.0.0.1"`},
		"many hosts": {func(x *x509.Certificate) { x.DNSNames = []string{ascii, ascii, ascii, ascii, ascii} },
			`"` + shown + `" and others, not for "127.0.0.1"`},
		"nobody": {func(x *x509.Certificate) { x.Subject.CommonName = strings.ToValidUTF8(app.Nasty, "") }, `it is for no host, not for "127.0.0.1"`},
	} {
		t.Run(what, func(t *testing.T) {
			dealer := far.end(vtx.Dealer, options{"tls.ca": ca.Cert})
			dealer.connect(raw(ca.Issue(func(x *x509.Certificate) { x.IPAddresses = nil; c.change(x) }, "127.0.0.1"), &tls.Config{}))
			dealer.event(c.says)
			printable(dealer)
		})
	}
	router := far.end(vtx.Router, shows(ca.Issue(nil, "127.0.0.1")).with("tls.alpn", "zmtp"))
	conn := dial(t, router.bind())
	_ = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{app.Nasty}}).Handshake()
	router.event("the client knows none of our application protocols")
	printable(router)
}
