package udp_test

import (
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/vtx"
)

// What a large message was put together in is given back when it has been delivered.
func TestMemoryOfALargeMessage(t *testing.T) {
	c := app.NewContext(t)
	m, err := vtx.NewManager(c.P)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Destroy() })
	rep, req := c.Socket(t, int(vtx.Rep)), c.Socket(t, int(vtx.Req))
	if err := m.Bind(rep.P, "udp://127.0.0.1:*"); err != nil {
		t.Fatal(err)
	}
	endpoint, err := m.Meta(rep.P, "endpoint")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Connect(req.P, endpoint); err != nil {
		t.Fatal(err)
	}
	before := arena.Taken()
	body := strings.Repeat("x", 600_000)
	req.Send(body)
	rep.Want(body)
	rep.Send("thanks")
	req.Want("thanks")
	app.Eventually(t, "all memory is given back", func() bool { return arena.Taken() <= before })
}
