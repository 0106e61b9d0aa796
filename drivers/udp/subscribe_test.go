package udp

import (
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// A subscription of very many frames that comes byte by byte is looked at once, and not anew for each byte.
func TestAnIncompleteSubscriptionIsLookedAtOnce(t *testing.T) {
	b := bind(t, vtx.Pub, optTimeout, never)
	x, s := newExtended(t, b, vtx.Sub), newSink()
	l := x.join(s)
	d, in := l.ext.down, &inbox{}
	took := uint32(0)
	take := func(bytes string) {
		b.arrive([]datagram{{x.addr(), x.datagram(nom.SUBSCRIBE, took, bytes)}}, in)
		took += uint32(len(bytes))
	}
	const frames = 500
	take(strings.Repeat("\x01\x00", frames))
	if d.seen != 2*frames {
		t.Fatalf("looked at %d bytes, want %d", d.seen, 2*frames)
	}
	for i := range d.part {
		d.part[i] = 0xff // no frame begins so: whoever looks here again ends the peering
	}
	const rest = "\x01\x00\x01\x02ab\x00\x01c"
	for i := range rest {
		take(rest[i : i+1])
		if i == 4 && d.seen != 2*frames+2 { // in the middle of a frame
			t.Fatalf("looked at %d bytes, want %d", d.seen, 2*frames+2)
		}
		if i == len(rest)-2 { // as it was
			copy(d.part, strings.Repeat("\x01\x00", frames))
		}
	}
	if d.seen != 0 || d.part != nil || d.next != took {
		t.Fatalf("%d of %d bytes taken; %d are left, %d of them looked at", d.next, took, len(d.part), d.seen)
	}
	take("\x00\x02\x01d\x00") // the next one begins anew, and another
	take("\x02\x01e")
	s.expect(t, strings.Repeat("|", frames+1)+"ab|c", "\x01d", "\x01e")
	if err := l.Err(); err != nil {
		t.Error(err)
	}
}

// While subscriptions wait for the application the next ones are not acknowledged: the peer repeats them, where others would
// be lost. They are in order, and all there, when the application has made room.
func TestSubscriptionsWaitForTheApplication(t *testing.T) {
	b := bind(t, vtx.Pub, optTimeout, never)
	x, s := newExtended(t, b, vtx.Sub), &roomy{sink: newSink()}
	s.give(1)
	l := x.join(s)
	d, in := l.ext.down, &inbox{}
	take := func(topics string) {
		b.arrive([]datagram{{x.addr(), x.datagram(nom.SUBSCRIBE, d.next, topics)}}, in)
	}
	take("\x00\x02\x01a\x00\x02\x01b")
	if d.next != 8 {
		t.Fatalf("%d bytes acknowledged, want 8", d.next)
	}
	take("\x00\x02\x01c")
	if d.next != 8 {
		t.Errorf("%d bytes acknowledged while others wait, want 8", d.next)
	}
	s.give(-1)
	s.again()
	take("\x00\x02\x01c")
	s.expect(t, "\x01a", "\x01b", "\x01c")
}
