// Package drivertest is the conformance suite that every driver passes. A driver's own test is a few lines
// that describe it in a Fixture and call Run; the suite never asks which driver it has.
package drivertest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
)

// Fixture describes a driver to the suite. The driver must be registered, or Register do it.
type Fixture struct {
	// Register makes the driver known to one manager; nil: it is known to the process.
	Register func(m *vtx.Manager) error

	// Bind returns an endpoint that nobody else uses, possibly with port *.
	Bind func(t testing.TB) string
	// Reliable: nothing is lost between live peers, and a full receiver stops its sender.
	Reliable bool
	// Lossy: messages are lost even where nobody is in a hurry, but for requests and replies. Tests then send again
	// what has to arrive, and those about what must not be lost are left out.
	Lossy bool
	// Via gives the endpoint at which a bound one is to be connected to, where there is something in between.
	Via func(t testing.TB, endpoint string) string
	// Types: each side learns the other's socket type.
	Types bool
	// RoutingIDs: a peer's ZMQ_ROUTING_ID reaches a ROUTER.
	RoutingIDs bool
	// MaxBody is the largest body of a message with one frame, in bytes; 0 = no limit of its own.
	MaxBody int
	// Bad are endpoints that must be refused at once.
	Bad []BadEndpoint
	// Requests is how often each requester asks, where many do; 0 = 10,000. Less is enough for a driver whose links
	// are another one's.
	Requests int
	// Options are set on every manager, by name: what makes the driver notice a lost peer soon, for example.
	Options map[string]string
}

// BadEndpoint is an endpoint, who is to refuse it, and the error it is to be refused with.
type BadEndpoint struct {
	Endpoint string
	Connect  bool // else Bind
	Err      error
}

// checks are the suite.
var checks = []struct {
	name string
	test func(*testing.T, Fixture)
}{
	{"Pairs", testPairs},
	{"Frames", testFrames},
	{"Sizes", testSizes},
	{"ManyRequesters", testManyRequesters},
	{"LoadBalancing", testLoadBalancing},
	{"FairQueueing", testFairQueueing},
	{"Subscriptions", testSubscriptions},
	{"BackPressure", testBackPressure},
	{"LateJoiner", testLateJoiner},
	{"Reconnect", testReconnect},
	{"RouterIdentities", testRouterIdentities},
	{"WrongTypes", testWrongTypes},
	{"SecondPair", testSecondPair},
	{"BadEndpoints", testBadEndpoints},
	{"AddressInUse", testAddressInUse},
	{"Rebind", testRebind},
	{"CloseWithLinger", testCloseWithLinger},
}

// Run puts a driver through the suite.
func Run(t *testing.T, f Fixture) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.test(t, f) })
	}
}

// host is one program: a context and a manager.
type host struct {
	*app.Context
	*vtx.Manager
	t   testing.TB
	via func(testing.TB, string) string // nil: straight
}

func (f Fixture) host(t testing.TB) *host {
	t.Helper()
	c := app.NewContext(t)
	m, err := vtx.NewManager(c.P)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Destroy() })
	if f.Register != nil {
		if err := f.Register(m); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range f.Options {
		if err := m.SetOption(nil, name, value); err != nil {
			t.Fatal(err)
		}
	}
	return &host{c, m, t, f.Via}
}

func (h *host) socket(typ vtx.SocketType) *app.Socket {
	h.t.Helper()
	return h.Context.Socket(h.t, int(typ))
}

// bound opens a socket, binds it and returns where others can connect to it.
func (h *host) bound(typ vtx.SocketType, endpoint string) (*app.Socket, string) {
	h.t.Helper()
	s := h.socket(typ)
	return s, h.bind(s, endpoint)
}

func (h *host) bind(s *app.Socket, endpoint string) string {
	h.t.Helper()
	if err := h.Bind(s.P, endpoint); err != nil {
		h.t.Fatal(err)
	}
	return h.meta(s, "endpoint")
}

func (h *host) connected(typ vtx.SocketType, endpoint string) *app.Socket {
	h.t.Helper()
	s := h.socket(typ)
	h.connect(s, endpoint)
	return s
}

func (h *host) connect(s *app.Socket, endpoint string) {
	h.t.Helper()
	if h.via != nil {
		endpoint = h.via(h.t, endpoint)
	}
	if err := h.Connect(s.P, endpoint); err != nil {
		h.t.Fatal(err)
	}
}

// close closes a socket the way an application does.
func (h *host) close(s *app.Socket) {
	h.t.Helper()
	s.Forget()
	if err := h.Close(s.P); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) meta(s *app.Socket, name string) string {
	h.t.Helper()
	v, err := h.Meta(s.P, name)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

// peers waits until the socket has n live peerings.
func (h *host) peers(s *app.Socket, n string) {
	h.t.Helper()
	app.Eventually(h.t, n+" peers", func() bool { return h.meta(s, "peers") == n })
}

// lossless skips a test about what a lossy transport does not promise.
func (f Fixture) lossless(t *testing.T) {
	t.Helper()
	if f.Lossy {
		t.Skip("messages are lost here, as they may be")
	}
}

// pass sends a message and receives it; over a lossy transport it sends it again, and lets others pass.
func (f Fixture) pass(t testing.TB, from, to *app.Socket, frames ...string) {
	t.Helper()
	if !f.Lossy {
		from.Send(frames...)
		to.Want(frames...)
		return
	}
	arrive(t, from, to, frames...)
}

// arrive sends a message until that very message is received, which may be after others that were under way.
func arrive(t testing.TB, from, to *app.Socket, frames ...string) {
	t.Helper()
	for end := time.Now().Add(app.Patience); time.Now().Before(end); {
		if got := until(t, from, to, frames...); slices.Equal(got, frames) {
			return
		}
	}
	t.Fatalf("%.60q never arrived", frames)
}

// until sends with one socket until another receives something, and returns that: for patterns that drop
// what nobody has asked for yet.
func until(t testing.TB, from *app.Socket, to *app.Socket, frames ...string) []string {
	t.Helper()
	for end := time.Now().Add(app.Patience); time.Now().Before(end); {
		from.Send(frames...)
		if got, err := to.RecvWithin(5 * time.Millisecond); err == nil {
			return got
		}
	}
	t.Fatalf("%.60q never arrived", frames)
	return nil
}

func short(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
