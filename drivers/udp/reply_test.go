package udp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

func TestResponderSpeaksTheCapturedBytes(t *testing.T) {
	b := bind(t, vtx.Rep)
	s := newSink()
	c, l := joined(t, b, s)
	c.tell(b.to, "10 51 08 49 43 41 4e 48 41 5a 3f")
	s.expect(t, "|ICANHAZ?")
	send(t, l, "|CHEEZBURGER")
	c.expect("10 51 0b 43 48 45 45 5a 42 55 52 47 45 52")
	// The reply was lost, it seems: the same again, and nothing for the application.
	c.tell(b.to, "11 51 08 49 43 41 4e 48 41 5a 3f")
	c.expect("10 51 0b 43 48 45 45 5a 42 55 52 47 45 52")
	b.rep.awaitDrops(t, vtx.DropDuplicate, 1)
	s.expect(t, "|ICANHAZ?")
}

// A copy that came while the first one was being worked on aborted the original.
func TestACopyDuringTheWorkIsIgnored(t *testing.T) {
	b := bind(t, vtx.Rep)
	s := newSink()
	c, l := joined(t, b, s)
	c.tell(b.to, "10 51 01 41")
	c.tell(b.to, "11 51 01 41")
	c.tell(b.to, "10 51 01 41")
	b.rep.awaitDrops(t, vtx.DropDuplicate, 2)
	s.expect(t, "|A")
	send(t, l, "|a")
	c.expect("10 51 01 61")
	c.tell(b.to, "10 52 01 42")
	s.expect(t, "|A", "|B")
	send(t, l, "|b")
	c.expect("10 52 01 62") // one answer each
}

// With two at once the original gave a reply to the wrong one.
func TestEachRequesterGetsItsOwnReply(t *testing.T) {
	b := bind(t, vtx.Rep)
	s1, s2 := newSink(), newSink()
	c1, l1 := joined(t, b, s1)
	c2, l2 := joined(t, b, s2)
	for i := 1; i <= 20; i++ {
		c1.tell(b.to, fmt.Sprintf("10 5%x 01 41", i%16))
		c2.tell(b.to, fmt.Sprintf("10 5%x 01 42", i%16))
		s1.until(t, "request 1", func() bool { return s1.count() == i })
		s2.until(t, "request 2", func() bool { return s2.count() == i })
		send(t, l2, "|b")
		send(t, l1, "|a")
		c1.expect(fmt.Sprintf("10 5%x 01 61", i%16))
		c2.expect(fmt.Sprintf("10 5%x 01 62", i%16))
	}
}

func TestARequestThatFindsNoRoomIsNotHandled(t *testing.T) {
	b := bind(t, vtx.Rep)
	s := newSink()
	s.give(0)
	c, l := joined(t, b, s)
	for n, wire := range []string{"10 51 01 41", "11 51 01 41"} {
		c.tell(b.to, wire)
		b.rep.awaitDrops(t, vtx.DropFull, n+1)
	}
	s.give(-1)
	c.tell(b.to, "11 51 01 41")
	s.expect(t, "|A")
	send(t, l, "|a")
	c.expect("10 51 01 61")
	s.give(0)
	c.tell(b.to, "10 52 01 42")
	b.rep.awaitDrops(t, vtx.DropFull, 3)
	s.give(-1)
	c.tell(b.to, "11 51 01 41") // the last answered one is still known
	c.expect("10 51 01 61")
	c.tell(b.to, "11 52 01 42")
	s.expect(t, "|A", "|B")
}

func TestOldCopiesAreKnown(t *testing.T) {
	b := bind(t, vtx.Rep)
	s := newSink()
	c, l := joined(t, b, s)
	for i := 1; i <= 5; i++ {
		c.tell(b.to, fmt.Sprintf("10 5%x 01 %02x", i, '0'+i))
		s.until(t, "request", func() bool { return s.count() == i })
		send(t, l, "|r")
		c.expect(fmt.Sprintf("10 5%x 01 72", i))
	}
	// Copies that the network held back, resent ones among them.
	old := []string{"10 51 01 31", "11 51 01 31", "11 54 01 34", "11 54 01 34", "11 54 01 34", "10 53 01 33"}
	for _, wire := range old {
		c.tell(b.to, wire)
	}
	b.rep.awaitDrops(t, vtx.DropDuplicate, len(old))
	s.expect(t, "|1", "|2", "|3", "|4", "|5")
}

// A requester that gave requests up skips numbers; only its insistence tells it from an old copy.
func TestASkippedNumberIsBelievedWhenRepeated(t *testing.T) {
	b := bind(t, vtx.Rep)
	s := newSink()
	c, l := joined(t, b, s)
	c.tell(b.to, "10 51 01 41")
	s.expect(t, "|A")
	send(t, l, "|a")
	c.expect("10 51 01 61")
	c.tell(b.to, "10 54 01 42")
	c.tell(b.to, "11 54 01 42")
	b.rep.awaitDrops(t, vtx.DropDuplicate, 2)
	c.tell(b.to, "11 54 01 42")
	s.expect(t, "|A", "|B")
	send(t, l, "|b")
	c.expect("10 54 01 62")
	// Behind: 12 numbers on, or 4 back? It takes longer.
	for range believeBehind - 1 {
		c.tell(b.to, "11 50 01 43")
	}
	b.rep.awaitDrops(t, vtx.DropDuplicate, 2+believeBehind-1)
	c.tell(b.to, "11 50 01 43")
	s.expect(t, "|A", "|B", "|C")
}

// REP answers in the order of the requests, so a reply to one given up keeps that one's number.
func TestRepliesToRequestsGivenUpKeepTheirNumber(t *testing.T) {
	b := bind(t, vtx.Rep)
	s := newSink()
	c, l := joined(t, b, s)
	c.tell(b.to, "10 51 01 41")
	c.tell(b.to, "10 52 01 42")
	s.expect(t, "|A", "|B")
	for range believeBehind + 1 { // both are being worked on, however often they come
		c.tell(b.to, "11 51 01 41")
	}
	b.rep.awaitDrops(t, vtx.DropDuplicate, believeBehind+1)
	send(t, l, "|a")
	c.expect("10 51 01 61")
	send(t, l, "|b")
	c.expect("10 52 01 62")
	for i := 3; i < 3+maxWaiting; i++ {
		c.tell(b.to, fmt.Sprintf("10 5%x 01 43", i))
	}
	c.tell(b.to, "10 5b 01 44") // one too many waits until there is room
	b.rep.awaitDrops(t, vtx.DropFull, 1)
	send(t, l, "|c")
	c.expect("10 53 01 63")
	c.tell(b.to, "11 5b 01 44")
	s.until(t, "the late one", func() bool { return s.count() == 3+maxWaiting })
}

func TestRouterAnswersTheNewestRequest(t *testing.T) {
	b := bind(t, vtx.Router)
	s := newSink()
	c, l := joined(t, b, s)
	c.tell(b.to, "10 51 01 41")
	s.expect(t, "|A")
	send(t, l, "|a", "|again") // a requester waits for one
	c.expect("10 51 01 61")
	b.rep.awaitDrops(t, vtx.DropStray, 1)
	c.tell(b.to, "10 52 01 42")
	c.tell(b.to, "10 53 01 43")
	s.expect(t, "|A", "|B", "|C")
	send(t, l, "c", "|b") // a reply without a delimiter is sent as it is
	c.expect("10 53 01 63")
	b.rep.awaitDrops(t, vtx.DropStray, 2)
	for i := range 20 { // requests that nobody answers
		c.tell(b.to, fmt.Sprintf("10 5%x 01 44", (4+i)%16))
	}
	s.until(t, "unanswered requests", func() bool { return s.count() == 23 })
}

func TestRouterAndDealerJustTalk(t *testing.T) {
	b := bind(t, vtx.Router)
	s := newSink()
	c, l := joined(t, b, s)
	send(t, l, "first|word") // a router may speak first
	c.expect("10 50 05 'first' 04 'word'")
	c.tell(b.to, "10 50 01 41 00 01 42")
	c.tell(b.to, "10 50 01 41 00 01 42") // nothing tells a copy here
	s.expect(t, "A||B", "A||B")
	c.tell(b.to, "10 57 01 43")
	s.expect(t, "A||B", "A||B", "C")
	send(t, l, "|x", "y")
	c.expect("10 57 00 01 78") // the number heard last, as in the original
	c.expect("10 57 01 79")
}

func TestAReplyThatIsTooBigIsRefused(t *testing.T) {
	b := bind(t, vtx.Rep)
	s := newSink()
	c, l := joined(t, b, s)
	c.tell(b.to, "10 51 01 41")
	s.expect(t, "|A")
	send(t, l, "|"+strings.Repeat("x", 508))
	b.rep.awaitEvent(t, vtx.EventRefused)
	for range believeBehind + 1 {
		c.tell(b.to, "11 51 01 41") // handled once, all the same
	}
	b.rep.awaitDrops(t, vtx.DropDuplicate, believeBehind+1)
	s.expect(t, "|A")
}

func TestAMalformedFirstMessageDecidesNothing(t *testing.T) {
	b := bind(t, vtx.Rep)
	s := newSink()
	c, _ := joined(t, b, s)
	c.tell(b.to, "10 50 05 41")
	b.rep.awaitDrops(t, vtx.DropMalformed, 1)
	c.tell(b.to, "10 51 01 41")
	s.expect(t, "|A")
}

// What a requester sends to be given its reply again is small, and the reply may be large: it must not get that as often as
// it likes. One datagram it may have each time, because udp.resend can be as little as a millisecond.
func TestALargeReplyIsNotRepeatedAtOnce(t *testing.T) {
	for _, v := range []struct {
		size    int
		bounded bool
	}{{100, false}, {100_000, true}} {
		b := bind(t, vtx.Rep, optTimeout, never)
		x, s := newExtended(t, b, vtx.Req), newSink()
		l := x.join(s)
		x.send(x.datagram(nom.NOM, 1, "\x00\x01A"))
		s.expect(t, "|A")
		r := l.role.(*responder)
		before := clock()
		send(t, l, "|"+strings.Repeat("r", v.size))
		r.mu.Lock()
		if r.sent < before {
			t.Errorf("%d bytes: not known when they were sent", v.size)
		}
		r.mu.Unlock()
		retries := func() int {
			b.rep.lock.Lock()
			defer b.rep.lock.Unlock()
			return b.rep.retries
		}
		// ask has the request come again, in both forms, so long after the reply was sent, and counts the copies of that.
		ask := func(since time.Duration) int {
			before := retries()
			part := nom.AppendPart(nil, nom.Part{Total: 3, Bytes: []byte{0}})
			for _, d := range [][]byte{x.datagram(nom.PART, 1, string(part)), x.datagram(nom.NOM, 1, "\x00\x01A")} {
				r.mu.Lock()
				r.sent = clock() - int64(since)
				r.mu.Unlock()
				b.arrive([]datagram{{x.addr(), d}}, &inbox{})
			}
			return retries() - before
		}
		early := 2
		if v.bounded {
			early = 0
		}
		// A minute before it was sent: however slow the test is, that is too early.
		if n := ask(-time.Minute); n != early {
			t.Errorf("%d bytes, asked for too early: sent again %d times, want %d", v.size, n, early)
		}
		before = clock()
		if n := ask(minRTO); n != 2 {
			t.Errorf("%d bytes, asked for in time: sent again %d times, want 2", v.size, n)
		}
		r.mu.Lock()
		if r.sent < before {
			t.Errorf("%d bytes: not known when they were sent again", v.size)
		}
		r.mu.Unlock()
	}
}
