package udp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// A client sends a burst and goes. That the server answers what it hears of it takes nothing from the rest.
func TestAnswersToAPeerThatHasGone(t *testing.T) {
	host := func() (*app.Context, *vtx.Manager) {
		c := app.NewContext(t)
		m, err := vtx.NewManager(c.P)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Destroy() })
		return c, m
	}
	near, m := host()
	far, there := host()
	server, client := near.Socket(t, int(vtx.Router)), far.Socket(t, int(vtx.Dealer))
	if err := m.Bind(server.P, "udp://127.0.0.1:*"); err != nil {
		t.Fatal(err)
	}
	meta := func(name string) string {
		value, err := m.Meta(server.P, name)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	if err := there.Connect(client.P, meta("endpoint")); err != nil {
		t.Fatal(err)
	}
	const count = 5000 // more than there is room for in the socket
	client.Set(zmq.Linger, -1)
	for i := range count {
		client.Send(fmt.Sprint(i))
	}
	client.Forget()
	if err := there.Close(client.P); err != nil {
		t.Fatal(err)
	}
	last := -1
	for over := false; !over; {
		over = meta("peers") == "0" // and then once more
		for {
			message, err := server.RecvWithin(0)
			if err != nil {
				break
			}
			if _, err := fmt.Sscan(message[1], &last); err != nil {
				t.Fatal(err)
			}
			_ = server.TrySend(false, message[0], "thanks")
		}
	}
	if stats := meta("stats"); last != count-1 && !strings.Contains(stats, `"lost":`) || strings.Contains(stats, `"full":`) {
		t.Errorf("the last of %d messages that came is %d: %s", count, last, stats)
	}
}
