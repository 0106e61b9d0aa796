package sasl_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// serverTLS and clientTLS are what the ends of sasl+tls:// need.
func serverTLS(p testca.Pair) options { return options{"tls.cert": p.Cert, "tls.key": p.Key} }

// Each way to log in, by libzmq's options and by ours, and what the application learns of it.
func TestLogins(t *testing.T) {
	ca := testca.New(t, "authority")
	show, eve := serverTLS(ca.Issue(nil, "127.0.0.1")), serverTLS(ca.Issue(nil, "eve")).with("tls.ca", ca.Cert)
	alice := options{"sasl.username": "alice", "sasl.password": "pencil"}
	token := options{"sasl.token": "to.ken", "tls.ca": ca.Cert}
	known := options{"sasl.verifiers": verifiers(t, "alice", "pencil")}
	near, far := newHost(t), newHost(t)
	near.zapHandler(map[string]string{"PLAIN alice pencil": "Alice", "OAUTHBEARER  to.ken": "Token", "OAUTHBEARER alice to.ken": "Alice's"})
	for _, c := range []struct {
		what, scheme   string
		server, client options
		native         bool // ZMQ_PLAIN_USERNAME and _PASSWORD
		user, how      string
	}{
		{"SCRAM", "sasl", known, alice, false, "alice", "SCRAM-SHA-512"},
		{"SCRAM, libzmq's options", "sasl", known, nil, true, "alice", "SCRAM-SHA-512"},
		{"SCRAM, the other hash", "sasl", known, alice.with("sasl.mechanisms", "scram-sha-256"), false, "alice", "SCRAM-SHA-256"},
		{"SCRAM-PLUS", "sasl+tls", known.with("tls.cert", show["tls.cert"], "tls.key", show["tls.key"]), alice.with("tls.ca", ca.Cert), false, "alice", "SCRAM-SHA-512-PLUS"},
		{"PLAIN", "sasl+tls", show, alice.with("tls.ca", ca.Cert), false, "Alice", "PLAIN"},
		{"PLAIN in the clear", "sasl", options{"sasl.cleartext": "yes"}, options{"sasl.cleartext": "yes"}, true, "Alice", "PLAIN"},
		{"OAUTHBEARER", "sasl+tls", show, token, false, "Token", "OAUTHBEARER"},
		{"OAUTHBEARER for a user", "sasl+tls", show, token.with("sasl.username", "alice"), false, "Alice's", "OAUTHBEARER"},
	} {
		router, dealer := near.end(vtx.Router, c.server), far.end(vtx.Dealer, c.client)
		if c.native {
			dealer.SetString(zmq.PlainUsername, "alice")
			dealer.SetString(zmq.PlainPassword, "pencil")
		}
		dealer.connect(router.bind(c.scheme))
		id := talk(router, dealer)
		if user, how := router.meta("user:"+id), router.meta("sasl.mechanism:"+id); user != c.user || how != c.how || dealer.meta("sasl.mechanism") != c.how {
			t.Errorf("%s: %s by %s", c.what, user, how)
		}
	}
	// Without a handler the certificate's subject is the name.
	lonely := newHost(t)
	router, dealer := lonely.end(vtx.Router, show.with("tls.ca", ca.Cert)), far.end(vtx.Dealer, eve)
	dealer.connect(router.bind("sasl+tls"))
	id := talk(router, dealer)
	if user := router.meta("user:" + id); user != "CN=eve,O=VTX tests" || router.meta("sasl.mechanism:"+id) != "EXTERNAL" {
		t.Errorf("EXTERNAL: %q", user)
	}
	// and nobody is let in whom only a handler could know.
	for _, domain := range []bool{false, true} {
		alone := lonely.end(vtx.Router, show)
		if domain {
			alone.Set(zmq.ZAPEnforceDomain, 1)
		}
		stranger := far.end(vtx.Dealer, token)
		stranger.connect(alone.bind("sasl+tls"))
		alone.event("there is no ZAP handler")
	}
}

// What cannot work is refused when it is bound or connected, with a sentence that says what to do.
func TestRefusedAtOnce(t *testing.T) {
	h := newHost(t)
	file := verifiers(t, "alice", "pencil")
	pair := testca.SelfSigned(t, "127.0.0.1")
	alice := options{"sasl.username": "alice", "sasl.password": "pencil"}
	for _, c := range []struct {
		endpoint string
		connect  bool
		set      options
		err      error
		says     string
	}{
		{"sasl://127.0.0.1:*", false, nil, vtx.ErrInvalid, "whoever binds needs sasl.verifiers"},
		{"sasl://127.0.0.1:*?verifiers=/nowhere", false, nil, os.ErrNotExist, "sasl.verifiers: no such file"},
		{"sasl://127.0.0.1:*?verifiers=/etc/hostname", false, nil, vtx.ErrInvalid, "line 1"},
		{"sasl://127.0.0.1:*?mechanisms=SCRAM-SHA-256", false, nil, vtx.ErrInvalid, "needs sasl.verifiers"},
		{"sasl://127.0.0.1:*?mechanisms=PLAIN", false, nil, vtx.ErrInvalid, "use sasl+tls://, or say sasl.cleartext=yes"},
		{"sasl://127.0.0.1:*?mechanisms=EXTERNAL", false, nil, vtx.ErrInvalid, "needs TLS"},
		{"sasl+tls://127.0.0.1:*?mechanisms=EXTERNAL", false, serverTLS(pair), vtx.ErrInvalid, "needs tls.ca"},
		{"sasl+tls://127.0.0.1:*", false, options{"sasl.verifiers": file}, vtx.ErrInvalid, "tls.cert"},
		{"sasl://127.0.0.1:1", true, nil, vtx.ErrInvalid, "who we are is not known"},
		{"sasl://127.0.0.1:1", true, options{"sasl.username": "alice"}, vtx.ErrInvalid, "who we are is not known"},
		{"sasl://127.0.0.1:1", true, options{"sasl.password": "pencil"}, vtx.ErrInvalid, "sasl.username"},
		{"sasl://127.0.0.1:1", true, alice.with("sasl.token", "abc"), vtx.ErrInvalid, "which is it to be?"},
		{"sasl://127.0.0.1:1", true, options{"sasl.token": "abc"}, vtx.ErrInvalid, "shows the secret to everybody on the way"},
		{"sasl://127.0.0.1:1?mechanisms=PLAIN", true, alice, vtx.ErrInvalid, "shows the secret to everybody on the way"},
		{"sasl://127.0.0.1:1?mechanisms=EXTERNAL", true, alice, vtx.ErrInvalid, "none of these can be used here"},
	} {
		e := h.end(vtx.Router, c.set)
		call := h.Bind
		if c.connect {
			call = h.Connect
		}
		if err := call(e.P, c.endpoint); !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.endpoint, err, c.says)
		}
	}
	curve := h.end(vtx.Router, alice)
	curve.Set(zmq.CurveServer, 1)
	if err := h.Connect(curve.P, "sasl://127.0.0.1:1"); !errors.Is(err, vtx.ErrNotSupported) {
		t.Errorf("with CURVE: %v", err)
	}
}

// relay is somebody in between, who has both ends speak TLS with him. change may change what a client's server says.
func relay(t *testing.T, to string, show testca.Pair, change func(said []byte) []byte) (endpoint string) {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(show.Cert), []byte(show.Key))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"zmtp/3.1"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close(); end(); all.Wait() })
	all.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { near.Close() })
			far, err := tls.Dial("tcp4", to[strings.Index(to, "//")+2:], &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"zmtp/3.1"}})
			if err != nil {
				near.Close()
				continue
			}
			context.AfterFunc(ctx, func() { far.Close() })
			all.Go(func() { io.Copy(far, near); far.Close() })
			all.Go(func() {
				defer near.Close()
				b := make([]byte, 64<<10)
				for {
					n, err := far.Read(b)
					if err != nil {
						return
					}
					said := b[:n]
					if change != nil {
						said = change(said)
					}
					if _, err := near.Write(said); err != nil {
						return
					}
				}
			})
		}
	})
	return "sasl+tls://" + ln.Addr().String()
}

// A client that verifies no certificate is told by the server that somebody is in between, and its password is safe.
func TestManInTheMiddle(t *testing.T) {
	ca := testca.New(t, "authority")
	near, far := newHost(t), newHost(t)
	router := near.end(vtx.Router, serverTLS(ca.Issue(nil, "127.0.0.1")).with("sasl.verifiers", verifiers(t, "alice", "pencil")))
	endpoint := router.bind("sasl+tls")
	mallory := testca.SelfSigned(t, "127.0.0.1")
	alice := options{"sasl.username": "alice", "sasl.password": "pencil", "tls.verify": "none"}

	victim := far.end(vtx.Dealer, alice)
	victim.connect(relay(t, endpoint, mallory, nil))
	if kind := router.event("is not this connection: somebody is in between"); kind != vtx.EventHandshakeFailedAuth {
		t.Errorf("event %#x", kind)
	}
	if kind := victim.event(`the peer refused: "400"`); kind != vtx.EventHandshakeFailedAuth {
		t.Errorf("event %#x", kind)
	}
	var listed atomic.Bool
	replace := func(with string) func([]byte) []byte {
		return func(said []byte) []byte {
			i := strings.Index(string(said), "\x0aMECHANISMS")
			if i < 0 {
				return said
			}
			listed.Store(true)
			list := "\x0aMECHANISMS" + with
			return append(said[:i-1:i-1], append([]byte{byte(len(list))}, list...)...)
		}
	}
	stripped := far.end(vtx.Dealer, alice)
	stripped.connect(relay(t, endpoint, mallory, replace("\x0dSCRAM-SHA-512")))
	router.event("somebody in between has changed our list of mechanisms")
	robbed := far.end(vtx.Dealer, alice)
	robbed.connect(relay(t, endpoint, mallory, replace("\x05PLAIN")))
	robbed.event("we do not use PLAIN, since nobody has verified that this is the server")
	if !listed.Load() {
		t.Error("the relay has not seen a list")
	}
	honest := far.end(vtx.Dealer, alice)
	honest.connect(endpoint)
	talk(router, honest)
}

// A connection that ends, or falls silent, anywhere in the log-in costs nothing but itself.
func TestBrokenOff(t *testing.T) {
	near, far := newHost(t), newHost(t)
	router := near.end(vtx.Router, options{"sasl.verifiers": verifiers(t, "alice", "pencil")})
	router.Set(zmq.HandshakeIvl, 300)
	endpoint := router.bind("sasl")
	greeting := "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01SASL" + strings.Repeat("\x00", 48)
	command := func(body string) string { return "\x04" + string(rune(len(body))) + body }
	all := greeting + command("\x04AUTH\x0dSCRAM-SHA-256\x01n,,n=alice,r=abcdef") + command("\x08RESPONSEc=biws,r=abcdef,p=AAAA")
	for size := range len(all) {
		c, err := net.Dial("tcp4", endpoint[len("sasl://"):])
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, all[:size])
		if size%20 == 0 {
			defer c.Close() // silent: ZMQ_HANDSHAKE_IVL ends it
		} else {
			c.Close()
		}
	}
	router.event("the handshake took too long")
	good := far.end(vtx.Dealer, options{"sasl.username": "alice", "sasl.password": "pencil"})
	good.connect(endpoint)
	talk(router, good)
}

// Nothing shows a user's password or token: no error, event, statistic or metadatum; and no endpoint takes one.
func TestSecretsAreNotShown(t *testing.T) {
	const secret = "hunter2geheim"
	var shown strings.Builder
	see := func(err error) error {
		if err != nil {
			fmt.Fprintln(&shown, err)
		}
		return err
	}
	h := newHost(t)
	named := h.end(vtx.Router, nil)
	file := verifiers(t, "alice", secret)
	for _, scheme := range []string{"sasl", "sasl+tls", "sals", "tcp"} {
		for _, name := range []string{"password", "sasl.password", "token", "sasl.token", "username", "sasl.username", "passwd", "cleartext", "mechanisms", "plain_password"} {
			for _, endpoint := range []string{
				scheme + "://127.0.0.1:1?" + name + "=" + secret, scheme + "://127.0.0.1:*?cleartext=yes&" + name + "=" + secret,
			} {
				for _, call := range []func() error{
					func() error { return h.Bind(named.P, endpoint) }, func() error { return h.Connect(named.P, endpoint) },
					func() error { return h.Unbind(named.P, endpoint) }, func() error { return h.Disconnect(named.P, endpoint) },
				} {
					if see(call()) == nil {
						t.Errorf("an endpoint took %s", name)
					}
				}
				if err := h.Connect(named.P, endpoint); scheme[:2] == "sa" && scheme != "sals" && !errors.Is(err, vtx.ErrInvalid) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		for _, endpoint := range []string{scheme + "://alice:" + secret + "@127.0.0.1:1", scheme + "://:" + secret + "@127.0.0.1:*"} {
			if err := see(h.Bind(named.P, endpoint)); !errors.Is(err, vtx.ErrInvalid) {
				t.Errorf("%v", err)
			}
			if err := see(h.Connect(named.P, endpoint)); !errors.Is(err, vtx.ErrInvalid) {
				t.Errorf("%v", err)
			}
		}
	}
	for _, option := range []string{"sasl.mechanisms", "sasl.cleartext", "sasl.verifiers"} {
		see(h.SetOption(named.P, option, secret))
	}
	see(h.SetOption(named.P, "sasl.password", secret+"\x07"))
	see(h.SetOption(named.P, "sasl.token", secret+" x"))
	see(h.SetOption(named.P, "sasl.username", secret+"\x07"))

	router := h.end(vtx.Router, options{"sasl.verifiers": file})
	endpoint := router.bind("sasl")
	good := newHost(t).end(vtx.Dealer, options{"sasl.username": "alice", "sasl.password": secret})
	good.connect(endpoint)
	talk(router, good)
	bad := newHost(t).end(vtx.Dealer, options{"sasl.username": "alice", "sasl.password": "not " + secret})
	bad.connect(endpoint)
	router.event("the password is wrong")
	bad.event("400")
	for _, e := range []*end{named, router, good, bad} {
		e.drain(&shown)
		for _, name := range []string{"endpoint", "stats", "peers", "sender", "user", "sasl.mechanism", "sasl.password"} {
			value, err := e.h.Meta(e.P, name)
			see(err)
			fmt.Fprintln(&shown, value)
		}
	}
	stats, err := h.Meta(nil, "stats")
	if err != nil || !json.Valid([]byte(stats)) {
		t.Errorf("statistics %q: %v", stats, err)
	}
	fmt.Fprintln(&shown, stats)
	if at := strings.Index(shown.String(), "geheim"); at >= 0 {
		t.Errorf("a secret is shown: %.300q", shown.String()[max(0, at-200):])
	}
	if !strings.Contains(shown.String(), "must not stand in") || !strings.Contains(shown.String(), "user \\\"alice\\\"") && !strings.Contains(shown.String(), `user "alice"`) {
		t.Error("the test has not looked where it thinks")
	}
}
