package udp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// watchdog is how long a test waits before it says that something hangs. It measures nothing.
const watchdog = 60 * time.Second

func TestMain(m *testing.M) {
	// Nothing in these tests may reach a network: not even by mistake.
	_ = os.Setenv(envBroadcast, "127.255.255.255")
	before := countSockets()
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if after := countSockets(); code == 0 && after > before {
		fmt.Fprintf(os.Stderr, "%d sockets open, %d at the start\n", after, before)
		code = 1
	}
	os.Exit(code)
}

// countSockets counts the process's open sockets.
func countSockets() (n int) {
	files, _ := os.ReadDir("/proc/self/fd")
	for _, f := range files {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// bell lets a test wait for a condition instead of for a time.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
	}
	b.ch = nil
}

func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

// until waits until ok holds, looking again whenever the bell rings.
func (b *bell) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	timer := time.NewTimer(watchdog)
	defer timer.Stop()
	for {
		next := b.next()
		if ok() {
			return
		}
		select {
		case <-next:
		case <-timer.C:
			t.Fatalf("never: %s", what)
		}
	}
}

// reporter is a fake vtx.Reporter.
type reporter struct {
	bell
	lock    sync.Mutex
	drops   map[vtx.DropReason]int
	retries int
	events  []vtx.Event
}

func (r *reporter) Drop(why vtx.DropReason, n int) {
	r.lock.Lock()
	if r.drops == nil {
		r.drops = make(map[vtx.DropReason]int)
	}
	r.drops[why] += n
	r.lock.Unlock()
	r.ring()
}

func (r *reporter) Retry(n int) {
	r.lock.Lock()
	r.retries += n
	r.lock.Unlock()
	r.ring()
}

func (r *reporter) Event(e vtx.Event) {
	r.lock.Lock()
	r.events = append(r.events, e)
	r.lock.Unlock()
	r.ring()
}

func (r *reporter) dropped(why vtx.DropReason) int {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.drops[why]
}

func (r *reporter) awaitDrops(t testing.TB, why vtx.DropReason, n int) {
	t.Helper()
	r.until(t, fmt.Sprintf("%d drops as %s", n, why), func() bool { return r.dropped(why) >= n })
	if got := r.dropped(why); got != n {
		t.Fatalf("%d drops as %s, want %d", got, why, n)
	}
}

func (r *reporter) awaitEvent(t testing.TB, kind vtx.EventKind) vtx.Event {
	t.Helper()
	var found vtx.Event
	r.until(t, fmt.Sprintf("event %#x", kind), func() bool {
		r.lock.Lock()
		defer r.lock.Unlock()
		for _, e := range r.events {
			if e.Kind == kind {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// sink is a fake vtx.Sink, which takes as many messages as it has room for.
type sink struct {
	bell
	lock     sync.Mutex
	messages []string // frames joined by |
	room     int      // -1: endless
	calls    int
	refused  int
	ended    error
}

func newSink() *sink { return &sink{room: -1} }

func (s *sink) Deliver(b *vtx.Batch) error { return s.TryDeliver(b) }

func (s *sink) TryDeliver(b *vtx.Batch) error {
	s.lock.Lock()
	defer s.ring()
	defer s.lock.Unlock()
	s.calls++
	for b.Len() > 0 && s.room != 0 {
		s.messages = append(s.messages, join(b.Pop()))
		if s.room > 0 {
			s.room--
		}
	}
	s.refused += b.Len()
	return s.ended
}

func join(m vtx.Message) string {
	var parts []string
	for f := range m.Frames() {
		parts = append(parts, string(f))
	}
	return strings.Join(parts, "|")
}

// give changes the room.
func (s *sink) give(room int) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.room = room
}

func (s *sink) count() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return len(s.messages)
}

func (s *sink) all() []string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return append([]string(nil), s.messages...)
}

// expect waits until exactly these messages have come, since the sink was made.
func (s *sink) expect(t testing.TB, want ...string) {
	t.Helper()
	s.until(t, fmt.Sprintf("%d messages", len(want)), func() bool { return s.count() >= len(want) })
	if got := s.all(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("delivered %q, want %q", got, want)
	}
}

func batch(messages ...string) *vtx.Batch {
	b := new(vtx.Batch)
	for _, m := range messages {
		var frames [][]byte
		for f := range strings.SplitSeq(m, "|") {
			frames = append(frames, []byte(f))
		}
		b.Append(frames...)
	}
	return b
}

// config makes a configuration with the reporter behind it; named are pairs of option and value.
func config(t testing.TB, typ vtx.SocketType, endpoint string, named ...string) (*vtx.Config, *reporter) {
	t.Helper()
	e, err := vtx.ParseEndpoint(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	o := &vtx.Options{MaxMsgSize: -1, SndBuf: -1, RcvBuf: -1, Named: map[string]string{}}
	for i := 0; i < len(named); i += 2 {
		o.Named[named[i]] = named[i+1]
	}
	r := new(reporter)
	poller, err := zmq.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(poller.Close)
	return &vtx.Config{Endpoint: e, Type: typ, Options: o, Report: r, Poller: poller}, r
}

// bound is a listener under test.
type bound struct {
	*listener
	rep *reporter
	to  netip.AddrPort // where to reach it
}

func bind(t testing.TB, typ vtx.SocketType, named ...string) *bound {
	t.Helper()
	cfg, r := config(t, typ, "udp://127.0.0.1:*", named...)
	return bindTo(t, cfg, r)
}

func bindTo(t testing.TB, cfg *vtx.Config, r *reporter) *bound {
	t.Helper()
	ln, err := new(Driver).Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	l := ln.(*listener)
	return &bound{listener: l, rep: r, to: l.sock.local()}
}

// accept takes the next peer and starts its link.
func (b *bound) accept(t testing.TB, s vtx.Sink) *link {
	t.Helper()
	l := b.take(t)
	l.Start(s)
	return l
}

func (b *bound) take(t testing.TB) *link {
	t.Helper()
	type result struct {
		l   vtx.Link
		err error
	}
	c := make(chan result, 1)
	go func() { l, err := b.Accept(); c <- result{l, err} }()
	select {
	case r := <-c:
		if r.err != nil {
			t.Fatal(r.err)
		}
		return r.l.(*link)
	case <-time.After(watchdog):
		t.Fatal("nobody to accept")
	}
	return nil
}

// serve accepts and starts every peer with a sink of its own, and then calls each.
func (b *bound) serve(each func(*link, *sink)) {
	go func() {
		for {
			l, err := b.Accept()
			if err != nil {
				return
			}
			s := newSink()
			l.Start(s)
			if each != nil {
				go each(l.(*link), s)
			}
		}
	}()
}

// dialling is a dialler under test.
type dialling struct {
	vtx.Dialer
	rep *reporter
}

func dialTo(t testing.TB, typ vtx.SocketType, to any, named ...string) *dialling {
	t.Helper()
	cfg, r := config(t, typ, fmt.Sprintf("udp://%v", to), named...)
	return dialWith(t, new(Driver), cfg, r)
}

func dialWith(t testing.TB, drv *Driver, cfg *vtx.Config, r *reporter) *dialling {
	t.Helper()
	d, err := drv.Dialer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return &dialling{d, r}
}

// dial finds the peer and starts the link.
func (d *dialling) dial(t testing.TB, s vtx.Sink) *link {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), watchdog)
	defer cancel()
	l, err := d.Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(nil) })
	if s != nil {
		l.Start(s)
	}
	return l.(*link)
}

// later dials in the background, so that the test can play the other end.
func (d *dialling) later(t testing.TB, s vtx.Sink) <-chan *link {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := make(chan *link, 1)
	var done sync.WaitGroup
	done.Go(func() {
		l, err := d.Dial(ctx)
		if err == nil {
			l.Start(s)
			c <- l.(*link)
		}
		close(c)
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
		if l := <-c; l != nil {
			l.Close(nil)
		}
	})
	return c
}

func got(t testing.TB, c <-chan *link) *link {
	t.Helper()
	select {
	case l := <-c:
		if l == nil {
			t.Fatal("no link")
		}
		t.Cleanup(func() { l.Close(nil) })
		return l
	case <-time.After(watchdog):
		t.Fatal("no link")
	}
	return nil
}

func ended(t testing.TB, l vtx.Link) error {
	t.Helper()
	select {
	case <-l.Done():
		return l.Err()
	case <-time.After(watchdog):
		t.Fatal("the link does not end")
	}
	return nil
}

func send(t testing.TB, l vtx.Link, messages ...string) {
	t.Helper()
	b := batch(messages...)
	if err := l.Send(b); err != nil || b.Len() != 0 {
		t.Fatalf("Send: %v, %d left", err, b.Len())
	}
}

var errTest = errors.New("no thanks")
