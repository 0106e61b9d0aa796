package sasl_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/libvtx/libvtx/drivers/sasl/passwd"
	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

func TestMain(m *testing.M) {
	status := m.Run()
	if err := goleak.Find(); err != nil {
		fmt.Println("goroutines are left:", err)
		status = 1
	}
	os.Exit(status)
}

// options are VTX options by name.
type options map[string]string

// with adds to a copy.
func (o options) with(pairs ...string) options {
	all := options{}
	for name, value := range o {
		all[name] = value
	}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

// host is a program: a context, a manager, and what all its monitors have said.
type host struct {
	*app.Context
	*vtx.Manager
	t testing.TB
}

func newHost(t testing.TB) *host {
	t.Helper()
	c := app.NewContext(t)
	m, err := vtx.NewManager(c.P)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Destroy() })
	return &host{c, m, t}
}

// end is a socket with its options and its monitor.
type end struct {
	*app.Socket
	h      *host
	events *app.Socket
	said   []string // what the monitor has said
}

var serial atomic.Int64

// end makes one; a peer that was refused comes again at once.
func (h *host) end(typ vtx.SocketType, set options) *end {
	h.t.Helper()
	e := &end{Socket: h.Socket(h.t, int(typ)), h: h, events: h.Socket(h.t, int(vtx.Pair))}
	e.Set(zmq.ReconnectIvl, 20)
	for name, value := range set {
		if err := h.SetOption(e.P, name, value); err != nil {
			h.t.Fatal(err)
		}
	}
	monitor := fmt.Sprintf("inproc://monitor-%d", serial.Add(1))
	if err := h.Monitor(e.P, monitor, 0xffff); err != nil {
		h.t.Fatal(err)
	}
	e.events.Native(false, monitor)
	return e
}

// Socket stands in the way of vtx.Manager's method of that name.
func (h *host) Socket(t testing.TB, typ int) *app.Socket { return h.Context.Socket(t, typ) }

func (e *end) bind(scheme string) (endpoint string) {
	e.h.t.Helper()
	if err := e.h.Bind(e.P, scheme+"://127.0.0.1:*"); err != nil {
		e.h.t.Fatal(err)
	}
	return e.meta("endpoint")
}

func (e *end) connect(endpoint string) {
	e.h.t.Helper()
	if err := e.h.Connect(e.P, endpoint); err != nil {
		e.h.t.Fatal(err)
	}
}

func (e *end) meta(name string) string {
	e.h.t.Helper()
	value, err := e.h.Meta(e.P, name)
	if err != nil {
		e.h.t.Fatal(err)
	}
	return value
}

// event waits for an event whose sentence contains the text, and returns its kind.
func (e *end) event(text string) vtx.EventKind {
	e.h.t.Helper()
	for until := time.Now().Add(app.Patience); time.Now().Before(until); {
		frames, err := e.events.RecvWithin(app.Patience)
		if err != nil || len(frames) < 3 {
			continue
		}
		e.said = append(e.said, frames[2])
		if strings.Contains(frames[2], text) {
			return vtx.EventKind(frames[0][0]) | vtx.EventKind(frames[0][1])<<8
		}
	}
	e.h.t.Fatalf("no event says %q; there were %q", text, e.said)
	return 0
}

// talk has a DEALER and a ROUTER exchange a word, and returns what the ROUTER calls the DEALER.
func talk(router, dealer *end) (id string) {
	router.h.t.Helper()
	dealer.Send("question")
	got := router.Recv()
	router.Send(got[0], "answer")
	dealer.Want("answer")
	return got[0]
}

// content is that of a file of users and passwords.
func content(t testing.TB, pairs ...string) string {
	t.Helper()
	f := passwd.New()
	f.SetIterations(passwd.MinIterations)
	for i := 0; i < len(pairs); i += 2 {
		if err := f.Set(pairs[i], pairs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	return string(f.Bytes())
}

// drain notes what a monitor still has to say.
func (e *end) drain(shown *strings.Builder) {
	for {
		frames, err := e.events.RecvWithin(0)
		if err != nil {
			break
		}
		e.said = append(e.said, frames[1:]...)
	}
	fmt.Fprintln(shown, e.said)
}

// zapHandler answers the questions of RFC 27 in the host's context: whom answers has by mechanism and credentials is let in
// as that user.
func (h *host) zapHandler(answers map[string]string) {
	h.t.Helper()
	rep := h.Socket(h.t, int(vtx.Router))
	rep.Native(true, "inproc://zeromq.zap.01")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			q, err := rep.RecvWithin(10 * time.Millisecond)
			if err == nil {
				user, ok := answers[strings.Join(q[7:], " ")]
				status := map[bool]string{true: "200", false: "400"}[ok]
				rep.TrySend(true, q[0], "", "1.0", q[3], status, "so be it", user, "")
				continue
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	h.t.Cleanup(func() { close(stop); <-stopped })
}
