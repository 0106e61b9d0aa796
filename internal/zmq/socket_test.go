package zmq_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
)

// libzmq's numbers
const (
	typeSub    = 2
	typeDealer = 5
)

func poller(t *testing.T) *zmq.Poller {
	t.Helper()
	p, err := zmq.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// open connects a socket with marks of 1 to one of the application's, which has small ones too.
func open(t *testing.T, p *zmq.Poller, typ, appType int, set func(application *app.Socket)) (*zmq.Socket, *app.Socket) {
	t.Helper()
	c := app.NewContext(t)
	a := c.Socket(t, appType)
	a.Set(zmq.RcvHWM, 2)
	a.Set(zmq.SndHWM, 0)
	set(a)
	a.Native(true, "inproc://here")
	s, err := zmq.Open(c.P, typ, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for _, err := range []error{s.SetInt(zmq.SndHWM, 1), s.SetInt(zmq.RcvHWM, 1)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, a
}

func connect(t *testing.T, s *zmq.Socket) {
	t.Helper()
	if err := s.Connect("inproc://here"); err != nil {
		t.Fatal(err)
	}
}

// A message that did not fit behind others, while the way back is blocked, is not forgotten: Recv says that there is more.
func TestMessageThatDidNotFit(t *testing.T) {
	s, a := open(t, poller(t), zmq.TypeDealer, typeDealer, func(*app.Socket) {})
	connect(t, s)
	for sent := 1; sent > 0; { // until the way to the application is full
		var err error
		if _, sent, err = s.Send([]byte{0, 1, 'x'}); err != nil {
			t.Fatal(err)
		}
	}
	const count = 4 // of 20 kB: one more than fit into a new batch
	for range count {
		a.Send(strings.Repeat("b", 20000))
	}
	got := 0
	for more := true; more; {
		_, n, again, err := s.Recv(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, more = got+n, again
	}
	if got != count {
		t.Errorf("%d messages, and then no more; want %d", got, count)
	}
}

// The limit holds for all that comes at a time, also where the memory for it has to grow on the way.
func TestLimit(t *testing.T) {
	s, a := open(t, poller(t), zmq.TypeDealer, typeDealer, func(*app.Socket) {})
	if err := s.SetInt(zmq.RcvHWM, 0); err != nil {
		t.Fatal(err)
	}
	connect(t, s)
	const limit = 4
	s.Limit(limit)
	for range 10 {
		a.Send("first", strings.Repeat("b", 1000))
	}
	for _, want := range []int{limit, limit, 2} {
		if _, n, more, err := s.Recv(make([]byte, 0, 100)); n != want || more != (n == limit) || err != nil {
			t.Errorf("%d messages, more %v, %v; want %d", n, more, err, want)
		}
	}
}

// What nobody wants any more goes without being gathered first.
func TestDrop(t *testing.T) {
	s, a := open(t, poller(t), zmq.TypeDealer, typeDealer, func(*app.Socket) {})
	if err := s.SetInt(zmq.RcvHWM, 0); err != nil {
		t.Fatal(err)
	}
	connect(t, s)
	const count = 100
	for range count {
		a.Send("first", strings.Repeat("b", 1<<20))
		a.Send("small")
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if n := s.Drop(); n != 2*count {
		t.Errorf("%d messages, want %d", n, 2*count)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > count<<20/10 {
		t.Errorf("%d bytes of memory for %d messages of 1 MiB", took, count)
	}
	if _, n, _, _ := s.Recv(nil); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

// A large body that a slow subscriber does not take is offered again when there is room, and not all the time.
func TestLargeForASlowSubscriber(t *testing.T) {
	p := poller(t)
	s, a := open(t, p, zmq.TypeXPub, typeSub, func(a *app.Socket) { a.SetString(zmq.Subscribe, "") })
	if err := s.SetInt(zmq.XPubNoDrop, 1); err != nil {
		t.Fatal(err)
	}
	connect(t, s)
	app.Eventually(t, "a subscription", func() bool {
		_, _ = a.RecvWithin(time.Millisecond) // the application's thread sends it
		_, n, _, _ := s.Recv(nil)
		return n > 0
	})
	var large zmq.Large
	defer large.Free()
	offers, taken := 0, 0 // on the poller's thread
	offer := func() {
		for {
			if !large.Full() {
				err := large.Begin(0, zmq.LargeBody)
				if err == nil {
					err = large.Fill(make([]byte, zmq.LargeBody))
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
			offers++
			if ok, _ := s.SendLarge(nil, &large); !ok {
				return
			}
			taken++
		}
	}
	s.Room(offer)
	defer s.Room(nil)
	on := func(f func()) { // the poller's thread
		done := make(chan struct{})
		p.Post(func() { f(); close(done) })
		<-done
	}
	on(offer)
	for range 1000 {
		on(func() {})
	}
	on(func() {
		if taken == 0 || offers > taken+10 {
			t.Errorf("%d offers for %d messages", offers, taken)
		}
	})
	before := 0
	on(func() { before = taken })
	for range before {
		if _, err := a.RecvWithin(app.Patience); err != nil {
			t.Fatal(err)
		}
	}
	app.Eventually(t, "more when there is room", func() (more bool) { on(func() { more = taken > before }); return more })
}
