package tls_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// These peers are not VTX: the bytes are the test's own, or crypto/tls's.

// dial connects to an endpoint without TLS.
func dial(t testing.TB, endpoint string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp4", endpoint[strings.Index(endpoint, "//")+2:])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(app.Patience))
	return c
}

// serve does the same to each connection, and returns where.
func serve(t testing.TB, with func(net.Conn)) (endpoint string) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(func() { _ = ln.Close(); end(); all.Wait() })
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { _ = c.Close() })
			all.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(app.Patience))
				with(c)
			})
		}
	})
	return "tls://" + ln.Addr().String()
}

// config is what crypto/tls needs to be a peer that trusts the authority and shows a certificate.
func config(t testing.TB, ca *testca.CA, show testca.Pair) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(show.Cert), []byte(show.Key))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ServerName: "127.0.0.1"}
}

// hello is a client's first record.
func hello(t testing.TB) []byte {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(near, &tls.Config{ServerName: "127.0.0.1"}).Handshake()
	}()
	b := make([]byte, 16<<10)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	_ = far.Close()
	<-done
	_ = near.Close()
	return b[:n]
}

const (
	http  = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
	reply = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
	zmtp  = "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01NULL"
)

// What is not TLS, or no good one, is told as what it is, by the end that binds as by the one that connects; and a good
// peer is served before, between and after.
func TestGarbageBeforeTheHandshake(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	garbage := make([]byte, 300)
	for i := range garbage {
		garbage[i] = byte(random.Uint32())
	}
	garbage[0] = 0xee // no type of record
	first := string(hello(t))

	ca := testca.New(t, "authority")
	near, far := newHost(t), newHost(t)
	router := near.end(vtx.Router, shows(ca.Issue(nil, "127.0.0.1")))
	endpoint := router.bind()
	good := far.end(vtx.Dealer, options{"tls.ca": ca.Cert})
	good.connect(endpoint)
	talk(router, good)
	const notTLS = "does not speak TLS"
	for _, c := range []struct{ name, bytes, says string }{
		{"HTTP", http, "the client " + notTLS},
		{"ZMTP", zmtp, "the client " + notTLS},
		{"random", string(garbage), "the client " + notTLS},
		{"a record that is too large", "\x16\x03\x01\xff\xff", "the client " + notTLS},
		{"no message", "\x16\x03\x01\x00\x05hello", "the TLS handshake with the client failed"},
		{"no hello", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", "the TLS handshake with the client failed"},
		{"a hello with something added", strings.Replace(first, "\x16\x03\x01", "\x16\x03\x01\x00\x04\x01\x00\x00\x00", 1), "the TLS handshake with the client failed"},
		{"an alert", "\x15\x03\x01\x00\x02\x02\x28", "the client ended the TLS handshake: tls: handshake failure"},
	} {
		raw := dial(t, endpoint)
		if _, err := raw.Write([]byte(c.bytes)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if kind := router.event(c.says); kind != vtx.EventHandshakeFailedProtocol {
			t.Errorf("%s: event %#x", c.name, kind)
		}
		_, _ = io.Copy(io.Discard, raw) // it is closed
		_ = raw.Close()
		talk(router, good)
	}
	for _, c := range []struct{ name, bytes, says string }{
		{"HTTP", reply, "the server " + notTLS},
		{"ZMTP", zmtp, "the server " + notTLS},
		{"random", string(garbage), "the server " + notTLS},
		{"no hello", "\x16\x03\x03\x00\x04\x01\x00\x00\x00", "the TLS handshake with the server failed"},
		{"an alert", "\x15\x03\x03\x00\x02\x02\x28", "the server ended the TLS handshake: tls: handshake failure"},
	} {
		dealer := far.end(vtx.Dealer, options{"tls.ca": ca.Cert})
		dealer.connect(serve(t, func(conn net.Conn) {
			_, _ = conn.Write([]byte(c.bytes))
			_, _ = io.Copy(io.Discard, conn)
		}))
		if kind := dealer.event(c.says); kind != vtx.EventHandshakeFailedProtocol {
			t.Errorf("%s: event %#x", c.name, kind)
		}
		if err := far.Close(dealer.P); err != nil {
			t.Fatal(err)
		}
		dealer.Forget()
	}
	talk(router, good)
}

// One end speaks TLS and the other ZMTP alone: both say so, whichever binds.
func TestOneEndWithoutTLS(t *testing.T) {
	ca := testca.New(t, "authority")
	router := newHost(t).end(vtx.Router, shows(ca.Issue(nil, "127.0.0.1")))
	dealer := newHost(t).end(vtx.Dealer, nil)
	dealer.connect(strings.Replace(router.bind(), "tls://", "tcp://", 1))
	router.event("the client does not speak TLS")

	plain := newHost(t).end(vtx.Router, nil)
	if err := plain.h.Bind(plain.P, "tcp://127.0.0.1:*"); err != nil {
		t.Fatal(err)
	}
	dealer = newHost(t).end(vtx.Dealer, options{"tls.ca": ca.Cert})
	dealer.connect(strings.Replace(plain.meta("endpoint"), "tcp://", "tls://", 1))
	dealer.event("the server does not speak TLS")
	plain.event("protocol error")
}

// cutOff is a connection that ends when so many bytes have been written.
type cutOff struct {
	net.Conn
	left int
}

func (c *cutOff) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p[:min(len(p), c.left)])
	if c.left -= n; n < len(p) || c.left == 0 {
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		return n, io.ErrShortWrite
	}
	return n, err
}

// A handshake that ends anywhere is told, and done with.
func TestTruncatedHandshake(t *testing.T) {
	ca := testca.New(t, "authority")
	router := newHost(t).end(vtx.Router, shows(ca.Issue(nil, "127.0.0.1")).with("tls.ca", ca.Cert))
	endpoint := router.bind()
	cfg := config(t, ca, ca.Issue(nil, "127.0.0.1"))
	whole := len(hello(t))
	for _, n := range []int{1, 4, 5, 6, 50, whole - 1, whole, whole + 1, whole + 7, whole + 50, whole + 300} {
		raw := dial(t, endpoint)
		if err := tls.Client(&cutOff{raw, n}, cfg).Handshake(); err == nil {
			t.Fatalf("%d bytes are a handshake", n)
		}
		if kind := router.event("the client ended the connection within the TLS handshake"); kind != vtx.EventHandshakeFailed {
			t.Errorf("%d bytes: event %#x", n, kind)
		}
		_ = raw.Close()
	}
	far := newHost(t)
	for _, n := range []int{1, 5, 6, 50, 100, 200, 600} {
		dealer := far.end(vtx.Dealer, shows(ca.Issue(nil, "client")).with("tls.ca", ca.Cert))
		dealer.connect(serve(t, func(c net.Conn) { _ = tls.Server(&cutOff{c, n}, cfg).Handshake(); _, _ = io.Copy(io.Discard, c) }))
		if kind := dealer.event("the server ended the connection within the TLS handshake"); kind != vtx.EventHandshakeFailed {
			t.Errorf("%d bytes: event %#x", n, kind)
		}
		if err := far.Close(dealer.P); err != nil {
			t.Fatal(err)
		}
		dealer.Forget()
	}
}

// Whoever is slow has ZMQ_HANDSHAKE_IVL, and nobody else waits for him.
func TestSlowHandshakes(t *testing.T) {
	ca := testca.New(t, "authority")
	near, far := newHost(t), newHost(t)
	router := near.end(vtx.Router, shows(ca.Issue(nil, "127.0.0.1")))
	patient := router.bind()
	half := hello(t)[:100]
	for i := range 100 {
		c := dial(t, patient)
		if i%2 == 0 {
			_, _ = c.Write(half)
		}
	}
	good := far.end(vtx.Dealer, options{"tls.ca": ca.Cert})
	good.connect(patient)
	talk(router, good)

	router.Set(zmq.HandshakeIvl, 200)
	impatient := router.bind()
	for _, says := range []string{"", string(half), "\x16"} {
		c := dial(t, impatient)
		_, _ = c.Write([]byte(says))
		if kind := router.event("the handshake took too long"); kind != vtx.EventHandshakeFailed {
			t.Errorf("event %#x", kind)
		}
	}
	dealer := far.end(vtx.Dealer, options{"tls.ca": ca.Cert})
	dealer.Set(zmq.HandshakeIvl, 200)
	dealer.connect(serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }))
	dealer.event("the handshake took too long")
}

// A stream that comes byte by byte is the same stream, in the handshake and behind it.
func TestByteByByte(t *testing.T) {
	ca := testca.New(t, "authority")
	router := newHost(t).end(vtx.Router, shows(ca.Issue(nil, "127.0.0.1")).with("tls.ca", ca.Cert))
	p := (&proxy{step: 1}).begin(t, router.bind())
	dealer := newHost(t).end(vtx.Dealer, shows(ca.Issue(nil, "client")).with("tls.ca", ca.Cert))
	dealer.connect("tls://" + p.Addr().String())
	talk(router, dealer)
	for _, size := range []int{0, 1, 255, 256, 20000} {
		text := strings.Repeat("x", size)
		dealer.Send(text, "")
		got := router.Recv()
		router.Send(got...)
		dealer.Want(text, "")
	}
}

// Behind the handshake: what is not ZMTP, what nobody has protected, and an early end. The peering
// ends with a word, nothing false is delivered, and the next connection is as good as the first.
func TestGarbageBehindTheHandshake(t *testing.T) {
	ca := testca.New(t, "authority")
	router := newHost(t).end(vtx.Router, shows(ca.Issue(nil, "127.0.0.1")))
	endpoint := router.bind()
	raw := tls.Client(dial(t, endpoint), config(t, ca, ca.Issue(nil, "client")))
	if _, err := raw.Write([]byte(http)); err != nil {
		t.Fatal(err)
	}
	if kind := router.event("protocol error"); kind != vtx.EventHandshakeFailedProtocol {
		t.Errorf("event %#x", kind)
	}

	p := newProxy(t, endpoint)
	dealer := newHost(t).end(vtx.Dealer, options{"tls.ca": ca.Cert})
	dealer.connect("tls://" + p.Addr().String())
	talk(router, dealer)
	const alert, goodbye = "the server ended the connection: tls: ", "the peer closed the connection"
	for _, c := range []struct{ bytes, says, learns string }{
		{"\x17\x03\x03\x00\x20" + strings.Repeat("?", 32), "what came is not what the client has protected", alert},
		{http, "what came is not what the client has protected", alert},
		{"\x15\x03\x03\x00\x02\x01\x00", "what came is not what the client has protected", alert}, // a goodbye of somebody else's
		{"\x17\x03\x03\x00\x20???", "the connection ended within what the client has sent", goodbye},
		{"", "the peer closed the connection", goodbye},
	} {
		p.inject(t, c.bytes)
		if kind := router.event(c.says); kind != vtx.EventDisconnected {
			t.Errorf("%q: event %#x", c.bytes, kind)
		}
		dealer.event(c.learns) // what it sends from now on goes another way
		talk(router, dealer)
	}
}

// Who speaks an older TLS than is allowed is told so, at both ends; and who is made to believe that the other one does
// not know better, by somebody between, notices.
func TestDowngrade(t *testing.T) {
	ca := testca.New(t, "authority")
	server := ca.Issue(nil, "127.0.0.1")
	cfg := config(t, ca, server)
	newest := func(v uint16) *tls.Config {
		c := cfg.Clone()
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, v
		return c
	}
	oldest := func(v uint16) *tls.Config { c := cfg.Clone(); c.MinVersion = v; return c }
	for _, c := range []struct {
		min  string
		peer *tls.Config
		ours string // nothing: accepted
	}{
		{"1.3", newest(tls.VersionTLS12), "TLS 1.3"},
		{"1.3", newest(tls.VersionTLS13), ""},
		{"1.2", newest(tls.VersionTLS11), "TLS 1.2"},
		{"1.2", newest(tls.VersionTLS12), ""},
		{"1.2", oldest(tls.VersionTLS13), ""},
	} {
		near, far := newHost(t), newHost(t)
		router := near.end(vtx.Router, shows(server).with("tls.min", c.min))
		raw := tls.Client(dial(t, router.bind()), c.peer)
		err := raw.Handshake()
		dealer := far.end(vtx.Dealer, options{"tls.ca": ca.Cert, "tls.min": c.min})
		shaken := make(chan error, 100)
		dealer.connect(serve(t, func(conn net.Conn) {
			s := tls.Server(conn, c.peer)
			select {
			case shaken <- s.Handshake():
			default:
			}
			_, _ = io.Copy(io.Discard, s)
		}))
		if c.ours == "" {
			if err != nil {
				t.Errorf("min %s: %v", c.min, err)
			}
			if err := <-shaken; err != nil {
				t.Errorf("min %s: %v", c.min, err)
			}
			continue
		}
		for e, says := range map[*end]string{router: "the client", dealer: "the server"} {
			if kind := e.event(says + " speaks no version of TLS that we do: ours is " + c.ours + " or later"); kind != vtx.EventHandshakeFailedProtocol {
				t.Errorf("min %s: event %#x", c.min, kind)
			}
		}
	}

	// The extension supported_versions, which lists 1.3 and 1.2, is given a number that nobody knows.
	versions, unknown := []byte("\x00\x2b\x00\x05\x04\x03\x04\x03\x03"), []byte("\xfa\xfa\x00\x05\x04\x03\x04\x03\x03")
	router := newHost(t).end(vtx.Router, shows(server).with("tls.min", "1.2"))
	var changed atomic.Bool
	p := (&proxy{change: func(b []byte) []byte {
		changed.Store(changed.Load() || bytes.Contains(b, versions))
		return bytes.Replace(b, versions, unknown, 1)
	}}).begin(t, router.bind())
	dealer := newHost(t).end(vtx.Dealer, options{"tls.ca": ca.Cert, "tls.min": "1.2"})
	dealer.connect("tls://" + p.Addr().String())
	dealer.event("downgrade attempt detected")
	if !changed.Load() {
		t.Error("nothing was changed on the way")
	}
}

// Ten thousand handshakes fail, in ten ways, while a good peer is served. Afterwards nothing of them is left.
func TestFailedHandshakes(t *testing.T) {
	const all, atOnce = 10000, 16
	ca, other := testca.New(t, "authority"), testca.New(t, "another authority")
	router := newHost(t).end(vtx.Router, shows(ca.Issue(nil, "127.0.0.1")).with("tls.ca", ca.Cert))
	endpoint := router.bind()
	good := newHost(t).end(vtx.Dealer, shows(ca.Issue(nil, "client")).with("tls.ca", ca.Cert))
	good.connect(endpoint)
	talk(router, good)

	own := config(t, ca, ca.Issue(nil, "client"))
	strange := config(t, ca, other.Issue(nil, "client"))
	nobody, old, alpn := own.Clone(), own.Clone(), own.Clone()
	nobody.Certificates = nil
	old.MaxVersion = tls.VersionTLS12
	alpn.NextProtos = []string{"http/1.1"}
	first := hello(t)
	says := func(b []byte) func(net.Conn) {
		return func(c net.Conn) { _, _ = c.Write(b); _ = c.(*net.TCPConn).CloseWrite(); _, _ = io.Copy(io.Discard, c) }
	}
	shakes := func(cfg *tls.Config) func(net.Conn) {
		return func(c net.Conn) { _, _ = io.Copy(io.Discard, tls.Client(c, cfg)) }
	}
	cheap := []func(net.Conn){
		says([]byte(http)), says([]byte(zmtp)), says(nil), says(first[:len(first)/2]), says([]byte("\x16\x03\x01\x00\x05hello")),
		func(c net.Conn) { _, _ = c.Write(first); _ = c.(*net.TCPConn).SetLinger(0) }, // a reset
	}
	dear := []func(net.Conn){shakes(nobody), shakes(strange), shakes(old), shakes(alpn)} // one in ten
	attack := func(n int) {
		var next atomic.Int64
		var workers sync.WaitGroup
		for range atOnce {
			workers.Go(func() {
				for i := next.Add(1); i <= int64(n); i = next.Add(1) {
					c, err := net.Dial("tcp4", strings.TrimPrefix(endpoint, "tls://"))
					if err != nil {
						t.Error(err)
						return
					}
					_ = c.SetDeadline(time.Now().Add(app.Patience))
					way := cheap[i%int64(len(cheap))]
					if i%10 == 0 {
						way = dear[i/10%int64(len(dear))]
					}
					way(c)
					_ = c.Close()
				}
			})
		}
		done := make(chan struct{})
		go func() { workers.Wait(); close(done) }()
		for under := true; under; {
			talk(router, good)
			select {
			case <-done:
				under = false
			default:
			}
		}
	}
	refusals := func() (n int) {
		var stats struct{ Refusals, Peerings int }
		if err := json.Unmarshal([]byte(router.meta("stats")), &stats); err != nil {
			t.Fatal(err)
		}
		if stats.Peerings != 1 {
			t.Errorf("%d peerings", stats.Peerings)
		}
		return stats.Refusals
	}
	attack(200) // what is made once is there now
	app.Eventually(t, "the first are refused", func() bool { return refusals() == 200 })
	before := take()
	start := time.Now()
	attack(all)
	app.Eventually(t, "all are refused", func() bool { return refusals() == 200+all })
	t.Logf("%d in %v", all, time.Since(start))
	talk(router, good)
	app.Eventually(t, "nothing is left of them", func() bool {
		after := take()
		return after.goroutines <= before.goroutines && after.descriptors <= before.descriptors && after.heap <= before.heap+2<<20
	})
	if resumed := good.meta("tls.resumed"); resumed != "no" {
		t.Error("the good peer had to come again")
	}
}

// held is what a process holds.
type held struct{ goroutines, descriptors, heap int }

func take() held {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	list, _ := os.ReadDir("/proc/self/fd")
	return held{runtime.NumGoroutine(), len(list), int(m.HeapAlloc)}
}
