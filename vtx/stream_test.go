package vtx_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
	"github.com/libvtx/libvtx/vtx/drivertest"
)

// loop is the smallest stream driver: TCP on loopback, without any option. wrap, where there is one, makes its connections
// others.
type loop struct {
	name string
	wrap func(*net.TCPConn) net.Conn
}

func (d loop) Scheme() string          { return d.name }
func (loop) Options() []vtx.OptionSpec { return nil }

func (d loop) Listen(cfg *vtx.Config) (net.Listener, error) {
	ln, err := net.Listen("tcp4", cfg.Endpoint.Address)
	if err == nil && d.wrap != nil {
		ln = wrappingListener{ln, d.wrap}
	}
	return ln, err
}

func (d loop) Dialer(cfg *vtx.Config) (vtx.StreamDialer, error) {
	if _, _, err := cfg.Endpoint.HostPort(); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (net.Conn, error) {
		var dial net.Dialer
		conn, err := dial.DialContext(ctx, "tcp4", cfg.Endpoint.Address)
		if err == nil && d.wrap != nil {
			conn = d.wrap(conn.(*net.TCPConn))
		}
		return conn, err
	}, nil
}

type wrappingListener struct {
	net.Listener
	wrap func(*net.TCPConn) net.Conn
}

func (l wrappingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(conn.(*net.TCPConn)), nil
}

// opaque shows nothing but a net.Conn's methods, and CloseWrite: it hides its descriptor, as TLS does.
type opaque struct{ net.Conn }

func newOpaque(conn *net.TCPConn) net.Conn { return opaque{conn} }

func (c opaque) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// piped is a stream driver over net.Pipe. Nothing is buffered: what a peer does not read waits at its writer.
type piped chan net.Conn

func (piped) Scheme() string            { return "piped" }
func (piped) Options() []vtx.OptionSpec { return nil }

func (p piped) Listen(*vtx.Config) (net.Listener, error) {
	return pipedListener{p, make(chan struct{}), new(sync.Once)}, nil
}

func (piped) Dialer(*vtx.Config) (vtx.StreamDialer, error) { return nil, vtx.ErrNotSupported }

// dial gives the far end of a connection to whoever is bound.
func (p piped) dial() net.Conn {
	near, far := net.Pipe()
	p <- near
	return far
}

type pipedListener struct {
	piped
	closed chan struct{}
	once   *sync.Once
}

func (pipedListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (l pipedListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.piped:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func streamFixture(scheme string) drivertest.Fixture {
	return drivertest.Fixture{
		Bind:       func(testing.TB) string { return scheme + "://127.0.0.1:0" },
		Reliable:   true,
		Types:      true,
		RoutingIDs: true,
		Bad:        []drivertest.BadEndpoint{{Endpoint: scheme + "://", Connect: true, Err: vtx.ErrInvalid}},
	}
}

// Streams by their descriptors, on the polling thread, and streams that only their net.Conn can read.
func TestConformanceStream(t *testing.T) { drivertest.Run(t, streamFixture("loop")) }
func TestConformanceOpaque(t *testing.T) { drivertest.Run(t, streamFixture("opaque")) }

// bound binds a socket on loopback and returns where to connect to.
func (h *host) bound(s *app.Socket, scheme string) string {
	h.t.Helper()
	h.bind(s, scheme+"://127.0.0.1:0")
	return h.meta(s, "endpoint")
}

var streamSchemes = []string{"loop", "opaque"}

// What was sent before the socket was closed arrives, however slowly it is read, while the receiver keeps
// saying things that the closed sender does not read any more.
func TestCloseUnderBacklog(t *testing.T) {
	for _, scheme := range streamSchemes {
		t.Run(scheme, func(t *testing.T) {
			const n = 3000
			near, far := newHost(t), newHost(t)
			to, from := far.socket(vtx.Dealer), near.socket(vtx.Dealer)
			to.Set(zmq.RcvHWM, 10)
			to.Set(zmq.SndHWM, 0)
			from.Set(zmq.SndHWM, 0)
			from.Set(zmq.Linger, -1)
			near.connect(from, far.bound(to, scheme))
			body := strings.Repeat("x", 5000)
			for i := range n {
				from.Send(strconv.Itoa(i), body)
				if i%100 == 0 {
					to.Send("noise")
				}
			}
			closed := make(chan error)
			go func() {
				from.Forget()
				closed <- near.Close(from.P)
			}()
			for i := range n {
				to.Want(strconv.Itoa(i), body)
				to.TrySend(false, "noise")
			}
			if err := <-closed; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A message that a connection took half of is not finished on the next one, and none is repeated.
func TestHalfAMessageIsNotContinued(t *testing.T) {
	for _, scheme := range streamSchemes {
		t.Run(scheme, func(t *testing.T) {
			h := newHost(t)
			ln, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			push := h.socket(vtx.Push)
			push.Set(zmq.ReconnectIvl, 1)
			h.connect(push, scheme+"://"+ln.Addr().String())
			big := strings.Repeat("b", 8<<20) // more than the system's buffers take
			push.Send(big)
			for i := range 3 {
				push.Send(strconv.Itoa(i))
			}
			conn := rawPull(t, ln)
			if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
			conn = rawPull(t, ln)
			defer conn.Close()
			want := []byte{0, 1, '0', 0, 1, '1', 0, 1, '2'}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != string(want) {
				t.Fatalf("after the broken message came %q %v, want %q", got, err, want)
			}
		})
	}
}

// rawPull accepts a connection and greets it as a PULL, byte by byte after RFC 37.
func rawPull(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(app.Patience))
	greeting := make([]byte, 64)
	copy(greeting, "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01NULL")
	ready := "\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x04PULL"
	theirs := make([]byte, 64+2)
	if _, err = conn.Write(append(greeting, ready...)); err == nil {
		if _, err = io.ReadFull(conn, theirs); err == nil {
			_, err = io.ReadFull(conn, make([]byte, theirs[65]))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// Whatever the sizes and the number of frames, and however full the pipes are, what arrives is what was sent, in
// both directions at once; with and without sealing.
func TestRandomTraffic(t *testing.T) {
	const n = 400
	server, client := newKeys(t), newKeys(t)
	for _, scheme := range streamSchemes {
		for _, sealed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/sealed=%v", scheme, sealed), func(t *testing.T) {
				seed := time.Now().UnixNano()
				t.Logf("seed %d", seed)
				near, far := newHost(t), newHost(t)
				a, b := near.socket(vtx.Dealer), far.socket(vtx.Dealer)
				for _, s := range []*app.Socket{a, b} {
					s.Set(zmq.SndHWM, 5)
					s.Set(zmq.RcvHWM, 5)
				}
				if sealed {
					curveServer(a, server)
					curveClient(b, client, server.public)
				}
				far.connect(b, near.bound(a, scheme))
				// The sockets' own threads: one sends what it can and receives what is there, alternately.
				var both sync.WaitGroup
				for i, s := range []*app.Socket{a, b} {
					both.Go(func() {
						mine, theirs := newTraffic(seed+int64(i)), newTraffic(seed+int64(1-i))
						out := mine.next()
						for sent, received := 0, 0; sent < n || received < n; {
							if sent < n && s.TrySend(false, out...) == nil {
								out = mine.next()
								sent++
							}
							wait := time.Millisecond
							if sent == n {
								wait = app.Patience
							}
							if received == n {
								continue
							}
							got, err := s.RecvWithin(wait)
							if err != nil && sent == n {
								t.Errorf("message %d never came: %v", received, err)
								return
							}
							if err == nil {
								if want := theirs.next(); !slices.Equal(got, want) {
									t.Errorf("message %d: %d frames came, %d were sent, or their bodies differ", received, len(got), len(want))
									return
								}
								received++
							}
						}
					})
				}
				both.Wait()
			})
		}
	}
}

// traffic makes the same messages for the same seed.
type traffic struct{ *rand.Rand }

func newTraffic(seed int64) traffic { return traffic{rand.New(rand.NewPCG(uint64(seed), 1))} }

func (r traffic) next() []string {
	sizes := []int{0, 1, 20, 200, 255, 256, 3000, 9000, 32767, 32768, 32769, 66000, 140000, 700000}
	var frames []string
	for range 1 + r.IntN(4) {
		size := sizes[r.IntN(len(sizes))]
		if size > 0 {
			size += r.IntN(3)
		}
		frames = append(frames, strings.Repeat(string(rune('a'+r.IntN(26))), size))
	}
	return frames
}
