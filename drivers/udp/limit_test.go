package udp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// A peer that subscribes to more than the option subscriptions allows loses its peering, and what it has subscribed to.
func TestSubscriptionsOfOnePeerAreBounded(t *testing.T) {
	c := app.NewContext(t)
	m, err := vtx.NewManager(c.P)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Destroy() })
	xpub, sub := c.Socket(t, int(vtx.XPub)), c.Socket(t, int(vtx.Sub))
	if err := m.SetOption(xpub.P, "subscriptions", "2"); err != nil {
		t.Fatal(err)
	}
	if err := m.Bind(xpub.P, "udp://127.0.0.1:*"); err != nil {
		t.Fatal(err)
	}
	endpoint, err := m.Meta(xpub.P, "endpoint")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Connect(sub.P, endpoint); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"a", "b", "a"} {
		sub.SetString(zmq.Subscribe, topic)
	}
	// What was there before the link is told in any order
	two := func() string {
		heard := []string{xpub.Recv()[0], xpub.Recv()[0]}
		slices.Sort(heard)
		return strings.Join(heard, "")
	}
	if came := two(); came != "\x01a\x01b" {
		t.Errorf("the publisher heard %q", came)
	}
	sub.SetString(zmq.Subscribe, "c")
	if gone := two(); gone != "\x00a\x00b" {
		t.Errorf("the publisher heard %q, want both topics to go", gone)
	}
}
