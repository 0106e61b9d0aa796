package vtx_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// busy is a program in the middle of its work: sockets of all types, bound and connected, messages under way.
func busy(t *testing.T, linger int) (*host, []*app.Socket) {
	h := newHost(t)
	var sockets []*app.Socket
	for typ := vtx.Pair; typ <= vtx.XSub; typ++ {
		endpoint := name("mem")
		a, b := h.socket(typ), h.socket(peerOf(typ))
		for _, s := range []*app.Socket{a, b} {
			s.Set(zmq.Linger, linger)
		}
		h.bind(a, endpoint)
		h.connect(b, endpoint)
		b.TrySend(false, "under way")
		a.TrySend(false, "under way")
		lonely := h.socket(typ)
		lonely.Set(zmq.Linger, linger)
		h.connect(lonely, name("mem"))
		lonely.TrySend(false, "to nobody")
		sockets = append(sockets, a, b, lonely)
	}
	return h, sockets
}

// Whatever the order, everything ends: the test's watchdog is the judge.
func TestEndings(t *testing.T) {
	closeAll := func(h *host, sockets []*app.Socket) {
		for _, s := range sockets {
			s.Forget()
			if err := h.Close(s.P); err != nil {
				t.Error(err)
			}
		}
	}
	native := func(_ *host, sockets []*app.Socket) {
		for _, s := range sockets {
			s.Close()
		}
	}
	destroy := func(h *host, _ []*app.Socket) {
		if err := h.Destroy(); err != nil {
			t.Error(err)
		}
	}
	term := func(h *host, _ []*app.Socket) { h.Term() }
	for _, c := range []struct {
		name  string
		steps []func(*host, []*app.Socket)
	}{
		{"close, destroy, term", []func(*host, []*app.Socket){closeAll, destroy, term}},
		{"close, term, destroy", []func(*host, []*app.Socket){closeAll, term, destroy}},
		{"destroy, native close, term", []func(*host, []*app.Socket){destroy, native, term}},
		{"native close, destroy, term", []func(*host, []*app.Socket){native, destroy, term}},
		{"native close, term, destroy", []func(*host, []*app.Socket){native, term, destroy}},
	} {
		for _, linger := range []int{0, 100} {
			t.Run(fmt.Sprintf("%s/linger=%d", c.name, linger), func(t *testing.T) {
				h, sockets := busy(t, linger)
				for _, step := range c.steps {
					step(h, sockets)
				}
			})
		}
	}
}

// zmq_ctx_term from another thread wakes the application's blocked calls, and returns when it closes its sockets.
func TestTermWhileBlocked(t *testing.T) {
	h := newHost(t)
	endpoint := name("mem")
	bound, connected := h.socket(vtx.Dealer), h.socket(vtx.Dealer)
	h.bind(bound, endpoint)
	h.connect(connected, endpoint)
	connected.Send("once")
	bound.Want("once")
	bound.Send("ok")
	connected.Want("ok")
	var blocked sync.WaitGroup
	for _, s := range []*app.Socket{bound, connected} {
		blocked.Go(func() {
			for {
				if _, err := s.RecvWithin(app.Patience); err != nil {
					if !errors.Is(err, app.ETERM) {
						t.Errorf("receiving: %v", err)
					}
					s.Close()
					return
				}
			}
		})
	}
	h.Term()
	blocked.Wait()
	if err := h.Bind(connected.P, name("mem")); err == nil {
		t.Error("a closed socket of a terminated context was bound")
	}
	if err := h.Destroy(); err != nil {
		t.Error(err)
	}
	if err := h.Destroy(); !errors.Is(err, vtx.ErrInvalid) {
		t.Errorf("destroying again: %v", err)
	}
}

// What CloseContext and Destroy flush arrives, though the context ends at once afterwards.
func TestFlushBeforeTheContextEnds(t *testing.T) {
	for what, flush := range map[string]func(*host){
		"CloseContext": func(h *host) { vtx.CloseContext(h.P) },
		"Destroy":      func(h *host) { h.Destroy() },
	} {
		t.Run(what, func(t *testing.T) {
			h := newHost(t)
			c := app.NewContext(t)
			m, err := vtx.NewManager(c.P)
			if err != nil {
				t.Fatal(err)
			}
			receiver := &host{c, m, t}
			endpoint := name("mem")
			pull, push := receiver.socket(vtx.Pull), h.socket(vtx.Push)
			push.Set(zmq.Linger, -1)
			receiver.bind(pull, endpoint)
			h.connect(push, endpoint)
			got := make(chan int)
			go func() {
				n := 0
				for n < 500 {
					if _, err := pull.RecvWithin(app.Patience); err != nil {
						break
					}
					n++
				}
				got <- n
			}()
			for i := range 500 {
				push.Send(fmt.Sprint(i))
			}
			flush(h)
			push.Close()
			h.Term()
			if n := <-got; n != 500 {
				t.Errorf("%d messages of 500 arrived", n)
			}
			pull.Close()
			m.Destroy()
		})
	}
}

// Several managers in one context, several contexts, many threads.
func TestManyOfEverything(t *testing.T) {
	var all sync.WaitGroup
	for range 4 {
		c := app.NewContext(t)
		for range 4 {
			m, err := vtx.NewManager(c.P)
			if err != nil {
				t.Fatal(err)
			}
			h := &host{c, m, t}
			endpoint := name("mem")
			rep, req := h.socket(vtx.Rep), h.socket(vtx.Req)
			h.bind(rep, endpoint)
			h.connect(req, endpoint)
			all.Go(func() {
				defer m.Destroy()
				for i := range 200 {
					req.TrySend(true, fmt.Sprint(i))
					if q, err := rep.RecvWithin(app.Patience); err != nil || q[0] != fmt.Sprint(i) {
						t.Errorf("%q %v", q, err)
						return
					}
					rep.TrySend(true, "ok")
					if _, err := req.RecvWithin(app.Patience); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	all.Wait()
}

// The monitor speaks as libzmq's does.
func TestMonitorEvents(t *testing.T) {
	h := newHost(t)
	endpoint := name("mem")
	rep, events := h.socket(vtx.Rep), h.socket(vtx.Pair)
	if err := h.Monitor(rep.P, "tcp://127.0.0.1:1", 0xffff); !errors.Is(err, vtx.ErrInvalid) {
		t.Errorf("a monitor over tcp: %v", err)
	}
	if err := h.Monitor(rep.P, "inproc://watch", 0xffff); err != nil {
		t.Fatal(err)
	}
	events.Native(false, "inproc://watch")
	want := func(kind vtx.EventKind, at string) {
		t.Helper()
		m := events.Recv()
		if len(m) < 2 || len(m[0]) != 6 || vtx.EventKind(m[0][0])|vtx.EventKind(m[0][1])<<8 != kind || !strings.HasPrefix(m[1], at) {
			t.Fatalf("event %q, want %#x at %s", m, kind, at)
		}
	}
	h.bind(rep, endpoint)
	want(vtx.EventListening, endpoint)
	req := h.socket(vtx.Req)
	h.connect(req, endpoint)
	want(vtx.EventAccepted, "mem://")
	want(vtx.EventHandshakeSucceeded, "mem://")
	if err := h.Disconnect(req.P, endpoint); err != nil {
		t.Fatal(err)
	}
	want(vtx.EventDisconnected, "mem://")
	if err := h.Unbind(rep.P, endpoint); err != nil {
		t.Fatal(err)
	}
	want(vtx.EventClosed, endpoint)
	taken := h.socket(vtx.Rep)
	h.bind(taken, endpoint)
	if err := h.Bind(rep.P, endpoint); err == nil {
		t.Fatal("bound twice")
	}
	want(vtx.EventBindFailed, endpoint)
	// Another takes its place, at the same endpoint
	if err := h.Monitor(rep.P, "inproc://watch", int(vtx.EventBindFailed|vtx.EventMonitorStopped)); err != nil {
		t.Fatal(err)
	}
	want(vtx.EventMonitorStopped, "")
	events = h.socket(vtx.Pair)
	events.Native(false, "inproc://watch")
	if err := h.Bind(rep.P, endpoint); err == nil {
		t.Fatal("bound twice")
	}
	want(vtx.EventBindFailed, endpoint)
	if err := h.Monitor(rep.P, "", 0); err != nil {
		t.Fatal(err)
	}
	want(vtx.EventMonitorStopped, "")
}

// Schemes, aliases and options: what is refused, and with which error.
func TestRegisterAndOptions(t *testing.T) {
	h := newHost(t)
	for _, c := range []struct {
		what string
		err  error
		want error
	}{
		{"alias", h.Register("lan", "mem"), nil},
		{"alias again", h.Register("lan", "mem"), vtx.ErrNotUnique},
		{"built-in", h.Register("mem", "mem"), nil},
		{"built-in again", h.Register("mem", "mem"), vtx.ErrNotUnique},
		{"no driver", h.Register("x", "nonesuch"), vtx.ErrInvalid},
		{"bad scheme", h.Register("No Scheme", "mem"), vtx.ErrInvalid},
		{"unknown option", h.SetOption(nil, "colour", "red"), vtx.ErrInvalid},
		{"bad value", h.SetOption(nil, "connect.routing_id", ""), vtx.ErrInvalid},
		{"NULL socket", h.Bind(nil, "mem://x"), vtx.ErrNotSocket},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.err, c.want)
		}
	}
	a, b := h.socket(vtx.Pair), h.socket(vtx.Pair)
	h.bind(a, "lan://alias")
	h.connect(b, "mem://alias")
	b.Send("through an alias")
	a.Want("through an alias")
	if _, err := vtx.NewManager(nil); !errors.Is(err, vtx.ErrInvalid) {
		t.Errorf("manager without a context: %v", err)
	}
}

// within fails the test if do does not return.
func within(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(app.Patience):
		t.Fatalf("%s does not return", what)
	}
}

// An end that waits for ever for an absent peer is overtaken by one that does not wait.
func TestTheMostImpatientEndCounts(t *testing.T) {
	h := newHost(t)
	endpoint := name("mem")
	disconnected, closed := h.socket(vtx.Push), h.socket(vtx.Push)
	for _, s := range []*app.Socket{disconnected, closed} {
		s.Set(zmq.Linger, -1)
		h.connect(s, endpoint)
		s.Send("to nobody")
	}
	if err := h.Disconnect(disconnected.P, endpoint); err != nil {
		t.Fatal(err)
	}
	closed.Forget()
	ended := make(chan error)
	go func() { ended <- h.Close(closed.P) }()
	within(t, "the process's end", vtx.CloseAll)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Ends that come together do not trip over each other, and nothing begins after them.
func TestEndsTogether(t *testing.T) {
	for range 30 {
		c := app.NewContext(t)
		m, err := vtx.NewManager(c.P)
		if err != nil {
			t.Fatal(err)
		}
		p, err := m.Socket(vtx.Router)
		if err != nil {
			t.Fatal(err)
		}
		endpoint := name("mem")
		if err := m.Bind(p, endpoint); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() { m.Unbind(p, endpoint) })
		all.Go(func() { vtx.CloseContext(c.P) })
		all.Wait()
		if err := m.Monitor(p, "inproc://too-late", 0xffff); err == nil {
			t.Error("a monitor was opened at the end")
		}
		if err := m.Connect(p, name("mem")); err == nil || strings.Contains(err.Error(), "nil pointer") {
			t.Errorf("connecting at the end: %v", err)
		}
		all.Go(func() { m.Close(p) }) // which finds it closed, or closes it, but not twice
		all.Go(func() { m.Destroy() })
		all.Wait()
		within(t, "zmq_ctx_term", c.Term)
	}
}

// Closed with zmq_close, a socket is let go also where no pipe can tell: one that is only watched, and one that is still
// looking for a peer.
func TestCloseWithoutAPipe(t *testing.T) {
	for name, prepare := range map[string]func(h *host, s *app.Socket){
		"watched": func(*host, *app.Socket) {},
		"looking": func(h *host, s *app.Socket) { h.connect(s, "loop://127.0.0.1:1") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			s := h.Context.Socket(t, int(vtx.Router)) // libzmq's own
			events := h.events(s)
			prepare(h, s)
			s.Close()
			await(t, events, vtx.EventMonitorStopped)
		})
	}
}
