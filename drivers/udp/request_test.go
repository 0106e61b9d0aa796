package udp

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/libvtx/libvtx/vtx"
)

const never = "86400000" // an option's value for "not during this test"

func TestRequesterSpeaksTheCapturedBytes(t *testing.T) {
	s := newSink()
	srv, l, client, rep := found(t, vtx.Req, s, optResend, "5")
	send(t, l, "|ICANHAZ?")
	srv.expect("10 51 08 49 43 41 4e 48 41 5a 3f")
	srv.expect("11 51 08 49 43 41 4e 48 41 5a 3f")
	srv.expect("11 51 08 49 43 41 4e 48 41 5a 3f")
	srv.tell(client, "10 51 0b 43 48 45 45 5a 42 55 52 47 45 52")
	s.expect(t, "|CHEEZBURGER")
	rep.until(t, "retries", func() bool { rep.lock.Lock(); defer rep.lock.Unlock(); return rep.retries >= 2 })
}

func TestRequestNumbersGoRound(t *testing.T) {
	s := newSink()
	srv, l, client, _ := found(t, vtx.Req, s, optResend, never)
	var want []string
	for i := 1; i <= 40; i++ {
		send(t, l, "|A")
		n := i % 16
		srv.expect(fmt.Sprintf("10 5%x 01 41", n))
		srv.tell(client, fmt.Sprintf("10 5%x 01 %02x", n, 'a'+i%20))
		want = append(want, "|"+string(rune('a'+i%20)))
		s.expect(t, want...)
	}
}

func TestEnvelopeStaysAtHome(t *testing.T) {
	s := newSink()
	srv, l, client, _ := found(t, vtx.Req, s, optResend, never)
	send(t, l, "\x01\x02\x03\x04||body||more") // ZMQ_REQ_CORRELATE puts an id in front
	srv.expect("10 51 04 'body' 00 04 'more'")
	srv.tell(client, "10 51 00 02 'ok'")
	s.expect(t, "\x01\x02\x03\x04|||ok")
}

func TestOnlyTheAnswerCounts(t *testing.T) {
	s := newSink()
	srv, l, client, rep := found(t, vtx.Req, s, optResend, never)
	srv.tell(client, "10 50 01 78") // before any request
	rep.awaitDrops(t, vtx.DropStray, 1)
	send(t, l, "|A")
	srv.expect("10 51 01 41")
	srv.tell(client, "10 50 01 78")
	srv.tell(client, "10 52 01 78")
	srv.tell(client, "10 51 05 78") // malformed: the request stays open
	srv.tell(client, "10 51 01 61")
	srv.tell(client, "10 51 01 61")
	srv.tell(client, "10 51 01 62")
	rep.awaitDrops(t, vtx.DropStray, 3)
	rep.awaitDrops(t, vtx.DropMalformed, 1)
	rep.awaitDrops(t, vtx.DropDuplicate, 2)
	s.expect(t, "|a")
}

func TestAReplyThatFindsNoRoomIsFetchedAgain(t *testing.T) {
	s := newSink()
	s.give(0)
	srv, l, client, _ := found(t, vtx.Req, s, optResend, "5")
	send(t, l, "|A")
	srv.expect("10 51 01 41")
	srv.tell(client, "10 51 01 61")
	s.until(t, "a refusal", func() bool { s.lock.Lock(); defer s.lock.Unlock(); return s.refused > 0 })
	s.give(-1)
	srv.skipTo("11 51 01 41")
	srv.tell(client, "10 51 01 61")
	s.expect(t, "|a")
}

func TestANewRequestReplacesThePendingOne(t *testing.T) {
	s := newSink()
	srv, l, client, rep := found(t, vtx.Req, s, optResend, never)
	send(t, l, "|A", "|B")
	srv.expect("10 51 01 41")
	srv.expect("10 52 01 42")
	srv.tell(client, "10 51 01 61")
	rep.awaitDrops(t, vtx.DropStray, 1)
	srv.tell(client, "10 52 01 62")
	s.expect(t, "|b")
}

func TestAPendingRequestGoesToTheNextPeer(t *testing.T) {
	srv := loopbackRaw(t)
	d := dialTo(t, vtx.Req, srv.addr(), optResend, never)
	s := newSink()
	body := "'" + srv.addr().String() + "'"
	c := d.later(t, s)
	client := srv.expect("10 10" + body)
	srv.answer(client)
	l := got(t, c)
	send(t, l, "|A")
	srv.skipTo("10 51 01 41")
	srv.tell(client, "10 51 01 61")
	s.expect(t, "|a")
	send(t, l, "id||B") // number 2 here, number 1 there
	srv.expect("10 52 01 42")
	srv.tell(client, "10 00 'closed'")
	_ = ended(t, l)
	l.Close(nil)

	c = d.later(t, s)
	second := srv.skipTo("10 10" + body)
	if second == client {
		t.Error("a new peering came from the old address")
	}
	srv.answer(second)
	got(t, c)
	srv.skipTo("10 51 01 42")
	srv.tell(second, "10 51 01 62")
	s.expect(t, "|a", "id||b")
}

func TestAPendingRequestOfABoundSocketGoesToAnotherPeer(t *testing.T) {
	b := bind(t, vtx.Req, optResend, never)
	s1, s2, s3 := newSink(), newSink(), newSink()
	p1, l1 := joined(t, b, s1)
	p2, l2 := joined(t, b, s2)
	send(t, l1, "|A")
	p1.expect("10 51 01 41")
	l1.Close(nil)
	p1.expect("10 00 'closed'")
	p2.expect("10 51 01 41") // to the idle one
	l2.Close(nil)
	p2.expect("10 00 'closed'")
	p3, _ := joined(t, b, s3) // or to the next that comes
	p3.expect("10 51 01 41")
	p3.tell(b.to, "10 51 01 61")
	s3.expect(t, "|a")
}

func TestTooBigIsRefusedWithAnEvent(t *testing.T) {
	for _, typ := range []vtx.SocketType{vtx.Req, vtx.Push, vtx.Pair} {
		srv, l, _, rep := found(t, typ, newSink(), optResend, never)
		envelope := ""
		if typ == vtx.Req {
			envelope = "|"
		}
		send(t, l, envelope+strings.Repeat("x", 508), envelope+strings.Repeat("x", 507))
		b, _ := srv.hear()
		if len(b) != 512 || b[2] != 0xfe || b[3] != 0x01 || b[4] != 0xfb {
			t.Errorf("%v: %d bytes, % x", typ, len(b), b[:5])
		}
		rep.awaitDrops(t, vtx.DropTooBig, 1)
		e := rep.awaitEvent(t, vtx.EventRefused)
		if e.Value != uint32(syscall.EMSGSIZE) || !strings.Contains(e.Reason, "513") || !strings.Contains(e.Reason, "512") {
			t.Errorf("%v: %+v", typ, e)
		}
	}
}

func TestRequestsCostNoMemory(t *testing.T) {
	_, l, _, _ := found(t, vtx.Req, newSink(), optResend, never)
	frames := [][]byte{nil, []byte("hello?")}
	b := new(vtx.Batch)
	n := testing.AllocsPerRun(100, func() {
		b.Reset()
		b.Append(frames...)
		if err := l.Send(b); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations for a request", n)
	}
}
