package vtx_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
	"github.com/libvtx/libvtx/vtx/drivertest"
)

// mem carries subscriptions to the publisher, raw does not.
var (
	mem   = &drivertest.Mem{Name: "mem", Filters: true}
	raw   = &drivertest.Mem{Name: "raw"}
	mixed = &drivertest.Mem{Name: "mixed", Filters: true, Mixed: true}

	pipes = make(piped)
)

func TestMain(m *testing.M) {
	vtx.RegisterDriver(mem)
	vtx.RegisterDriver(raw)
	vtx.RegisterDriver(mixed)
	vtx.RegisterStream(loop{name: "loop"})
	vtx.RegisterStream(loop{name: "opaque", wrap: newOpaque})
	vtx.RegisterStream(loop{name: "dumb", wrap: newDumb})
	vtx.RegisterStream(loop{name: "dumb+safe", wrap: newSafeDumb})
	vtx.RegisterStream(pipes)
	before := openDescriptors()
	status := m.Run()
	if err := goleak.Find(); err != nil {
		fmt.Println("goroutines are left:", err)
		status = 1
	}
	// libzmq's reaper closes the last descriptors a moment after zmq_ctx_term; the Go runtime keeps an epoll.
	if after := openDescriptors(); after > before+4 {
		fmt.Printf("%d descriptors at the beginning, %d at the end\n", before, after)
		status = 1
	}
	os.Exit(status)
}

// host is a context with a manager, as a program has them.
type host struct {
	*app.Context
	*vtx.Manager
	t testing.TB
}

func newHost(t testing.TB) *host {
	t.Helper()
	return newHostIn(t, app.NewContext(t))
}

// smallHost is one whose context has so many sockets.
func smallHost(t testing.TB, sockets int) *host {
	t.Helper()
	c := app.NewContext(t)
	c.SetMaxSockets(sockets)
	return newHostIn(t, c)
}

func newHostIn(t testing.TB, c *app.Context) *host {
	t.Helper()
	m, err := vtx.NewManager(c.P)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Destroy() })
	return &host{c, m, t}
}

func (h *host) socket(typ vtx.SocketType) *app.Socket {
	h.t.Helper()
	return h.Context.Socket(h.t, int(typ))
}

func (h *host) bind(s *app.Socket, endpoint string) {
	h.t.Helper()
	if err := h.Bind(s.P, endpoint); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) connect(s *app.Socket, endpoint string) {
	h.t.Helper()
	if err := h.Connect(s.P, endpoint); err != nil {
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

func TestReqRep(t *testing.T) {
	h := newHost(t)
	rep, req := h.socket(vtx.Rep), h.socket(vtx.Req)
	h.bind(rep, "mem://reqrep")
	h.connect(req, "mem://reqrep")
	for i := range 1000 {
		q, a := fmt.Sprint("q", i), fmt.Sprint("a", i)
		req.Send(q, "")
		rep.Want(q, "")
		rep.Send(a)
		req.Want(a)
	}
}
