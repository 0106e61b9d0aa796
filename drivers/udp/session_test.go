package udp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/libvtx/libvtx/drivers/udp/udprelay"
	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// What was sent is what was delivered and what was counted as lost: also at the end, where nothing comes after it.
func TestLossIsCountedExactly(t *testing.T) {
	const messages = 20_000
	b := bind(t, vtx.Pull)
	r := relay(t, b, udprelay.Config{Drop: 0.1, Duplicate: 0.1, Delay: 0.1, MTU: 1500})
	s := newSink()
	c := dialTo(t, vtx.Push, r.Addr()).later(t, newSink())
	l := b.accept(t, s)
	dialled := got(t, c)
	for i := 0; i < messages; {
		var group []string
		for range 1 + i%37 {
			group = append(group, fmt.Sprintf("message %d", i))
			i++
		}
		send(t, dialled, group...)
	}
	sent := int(dialled.ext.next.Load())
	ask := time.NewTicker(5 * time.Millisecond)
	defer ask.Stop()
	for end := time.Now().Add(watchdog); s.count()+b.rep.dropped(vtx.DropLost) < sent; <-ask.C {
		if time.Now().After(end) {
			t.Fatalf("%d delivered, %d lost, %d sent", s.count(), b.rep.dropped(vtx.DropLost), sent)
		}
		l.ext.mu.Lock()
		_ = l.ext.ask(l, l.to(), 0, clock())
		l.ext.mu.Unlock()
		l.ext.tick(l, clock())
	}
	if n := s.count() + b.rep.dropped(vtx.DropLost); n != sent {
		t.Errorf("%d delivered, %d lost, %d sent", s.count(), b.rep.dropped(vtx.DropLost), sent)
	}
	seen := map[string]bool{}
	for _, m := range s.all() {
		if seen[m] {
			t.Fatalf("%q twice", m)
		}
		seen[m] = true
	}
	t.Logf("%d delivered, %d lost", len(seen), b.rep.dropped(vtx.DropLost))
}

// What was lost at the end shows in the numbers of HUGZ, HUGZ-OK and ROTFL.
func TestLossAtTheEndIsCounted(t *testing.T) {
	for _, command := range []nom.Command{nom.HUGZ, nom.HUGZOK, nom.ROTFL} {
		b := bind(t, vtx.Pull)
		x := newExtended(t, b, vtx.Push)
		s := newSink()
		l := x.join(s)
		x.send(x.datagram(nom.NOM, 0, "\x00\x01A"))
		s.expect(t, "A")
		x.send(x.datagram(command, 5, "8 bytes."))
		x.send(x.datagram(nom.NOM, 5, "\x00\x01B")) // after a ROTFL it is too late
		if command != nom.ROTFL {
			s.expect(t, "A", "B")
			l.ext.tick(l, clock()+int64(lateAfter))
		}
		b.rep.awaitDrops(t, vtx.DropLost, 4)
	}
}

// Subscriptions arrive whatever the network does, all of them and in order.
func TestSubscriptionsAreReliable(t *testing.T) {
	b := bind(t, vtx.Pub)
	r := relay(t, b, udprelay.Config{Drop: 0.2, Duplicate: 0.1, Delay: 0.1, MTU: 576})
	s := newSink()
	c := dialTo(t, vtx.Sub, r.Addr()).later(t, newSink())
	b.accept(t, s)
	dialled := got(t, c)
	var want []string
	for i := range 1000 {
		topic := fmt.Sprintf("\x01topic %d", i)
		if i%100 == 99 {
			topic += strings.Repeat(".", 3000) // larger than a datagram
		}
		send(t, dialled, topic)
		want = append(want, topic)
		if i%3 == 0 {
			send(t, dialled, "\x00"+topic[1:])
			want = append(want, "\x00"+topic[1:])
		}
	}
	s.expect(t, want...)
	send(t, dialled, strings.Repeat("x", maxTopic))
	if n := dialled.cfg.Report.(*reporter).dropped(vtx.DropTooBig); n != 1 {
		t.Errorf("%d topics refused", n)
	}
}

// While a large message is under way the peer is not told that it was sent.
func TestALargeMessageIsNumberedWhenItHasBeenSent(t *testing.T) {
	b := bind(t, vtx.Pull)
	s := newSink()
	go func() {
		if l, err := b.Accept(); err == nil {
			l.Start(s)
		}
	}()
	l := dialTo(t, vtx.Push, b.to).dial(t, nil)
	watched := &numbersSeen{l: l, batcher: l.sock.batch}
	l.sock.batch = watched
	l.Start(newSink())
	large := strings.Repeat("x", 100_000)
	send(t, l, "small", large, large)
	s.expect(t, "small", large, large)
	watched.lock.Lock()
	defer watched.lock.Unlock()
	if !slices.Contains(watched.next, 1) || !slices.Contains(watched.next, 2) || slices.Contains(watched.next, 3) {
		t.Errorf("next numbers while parts were sent: %v", watched.next)
	}
	if n := l.ext.next.Load(); n != 3 {
		t.Errorf("next number %d", n)
	}
}

// numbersSeen notes, whenever a batch is sent, which number a HUGZ of that moment would bear.
type numbersSeen struct {
	batcher
	l    *link
	lock sync.Mutex
	next []uint32
}

func (n *numbersSeen) WriteBatch(ms []ipv4.Message, flags int) (int, error) {
	n.lock.Lock()
	n.next = append(n.next, n.l.ext.next.Load())
	n.lock.Unlock()
	return n.batcher.WriteBatch(ms, flags)
}

// What was sent and has to be repeated may yet be acknowledged, all of it, also when less may be under way than before.
func TestAnAcknowledgementOfAnEarlierTimeCounts(t *testing.T) {
	b := bind(t, vtx.Pub)
	c := dialTo(t, vtx.Sub, b.to, optTimeout, never).later(t, newSink())
	b.take(t).Start(newSink())
	l := got(t, c)
	s := l.ext
	s.mu.Lock()
	defer s.mu.Unlock()
	s.search.alarm.stop()
	s.size.Store(8972)
	u := &uplink{bytes: make([]byte, 30_000)}
	s.up = u
	u.send(l)
	sent := u.size
	s.size.Store(548)
	u.size = 0
	u.send(l) // again, as after a time without an acknowledgement
	if sent != 30_000 || u.size >= sent {
		t.Fatalf("sent %d bytes, then %d", sent, u.size)
	}
	u.acknowledged(l, uint32(sent)+1, clock()) // there is no such byte
	if len(u.bytes) != sent {
		t.Error("bytes are acknowledged that never were")
	}
	u.acknowledged(l, uint32(sent), clock())
	if len(u.bytes) != 0 || u.size != 0 || u.base != uint32(sent) {
		t.Errorf("%d bytes left, %d of them under way, from %d", len(u.bytes), u.size, u.base)
	}
}

// A request is handled once, and answered as often as it comes.
func TestAnExtendedRequestIsHandledOnce(t *testing.T) {
	b := bind(t, vtx.Rep)
	x := newExtended(t, b, vtx.Req)
	s := newSink()
	l := x.join(s)
	l.ext.begun.Store(true) // no probes
	x.send(x.datagram(nom.NOM, 1, "\x00\x01A"))
	s.expect(t, "|A")
	x.send(x.datagram(nom.NOM, 1, "\x00\x01A")) // being worked on
	b.rep.awaitDrops(t, vtx.DropDuplicate, 1)
	send(t, l, "|a")
	first, _ := x.hear()
	h, body, err := nom.ParseHeader(first)
	if err != nil || h.Command != nom.NOM || h.Number != 1 || h.Token != x.hello.Token || h.Resend || string(body) != "\x00\x01a" {
		t.Fatalf("heard % x", first)
	}
	x.send(x.datagram(nom.NOM, 1, "\x00\x01A"))
	if again, _ := x.hear(); again[0] != 0x13 || string(again[1:]) != string(first[1:]) {
		t.Errorf("repeated as % x", again)
	}
	// In parts only the first stands for the whole.
	for at, part := range []string{"\x00", "\x01", "A"} {
		x.send(append(x.datagram(nom.PART, 1, ""), nom.AppendPart(nil, nom.Part{Offset: uint32(at), Total: 3, Bytes: []byte(part)})...))
	}
	if again, _ := x.hear(); again[0] != 0x13 {
		t.Errorf("repeated as % x", again)
	}
	x.send(x.datagram(nom.HUGZ, 1, "8 bytes."))
	if next, _ := x.hear(); next[1] != byte(nom.HUGZOK)<<4 {
		t.Errorf("repeated again as % x", next)
	}
	for at, part := range []string{"\x00", "\x01", "B"} { // number 5: the ones between were given up
		x.send(append(x.datagram(nom.PART, 5, ""), nom.AppendPart(nil, nom.Part{Offset: uint32(at), Total: 3, Bytes: []byte(part)})...))
	}
	s.expect(t, "|A", "|B")
	x.send(x.datagram(nom.NOM, 3, "\x00\x01C")) // older than that
	b.rep.awaitDrops(t, vtx.DropDuplicate, 4)
	s.expect(t, "|A", "|B")
}

// A sender is told what the peer takes, and refuses more with an event.
func TestThePeersLimitHolds(t *testing.T) {
	b := bind(t, vtx.Pull, optMaxMsg, "1000")
	s := newSink()
	d := dialTo(t, vtx.Push, b.to)
	c := d.later(t, newSink())
	b.accept(t, s)
	dialled := got(t, c)
	send(t, dialled, strings.Repeat("x", 1001), strings.Repeat("x", 1000))
	s.expect(t, strings.Repeat("x", 1000))
	if e := d.rep.awaitEvent(t, vtx.EventRefused); !strings.Contains(e.Reason, "1001") || !strings.Contains(e.Reason, "1000") {
		t.Errorf("%+v", e)
	}
}

// A burst waits for the application, within limits, and the goodbye behind it is told afterwards.
func TestABurstWaitsForTheApplication(t *testing.T) {
	var k backlog
	s := &roomy{sink: newSink()}
	s.give(1)
	if lost := k.deliver(s.opened, batch("1", "2", "3")); lost != 0 {
		t.Errorf("%d lost", lost)
	}
	if lost := k.deliver(s.opened, batch("4")); lost != 0 {
		t.Errorf("%d lost", lost)
	}
	if k.endAfter(errTest) {
		t.Error("the end comes before what was sent")
	}
	s.give(2)
	if err := k.room(s); err != nil {
		t.Error(err)
	}
	s.give(-1)
	if err := k.room(s); err != errTest {
		t.Error(err)
	}
	s.expect(t, "1", "2", "3", "4")
	s.give(0)
	var full backlog
	lost, large := 0, strings.Repeat("x", 1<<20)
	for range 6 {
		lost += full.deliver(s.opened, batch(large))
	}
	if lost != 3 { // three of a mebibyte and their heads leave no room for a fourth
		t.Errorf("%d lost", lost)
	}
	if n := full.drop(); n != 3 || backlogged.Load() != 0 {
		t.Errorf("%d dropped, %d bytes reckoned", n, backlogged.Load())
	}
	if lost := full.deliver(s.opened, batch("late")); lost != 1 {
		t.Error("something waits behind the end")
	}
}

// What comes while the link is being started is either early, and start delivers it, or finds the sink.
func TestNothingFallsBetweenEarlyAndStarted(t *testing.T) {
	s, started := newSink(), make(chan struct{})
	k := backlog{early: true}
	lost := k.deliver(func() vtx.Sink {
		if k.mu.TryLock() {
			t.Error("the link may be started now")
			k.mu.Unlock()
		}
		go func() { defer close(started); _ = k.start(s) }()
		return nil
	}, batch("first words"))
	<-started
	if s.expect(t, "first words"); lost != 0 {
		t.Errorf("%d lost", lost)
	}
}

// Between a goodbye and the end of what waits to be delivered a link is of no other use: it sends nothing, and it is not silent.
func TestAfterAGoodbyeOnlyTheBacklogIsLeft(t *testing.T) {
	check := func(t *testing.T, l *link, s *roomy) {
		t.Helper()
		// A GONE bears another token than what is sent around it, and may be handled after that
		await(t, "the goodbye", func() bool { return l.backlog.over() != nil || l.Err() != nil })
		if l.Err() != nil {
			t.Fatalf("ended before its messages were delivered: %v", l.Err())
		}
		why := l.Send(batch("to nobody"))
		if why == nil {
			t.Error("something was sent to a peer that has gone")
		}
		l.pulse(clock() + 2*int64(l.set.timeout))
		if l.Err() != nil {
			t.Fatalf("ended by silence: %v", l.Err())
		}
		s.give(-1)
		s.again()
		if s.expect(t, "A"); ended(t, l) != why {
			t.Errorf("ended: %v, said by Send: %v", l.Err(), why)
		}
	}
	for _, command := range []nom.Command{nom.ROTFL, nom.GONE} {
		t.Run(fmt.Sprintf("bound, command %d", command), func(t *testing.T) {
			b := bind(t, vtx.Pair, optTimeout, never)
			x, s := newExtended(t, b, vtx.Pair), &roomy{sink: newSink()}
			s.give(0)
			l := x.join(s)
			x.send(x.datagram(nom.NOM, 0, "\x00\x01A"))
			goodbye := nom.Header{Command: command, Extended: true, Token: x.theirs, Number: 1}
			if command == nom.GONE {
				goodbye.Token = x.hello.Token
			}
			x.send(nom.AppendHeader(nil, goodbye))
			x.settled(x.b.to, x.theirs)
			check(t, l, s)
		})
		t.Run(fmt.Sprintf("dialled, command %d", command), func(t *testing.T) {
			srv, s := newAnswerer(t, vtx.Pair), &roomy{sink: newSink()}
			s.give(0)
			c := dialTo(t, vtx.Pair, srv.addr(), optTimeout, never).later(t, s)
			srv.say(srv.raw, srv.cookie(srv.called(anyCall).Token))
			ours := srv.called(withCookie).Token
			welcome := srv.welcome(ours)
			srv.say(srv.raw, welcome)
			l := got(t, c)
			goodbye := nom.Header{Command: command, Extended: true, Token: ours, Number: 1}
			if command == nom.GONE {
				goodbye.Token = welcome.Token
			}
			first := append(nom.AppendHeader(nil, nom.Header{Command: nom.NOM, Extended: true, Token: ours}), "\x00\x01A"...)
			for _, d := range [][]byte{first, nom.AppendHeader(nil, goodbye)} {
				if _, err := srv.WriteToUDPAddrPort(d, srv.client); err != nil {
					t.Fatal(err)
				}
			}
			srv.settled(srv.client, ours)
			check(t, l, s)
		})
	}
}

// settled returns when the peering with this token has looked at all that it was sent before.
func (r *raw) settled(to netip.AddrPort, token nom.Token) {
	r.t.Helper()
	d := append(nom.AppendHeader(nil, nom.Header{Command: nom.HUGZ, Extended: true, Token: token, Number: 1}), "settled?"...)
	if _, err := r.WriteToUDPAddrPort(d, to); err != nil {
		r.t.Fatal(err)
	}
	for {
		b, _ := r.hear()
		if h, body, err := nom.ParseHeader(b); err == nil && h.Command == nom.HUGZOK && string(body) == "settled?" {
			return
		}
	}
}

// A subscription is no message to lose: the next publisher is told of it, and this one's last messages are still delivered.
func TestSubscribingAfterAGoodbyeLosesNothing(t *testing.T) {
	b := bind(t, vtx.Sub, optTimeout, never)
	x, s := newExtended(t, b, vtx.Pub), &roomy{sink: newSink()}
	s.give(0)
	l := x.join(s)
	x.send(x.datagram(nom.NOM, 0, "\x00\x01A"))
	x.send(x.datagram(nom.ROTFL, 1, "closed"))
	x.settled(x.b.to, x.theirs)
	send(t, l, "\x01topic")
	l.ext.mu.Lock()
	if n := len(l.ext.up.bytes); n > 0 {
		t.Errorf("%d bytes are to be sent to a publisher that has gone", n)
	}
	l.ext.mu.Unlock()
	s.give(-1)
	s.again()
	s.expect(t, "A")
	_ = ended(t, l)
}

// roomy is a sink that says when there is room: again does.
type roomy struct {
	*sink
	again func()
}

func (s *roomy) Room(f func()) { s.again = f }

func (s *roomy) opened() vtx.Sink { return s }
