package tls_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/nacl/box"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// Certificates are read again when their files change: new connections see the new ones, those that are there live on,
// and what cannot be used changes nothing but is told.
func TestRotation(t *testing.T) {
	ca := testca.New(t, "authority")
	first, second, third := ca.Issue(nil, "127.0.0.1"), ca.Issue(nil, "127.0.0.1"), ca.Issue(nil, "127.0.0.1")
	dir := t.TempDir()
	certFile := testca.Write(t, dir, "cert.pem", first.Cert)
	keyFile := testca.Write(t, dir, "key.pem", first.Key)
	caFile := testca.Write(t, dir, "ca.pem", ca.Cert)

	router := newHost(t).end(vtx.Router, options{"tls.cert": certFile, "tls.key": keyFile, "tls.ca": caFile, "tls.verify": "request"})
	endpoint := router.bind()
	far := newHost(t)
	sees := func(want testca.Pair) *end {
		t.Helper()
		dealer := far.end(vtx.Dealer, options{"tls.ca": caFile})
		dealer.connect(endpoint)
		talk(router, dealer)
		if dealer.meta("tls.certificate") != want.Cert {
			t.Errorf("the server shows another certificate")
		}
		return dealer
	}
	old := sees(first)

	testca.Write(t, dir, "cert.pem", second.Cert)
	between := sees(first) // its key is not there yet
	router.event("what was read before still holds")
	testca.Write(t, dir, "key.pem", second.Key)
	sees(second)

	testca.Write(t, dir, "cert.pem", "no certificate")
	sees(second)
	router.event("what was read before still holds")
	for _, file := range []string{certFile, keyFile} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	sees(second)
	router.event("what was read before still holds")
	testca.Write(t, dir, "key.pem", third.Key)
	testca.Write(t, dir, "cert.pem", third.Cert)
	sees(third)

	// Whom we trust, too, and for both ends.
	other := testca.New(t, "another authority")
	client := shows(other.Issue(nil, "client")).with("tls.ca", caFile)
	refused := far.end(vtx.Dealer, client)
	refused.connect(endpoint)
	refused.event("it does not know the authority that signed it")
	testca.Write(t, dir, "ca.pem", ca.Cert+other.Cert)
	talk(router, refused)

	talk(router, old)
	talk(router, between)
}

// proxy is a TCP connection in two parts, which a test can cut, or lay hands on.
type proxy struct {
	net.Listener
	step   int                 // at most so many bytes at a time; 0: as they come
	change func([]byte) []byte // what the one that connects has sent
	mu     sync.Mutex
	conns  []net.Conn
}

func newProxy(t *testing.T, to string) *proxy { return new(proxy).begin(t, to) }

// begin lets connections through to a tls:// endpoint.
func (p *proxy) begin(t *testing.T, to string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.Listener = ln
	t.Cleanup(func() { _ = ln.Close(); p.cut(func() {}) })
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			far, err := net.Dial("tcp4", strings.TrimPrefix(to, "tls://"))
			if err != nil {
				p.mu.Unlock()
				_ = near.Close()
				continue
			}
			p.conns = append(p.conns, near, far)
			p.mu.Unlock()
			go p.pass(near, far, nil)
			go p.pass(far, near, p.change)
		}
	}()
	return p
}

func (p *proxy) pass(to, from net.Conn, change func([]byte) []byte) {
	defer to.Close()
	for buf := make([]byte, 16<<10); ; {
		n, err := from.Read(buf)
		b := buf[:n]
		if change != nil {
			b = change(b)
		}
		for len(b) > 0 {
			step := len(b)
			if p.step > 0 {
				step = p.step
			}
			if _, err := to.Write(b[:step]); err != nil {
				return
			}
			b = b[step:]
		}
		if err != nil {
			return
		}
	}
}

// inject has the one that was connected to receive something that the other one has not sent, and then its end.
func (p *proxy) inject(t testing.TB, text string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	far := p.conns[len(p.conns)-1]
	if _, err := far.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	_ = far.(*net.TCPConn).CloseWrite()
}

// cut ends all connections, and lets new ones through when ready has returned.
func (p *proxy) cut(ready func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
	ready()
}

// A connection that breaks comes back without the whole handshake, and who the peer is is known as before.
func TestResumption(t *testing.T) {
	ca := testca.New(t, "authority")
	server, client := ca.Issue(nil, "127.0.0.1"), ca.Issue(nil, "client")
	for _, version := range []string{"1.2", "1.3"} {
		router := newHost(t).end(vtx.Router, shows(server).with("tls.ca", ca.Cert, "tls.min", version))
		p := newProxy(t, router.bind())
		dealer := newHost(t).end(vtx.Dealer, shows(client).with("tls.ca", ca.Cert, "tls.min", version))
		dealer.SetString(zmq.RoutingID, "dealer")
		dealer.connect("tls://" + p.Addr().String())
		talk(router, dealer)
		if resumed := dealer.meta("tls.resumed"); resumed != "no" {
			t.Errorf("the first connection: resumed %s", resumed)
		}
		p.cut(func() { // a ROUTER ignores a peer whose name somebody still has
			app.Eventually(t, "nobody there", func() bool { return router.meta("peers") == "0" })
			if _, err := router.RecvWithin(0); err != app.EAGAIN {
				t.Errorf("receiving: %v", err)
			}
		})
		app.Eventually(t, "another connection", func() bool {
			value, err := dealer.h.Meta(dealer.P, "tls.resumed")
			return err == nil && value == "yes"
		})
		talk(router, dealer)
		for name, want := range map[string]string{
			"tls.resumed:dealer": "yes", "tls.subject:dealer": client.Leaf.Subject.String(), "tls.certificate:dealer": client.Cert,
		} {
			if got := router.meta(name); got != want {
				t.Errorf("%s: %q, not %q", name, got, want)
			}
		}
		if got := dealer.meta("tls.subject"); got != server.Leaf.Subject.String() {
			t.Errorf("the server is %q", got)
		}
	}
}

// handler is a ZAP handler (RFC 27) that answers by mechanism and remembers what it was asked.
func handler(t *testing.T, h *host, decide func(q []string) (status, user string)) (questions func() [][]string) {
	t.Helper()
	s := h.Socket(t, int(vtx.Router))
	s.Native(true, "inproc://zeromq.zap.01")
	var mu sync.Mutex
	var asked [][]string
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-stopped })
	go func() {
		defer close(stopped)
		for {
			q, err := s.RecvWithin(20e6)
			if err != nil {
				select {
				case <-stop:
					return
				default:
					continue
				}
			}
			// identity, delimiter, version, id, domain, address, identity, mechanism, credentials
			mu.Lock()
			asked = append(asked, q[4:])
			mu.Unlock()
			status, user := decide(q[4:])
			s.Send(q[0], "", "1.0", q[3], status, "because", user, "")
		}
	}()
	return func() [][]string {
		mu.Lock()
		defer mu.Unlock()
		return asked
	}
}

// The application's ZAP handler is asked about the client's certificate, and before anything else about what PLAIN and
// CURVE say inside.
func TestZAP(t *testing.T) {
	ca := testca.New(t, "authority")
	pair := ca.Issue(nil, "alice")
	block, _ := pem.Decode([]byte(pair.Cert))
	serverPublic, serverSecret, err := box.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	clientPublic, clientSecret, err := box.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		secure func(router, dealer *end)
		asked  []string // mechanisms
		user   string
	}{
		{"NULL", func(*end, *end) {}, []string{"TLS"}, "user of TLS"},
		{"PLAIN", func(router, dealer *end) {
			router.Set(zmq.PlainServer, 1)
			dealer.SetString(zmq.PlainUsername, "bob")
			dealer.SetString(zmq.PlainPassword, "password")
		}, []string{"TLS", "PLAIN"}, "user of PLAIN"},
		{"CURVE", func(router, dealer *end) {
			router.Set(zmq.CurveServer, 1)
			router.SetString(zmq.CurveSecretKey, string(serverSecret[:]))
			dealer.SetString(zmq.CurveServerKey, string(serverPublic[:]))
			dealer.SetString(zmq.CurvePublicKey, string(clientPublic[:]))
			dealer.SetString(zmq.CurveSecretKey, string(clientSecret[:]))
		}, []string{"TLS", "CURVE"}, "user of CURVE"},
		{"PLAIN from the end that binds", func(router, dealer *end) {
			dealer.Set(zmq.PlainServer, 1)
			router.SetString(zmq.PlainUsername, "bob")
			router.SetString(zmq.PlainPassword, "password")
		}, []string{"TLS"}, "user of TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := newHost(t), newHost(t)
			questions := handler(t, near, func(q []string) (string, string) { return "200", "user of " + q[3] })
			handler(t, far, func([]string) (string, string) { return "200", "" })
			router := near.end(vtx.Router, shows(ca.Issue(nil, "127.0.0.1")).with("tls.ca", ca.Cert))
			dealer := far.end(vtx.Dealer, shows(pair).with("tls.ca", ca.Cert))
			router.SetString(zmq.ZAPDomain, "home")
			c.secure(router, dealer)
			dealer.connect(router.bind())
			talk(router, dealer)
			if user := router.meta("user"); user != c.user {
				t.Errorf("user %q, not %q", user, c.user)
			}
			asked := questions()
			if len(asked) != len(c.asked) {
				t.Fatalf("%d questions: %q", len(asked), asked)
			}
			for i, q := range asked {
				if q[0] != "home" || q[1] != "127.0.0.1" || q[3] != c.asked[i] {
					t.Errorf("question %d: %q", i, q[:4])
				}
			}
			if q := asked[0][4:]; len(q) != 2 || q[0] != string(block.Bytes) || q[1] != "CN=alice,O=VTX tests" {
				t.Errorf("credentials %q", q)
			}
		})
	}
}

// Whom the handler does not want is refused with its status, whatever authority vouches for him; and who shows no
// certificate is nobody for it.
func TestZAPRefuses(t *testing.T) {
	ca := testca.New(t, "authority")
	near := newHost(t)
	handler(t, near, func(q []string) (string, string) {
		if q[3] == "NULL" || strings.HasPrefix(q[5], "CN=good") {
			return "200", q[3]
		}
		return "400", ""
	})
	router := near.end(vtx.Router, shows(ca.Issue(nil, "127.0.0.1")).with("tls.ca", ca.Cert, "tls.verify", "request"))
	router.SetString(zmq.ZAPDomain, "home")
	endpoint := router.bind()
	far := newHost(t)

	bad := far.end(vtx.Dealer, shows(ca.Issue(nil, "bad")).with("tls.ca", ca.Cert))
	bad.connect(endpoint)
	if kind := bad.event("400"); kind != vtx.EventHandshakeFailedAuth {
		t.Errorf("event %#x", kind)
	}
	if kind := router.event("400"); kind != vtx.EventHandshakeFailedAuth {
		t.Errorf("event %#x", kind)
	}
	if err := far.Close(bad.P); err != nil {
		t.Fatal(err)
	}
	bad.Forget()
	for name, set := range map[string]options{"TLS": shows(ca.Issue(nil, "good")), "NULL": {}} {
		dealer := far.end(vtx.Dealer, set.with("tls.ca", ca.Cert))
		dealer.SetString(zmq.RoutingID, name)
		dealer.connect(endpoint)
		talk(router, dealer)
		if user := router.meta("user:" + name); user != name {
			t.Errorf("user %q, not %q", user, name)
		}
	}
	if _, err := near.Meta(router.P, "tls.subject:NULL"); err == nil {
		t.Error("who has shown no certificate has a subject")
	}
}

// What a client has shown and nobody has verified is not told.
func TestUnverifiedIsNotTold(t *testing.T) {
	router := newHost(t).end(vtx.Router, shows(testca.SelfSigned(t, "a.example")))
	dealer := newHost(t).end(vtx.Dealer, options{"tls.verify": "none"})
	dealer.connect(router.bind())
	talk(router, dealer)
	if subject, err := dealer.h.Meta(dealer.P, "tls.subject"); err == nil {
		t.Errorf("subject %q", subject)
	}
	if version := dealer.meta("tls.version"); version != "1.3" {
		t.Errorf("TLS %s", version)
	}
	if alpn := dealer.meta("tls.alpn"); alpn != "zmtp/3.1" {
		t.Errorf("ALPN %q", alpn)
	}
}

// Whoever does not verify is reminded at each connection, and by no other value than "none" nor where it does verify.
func TestUnverifiedIsAnEvent(t *testing.T) {
	ca := testca.New(t, "authority")
	router := newHost(t).end(vtx.Router, shows(ca.Issue(nil, "127.0.0.1")))
	p := newProxy(t, router.bind())
	const reminder = "nobody has verified"
	dealer := newHost(t).end(vtx.Dealer, options{"tls.verify": "none"})
	dealer.connect("tls://" + p.Addr().String())
	for range 3 {
		if kind := dealer.event("tls.verify=none: " + reminder); kind != vtx.EventRefused {
			t.Errorf("event %#x", kind)
		}
		talk(router, dealer)
		p.cut(func() {})
	}
	for _, verify := range []string{"require", "request"} {
		verified := newHost(t).end(vtx.Dealer, options{"tls.verify": verify, "tls.ca": ca.Cert})
		verified.connect("tls://" + p.Addr().String())
		talk(router, verified)
		var said strings.Builder
		if verified.drain(&said); strings.Contains(said.String(), reminder) {
			t.Errorf("tls.verify=%s: %s", verify, said.String())
		}
	}
	for _, value := range []string{"", "no", "None", "0", "false"} {
		if err := dealer.h.SetOption(dealer.P, "tls.verify", value); !errors.Is(err, vtx.ErrInvalid) {
			t.Errorf("tls.verify=%q: %v", value, err)
		}
	}
}

// A name in a certificate cannot end a line, nor a string before its end.
func TestStrangeSubject(t *testing.T) {
	ca := testca.New(t, "authority")
	pair := ca.Issue(func(c *x509.Certificate) { c.Subject.CommonName = "alice\x00\nmallory" }, "client")
	router := newHost(t).end(vtx.Router, shows(ca.Issue(nil, "127.0.0.1")).with("tls.ca", ca.Cert))
	dealer := newHost(t).end(vtx.Dealer, shows(pair).with("tls.ca", ca.Cert))
	dealer.connect(router.bind())
	talk(router, dealer)
	if subject := router.meta("tls.subject"); subject != `CN=alice\00\0Amallory,O=VTX tests` {
		t.Errorf("subject %q", subject)
	}
}
