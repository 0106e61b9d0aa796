package vtx

import (
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
)

// A handler that has come and gone is not taken for none, also when the ROUTER has forgotten it.
func TestZAPProbeOfAHandlerThatHasGone(t *testing.T) {
	c := app.NewContext(t)
	m, err := NewManager(c.P)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Destroy() })
	p, err := openZAPProbe(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	if !p.nobody() {
		t.Fatal("somebody is there")
	}
	handler := c.Socket(t, zmq.TypeRouter)
	handler.Native(true, zapEndpoint)
	if p.nobody() {
		t.Fatal("nobody is there")
	}
	handler.Close()
	app.Eventually(t, "the ROUTER has forgotten the handler", func() bool { return !p.router.CanSend() })
	if p.nobody() {
		t.Fatal("a handler that has gone is taken for none")
	}
}
