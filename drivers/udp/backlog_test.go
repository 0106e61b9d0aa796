package udp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// What counts against the limits is what waits, not what has passed through; nor does that stay in memory.
func TestBacklogOfABusyApplication(t *testing.T) {
	var k backlog
	s := &roomy{sink: newSink()}
	s.give(0)
	before := backlogged.Load()
	const waiting, rounds = 100, 20000
	body := strings.Repeat("x", 1000)
	for i := range waiting {
		k.deliver(s.opened, batch(fmt.Sprint(i, " ", body)))
	}
	for i := range rounds { // one out, one in
		s.give(1)
		_ = k.room(s)
		s.give(0)
		if lost := k.deliver(s.opened, batch(fmt.Sprint(waiting+i, " ", body))); lost > 0 {
			t.Fatalf("message %d is lost with %d waiting", i, k.batch.Len())
		}
	}
	if k.batch.Len() != waiting || k.held > 3*k.size || backlogged.Load()-before != int64(k.size) {
		t.Errorf("%d wait, %d bytes in memory for %d, %d reckoned", k.batch.Len(), k.held, k.size, backlogged.Load()-before)
	}
	s.give(-1)
	_ = k.room(s)
	for i, got := range s.all() {
		if want := fmt.Sprint(i, " ", body); got != want {
			t.Fatalf("message %d is %.20q", i, got)
		}
	}
	if s.count() != waiting+rounds || backlogged.Load() != before {
		t.Errorf("%d delivered, %d bytes reckoned", s.count(), backlogged.Load()-before)
	}
}

// What a peer has sent before it fell silent is delivered.
func TestSilenceLosesNoBacklog(t *testing.T) {
	b := bind(t, vtx.Pull, optTimeout, never)
	x, s := newExtended(t, b, vtx.Push), &roomy{sink: newSink()}
	s.give(0)
	l := x.join(s)
	b.arrive([]datagram{{x.addr(), x.datagram(nom.NOM, 0, "\x00\x01A")}}, &inbox{})
	l.pulse(clock() + 2*int64(l.set.timeout))
	if l.Err() != nil {
		t.Error("the end comes before what was sent")
	}
	s.give(-1)
	s.again()
	s.expect(t, "A")
	if err := l.Err(); err == nil || !strings.Contains(err.Error(), "silent") {
		t.Errorf("it ended with %v", err)
	}
}
