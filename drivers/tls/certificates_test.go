package tls_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/vtx"
)

// What is accepted and what is refused, and with which sentences: at the end that binds, and at the one that connects.
func TestCertificates(t *testing.T) {
	ca, other := testca.New(t, "authority"), testca.New(t, "another authority")
	good, client := ca.Issue(nil, "127.0.0.1", "localhost"), ca.Issue(nil, "client")
	issue := func(from *testca.CA, change func(*x509.Certificate), hosts ...string) options {
		return shows(from.Issue(change, hosts...))
	}
	expired := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	early := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	}
	only := func(usage x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{usage} }
	}
	pin := func(p testca.Pair) string {
		sum := sha256.Sum256(p.Leaf.RawSubjectPublicKeyInfo)
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	unknown := testca.SelfSigned(t, "a.example")
	hexPin := sha256.Sum256(ca.Leaf.RawSubjectPublicKeyInfo)

	server, trusting := shows(good), options{"tls.ca": ca.Cert}
	mutual := server.with("tls.ca", ca.Cert)
	known := shows(client).with("tls.ca", ca.Cert)

	const auth, protocol = vtx.EventHandshakeFailedAuth, vtx.EventHandshakeFailedProtocol
	for _, c := range []struct {
		name           string
		bound          options
		connected      options
		bSays, cSays   string // nothing: they talk
		bKind, cKind   vtx.EventKind
		connectedWarns string
	}{
		{name: "one side", bound: server, connected: trusting},
		{name: "both sides", bound: mutual, connected: known},
		{name: "a certificate that is not demanded", bound: server, connected: known},
		{name: "a certificate that is asked for", bound: mutual.with("tls.verify", "request"), connected: known},
		{name: "none where it is only asked for", bound: mutual.with("tls.verify", "request"), connected: trusting},
		{name: "another name", bound: issue(ca, nil, "a.example"), connected: trusting.with("tls.servername", "a.example")},
		{name: "TLS 1.2 allowed", bound: server.with("tls.min", "1.2"), connected: trusting.with("tls.min", "1.2")},
		{name: "no ALPN here", bound: server.with("tls.alpn", ""), connected: trusting},
		{name: "no ALPN there", bound: server, connected: trusting.with("tls.alpn", "")},
		{name: "one of several protocols", bound: server, connected: trusting.with("tls.alpn", "other, zmtp/3.1")},
		{name: "chain in one file", bound: options{"tls.cert": good.Key + good.Cert + ca.Cert}, connected: trusting},
		{name: "the leaf's pin", bound: server, connected: trusting.with("tls.pins", pin(other.Pair)+", sha256//"+pin(good))},
		{name: "the authority's pin", bound: server, connected: trusting.with("tls.pins", hex.EncodeToString(hexPin[:]))},
		{name: "the client's pin", bound: mutual.with("tls.pins", pin(client)), connected: known},
		{name: "nothing verified", bound: issue(other, expired, "a.example"), connected: options{"tls.verify": "none"},
			connectedWarns: "tls.verify=none"},
		{name: "a pin instead of verification", bound: shows(unknown), connected: options{"tls.verify": "none", "tls.pins": pin(unknown)},
			connectedWarns: "tls.verify=none"},

		{name: "expired server", bound: issue(ca, expired, "127.0.0.1"), connected: trusting,
			cSays: "the server's certificate has expired: it was valid until", cKind: auth,
			bSays: "the client did not accept our certificate", bKind: auth},
		{name: "early server", bound: issue(ca, early, "127.0.0.1"), connected: trusting,
			cSays: "the server's certificate is not valid before", cKind: auth,
			bSays: "the client did not accept our certificate", bKind: auth},
		{name: "wrong host", bound: issue(ca, nil, "a.example"), connected: trusting,
			cSays: "the server's certificate is for another host", cKind: auth,
			bSays: "the client did not accept our certificate", bKind: auth},
		{name: "wrong name", bound: server, connected: trusting.with("tls.servername", "b.example"),
			cSays: "the server's certificate is for another host: it is for \"localhost\", 127.0.0.1, not for \"b.example\"", cKind: auth,
			bSays: "the client did not accept our certificate", bKind: auth},
		{name: "self-signed server", bound: shows(testca.SelfSigned(t, "127.0.0.1")), connected: trusting,
			cSays: "the server's certificate is signed by an unknown authority: by itself", cKind: auth,
			bSays: "the client did not accept our certificate", bKind: auth},
		{name: "another authority's server", bound: issue(other, nil, "127.0.0.1"), connected: trusting,
			cSays: "the server's certificate is signed by an unknown authority", cKind: auth,
			bSays: "the client did not accept our certificate", bKind: auth},
		{name: "only the system's authorities", bound: server, connected: options{},
			cSays: "the server's certificate is signed by an unknown authority", cKind: auth,
			bSays: "the client did not accept our certificate", bKind: auth},
		{name: "a client's certificate as a server's", bound: issue(ca, only(x509.ExtKeyUsageClientAuth), "127.0.0.1"), connected: trusting,
			cSays: "the server's certificate is not meant for this use", cKind: auth,
			bSays: "the client did not accept our certificate", bKind: auth},
		{name: "wrong pin", bound: server, connected: trusting.with("tls.pins", pin(client)),
			cSays: "none of its public keys is among tls.pins", cKind: auth,
			bSays: "the client did not accept our certificate", bKind: auth},
		{name: "wrong pin of nobody verified", bound: shows(testca.SelfSigned(t, "x")), connected: options{"tls.verify": "none", "tls.pins": pin(good)},
			cSays: "none of its public keys is among tls.pins", cKind: auth,
			bSays: "the client did not accept our certificate", bKind: auth},

		{name: "no client certificate", bound: mutual, connected: trusting,
			bSays: "the client has sent no certificate", bKind: auth,
			cSays: "the server demands a certificate", cKind: auth},
		{name: "another authority's client", bound: mutual, connected: issue(other, nil, "client").with("tls.ca", ca.Cert),
			bSays: "the client's certificate is signed by an unknown authority", bKind: auth,
			cSays: "the server did not accept our certificate: it does not know the authority that signed it", cKind: auth},
		{name: "a bad one where none would do", bound: mutual.with("tls.verify", "request"), connected: issue(other, nil, "client").with("tls.ca", ca.Cert),
			bSays: "the client's certificate is signed by an unknown authority", bKind: auth,
			cSays: "the server did not accept our certificate: it does not know the authority that signed it", cKind: auth},
		{name: "self-signed client", bound: mutual, connected: shows(testca.SelfSigned(t, "client")).with("tls.ca", ca.Cert),
			bSays: "the client's certificate is signed by an unknown authority: by itself", bKind: auth,
			cSays: "the server did not accept our certificate", cKind: auth},
		{name: "expired client", bound: mutual, connected: issue(ca, expired, "client").with("tls.ca", ca.Cert),
			bSays: "the client's certificate has expired", bKind: auth,
			cSays: "the server did not accept our certificate: it has expired", cKind: auth},
		{name: "a server's certificate as a client's", bound: mutual, connected: issue(ca, only(x509.ExtKeyUsageServerAuth), "client").with("tls.ca", ca.Cert),
			bSays: "the client's certificate is not meant for this use", bKind: auth,
			cSays: "the server did not accept our certificate", cKind: auth},
		{name: "wrong client pin", bound: mutual.with("tls.pins", pin(good)), connected: known,
			bSays: "none of its public keys is among tls.pins", bKind: auth,
			cSays: "the server did not accept our certificate", cKind: auth},
		{name: "no common protocol", bound: server, connected: trusting.with("tls.alpn", "http/1.1"),
			bSays: "the client knows none of our application protocols", bKind: protocol,
			cSays: "the server knows none of our application protocols", cKind: protocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			router, dealer := newHost(t).end(vtx.Router, c.bound), newHost(t).end(vtx.Dealer, c.connected)
			dealer.connect(router.bind())
			if c.bSays == "" {
				talk(router, dealer)
				if c.connectedWarns != "" {
					dealer.event(c.connectedWarns)
				}
				return
			}
			if kind := dealer.event(c.cSays); kind != c.cKind {
				t.Errorf("the end that connects: event %#x, not %#x", kind, c.cKind)
			}
			if kind := router.event(c.bSays); kind != c.bKind {
				t.Errorf("the end that binds: event %#x, not %#x", kind, c.bKind)
			}
			if n := router.meta("peers"); n != "0" {
				t.Errorf("%s peers", n)
			}
		})
	}
}
