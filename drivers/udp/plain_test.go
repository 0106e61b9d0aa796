package udp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

// The original's bytes, as they were captured, against each of our types in both roles.
func TestTheOriginalTalksToEveryType(t *testing.T) {
	const (
		request = "10 51 08 49 43 41 4e 48 41 5a 3f"
		reply   = "10 51 0b 43 48 45 45 5a 42 55 52 47 45 52"
		message = "10 50 08 4e 4f 4d 20 31 32 33 34"
	)
	for typ := vtx.Pair; typ <= vtx.XSub; typ++ {
		for _, binds := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v/binds=%v", typ, binds), func(t *testing.T) {
				s := newSink()
				var peer *raw
				var l *link
				var hear func(wire string)
				if binds {
					b := bind(t, typ)
					peer, l = joined(t, b, s)
					hear = func(wire string) { peer.tell(b.to, wire) }
				} else {
					srv, dialled, client, _ := found(t, typ, s)
					peer, l = srv, dialled
					hear = func(wire string) { srv.tell(client, wire) }
				}
				if p := l.Peer(); p.Type != vtx.TypeUnknown || !p.Unfiltered || l.ext != nil {
					t.Errorf("peer %+v", p)
				}
				switch typ {
				case vtx.Req:
					send(t, l, "|ICANHAZ?")
					peer.skipTo(request)
					hear(reply)
					s.expect(t, "|CHEEZBURGER")
				case vtx.Rep, vtx.Router:
					hear(request)
					s.expect(t, "|ICANHAZ?")
					send(t, l, "|CHEEZBURGER")
					peer.skipTo(reply)
				case vtx.Pub, vtx.XPub, vtx.Push:
					send(t, l, "NOM 1234")
					peer.skipTo(message)
				case vtx.Sub, vtx.XSub, vtx.Pull:
					hear(message)
					s.expect(t, "NOM 1234")
				default:
					hear(message)
					s.expect(t, "NOM 1234")
					send(t, l, "NOM 1234")
					peer.skipTo(message)
				}
				hear("10 35")
				peer.skipTo("10 40")
				if binds { // the one that connects is not told: NOM-1 has no goodbye for it
					l.Close(nil)
					peer.skipTo("10 00 'closed'")
				} else {
					hear("10 00 4d 61 78 20 70 65 65 72 69 6e 67 73")
					_ = ended(t, l)
				}
			})
		}
	}
}

// Between plain ends of ours, all is as it was.
func TestACallerMayBePlain(t *testing.T) {
	b := bind(t, vtx.Rep)
	in, out := newSink(), newSink()
	c := dialTo(t, vtx.Req, b.to, optPlain, plainOnly).later(t, in)
	l := b.accept(t, out)
	dialled := got(t, c)
	if l.ext != nil || dialled.ext != nil {
		t.Error("a plain caller got an extended peering")
	}
	send(t, dialled, "|ICANHAZ?")
	out.expect(t, "|ICANHAZ?")
	send(t, l, "|CHEEZBURGER")
	in.expect(t, "|CHEEZBURGER")
}

// forgeries are OHAIs from many addresses at which nobody is: answers reach no other program's socket.
func forgeries(t testing.TB, n int) (list []datagram) {
	t.Helper()
	for i := range n {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 77, byte(i >> 8), byte(i)}), 9)
		list = append(list, datagram{from, wired(t, "10 10 'a:1'")})
	}
	return list
}

// A plain OHAI can be forged by anybody: many of them cost no pipe and keep nobody out, neither who speaks the extension nor an
// original.
func TestForgedOHAIsLockNobodyOut(t *testing.T) {
	b := bind(t, vtx.Pub, optTimeout, never)
	forged, at := forgeries(t, 1200), 0
	flood := func(n int) {
		for ; n > 0; n -= maxHalfOpen {
			at = (at + maxHalfOpen) % (len(forged) - maxHalfOpen)
			b.arrive(append([]datagram(nil), forged[at:at+maxHalfOpen]...), &inbox{})
		}
	}
	flood(len(forged))
	b.mu.Lock()
	if len(b.links) != 0 || len(b.waiting) != 0 || len(b.lobby.peers) != maxHalfOpen {
		t.Errorf("%d links, %d of them offered, %d half-open peers", len(b.links), len(b.waiting), len(b.lobby.peers))
	}
	b.mu.Unlock()
	newExtended(t, b, vtx.Sub).join(newSink())
	o := b.client(t)
	// Between its call and its answer as many others call as there are places. It gets in at once, but that a machine is slow: then
	// it calls again after ten seconds.
	for tries := 0; len(b.waiting) == 0; tries++ {
		if tries > 4000 {
			t.Fatal("an original finds no way in")
		}
		pass(stride, o.act, func() { flood(maxHalfOpen) }, o.act)
	}
	l := b.accept(t, newSink())
	send(t, l, "NOM")
	o.act()
	if len(o.messages) != 1 || o.messages[0] != "\x03NOM" {
		t.Errorf("the original has heard %q", o.messages)
	}
}

// Nothing is sent to an address that has not answered but the answer and a few HUGZ, and no more than three times its bytes.
func TestAForgedOHAIIsHardlyAmplified(t *testing.T) {
	b := bind(t, vtx.Pub)
	b.still()
	for _, ohai := range []string{"10 10", "10 10 'a'", "10 10 '127.0.0.1:5601'"} {
		victim := loopbackRaw(t)
		said := wired(t, ohai)
		for copies := 1; copies <= 3; copies++ {
			b.arrive([]datagram{{victim.addr(), said}}, &inbox{})
			heard := 0
			check := func() {
				for d, ok := victim.next(); ok; d, ok = victim.next() {
					heard += len(d.data)
					if c := d.data[1] >> 4; c != 2 && c != 3 {
						t.Errorf("%s: told % x", ohai, d.data)
					}
				}
			}
			check()
			if heard < len(said)+2 {
				t.Errorf("%s: heard %d bytes", ohai, heard)
			}
			pass(originalTimeout/2, b.measure, check)
			if heard > 3*len(said) {
				t.Errorf("%s: %d bytes for %d", ohai, heard, len(said))
			}
		}
		pass(originalTimeout, b.measure)
		b.mu.Lock()
		if len(b.lobby.peers) != 0 {
			t.Error("an address that never answered is not forgotten")
		}
		b.mu.Unlock()
	}
}

func TestTheOldestHalfOpenPeerGoesFirst(t *testing.T) {
	b := bind(t, vtx.Pull)
	b.still()
	forged := forgeries(t, maxHalfOpen+2)
	tell := func(d datagram, wire string) { b.arrive([]datagram{{d.from, wired(t, wire)}}, &inbox{}) }
	for _, d := range forged[:maxHalfOpen] {
		tell(d, "10 10 'a:1'")
	}
	known := func(d datagram) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.lobby.find(d.from) >= 0
	}
	now, late := clock(), forged[maxHalfOpen]
	b.mu.Lock()
	for i := range b.lobby.peers {
		b.lobby.peers[i].called = now + int64(time.Hour) // no time at all, however slow this is
	}
	b.mu.Unlock()
	tell(late, "10 10 'a:1'")
	if known(late) || !known(forged[0]) {
		t.Error("who was answered has had no chance to answer")
	}
	b.mu.Lock()
	for i := range b.lobby.peers {
		b.lobby.peers[i].called = now - int64(leastChance)
	}
	b.mu.Unlock()
	tell(forged[0], "10 10 'a:1'") // calls again, and is the youngest now
	tell(late, "10 10 'a:1'")
	if !known(late) || known(forged[1]) || !known(forged[0]) || !known(forged[2]) {
		t.Error("it was not the oldest that went")
	}
	tell(forged[1], "10 40")
	if len(b.waiting) != 0 {
		t.Error("a peer that was forgotten was let in")
	}
	tell(forged[2], "10 40")
	b.take(t)
	if known(forged[2]) {
		t.Error("a peer is half open and a peer")
	}
}

func TestPlainPeersAreBounded(t *testing.T) {
	b := bind(t, vtx.Push, optPlainMost, "2")
	_, l := joined(t, b, newSink())
	joined(t, b, newSink())
	c := loopbackRaw(t)
	c.tell(b.to, "10 10 'a:1'")
	b.rep.awaitDrops(t, vtx.DropStray, 1)
	newExtended(t, b, vtx.Pull).join(newSink())
	l.Close(nil)
	c.join(b, "'a:1'")
	b.accept(t, newSink())
}

// The original hears any datagram as a sign of life: one that is told again and again that it has no peering never looks for
// another. Told once, it finds a server that was started again, as it finds one of its own kind.
func TestAnOriginalFindsARestartedServer(t *testing.T) {
	const all = 1000
	for typ, requests := range map[vtx.SocketType]bool{vtx.Rep: true, vtx.Pub: false, vtx.Push: false} {
		t.Run(typ.String(), func(t *testing.T) {
			old := bind(t, typ)
			o := old.client(t)
			pass(4*stride, o.act)
			old.accept(t, newSink())
			if requests {
				o.ask("\x05first")
			}
			b := bind(t, typ) // the old one says nothing any more, and hears nothing
			o.attach(b)
			o.peer = b.to
			s := newSink()
			for range int(3 * originalTimeout / stride) {
				pass(stride, o.act, b.measure)
				if len(b.waiting) > 0 {
					break
				}
			}
			if o.lost != 1 || len(b.waiting) != 1 {
				t.Fatalf("the original has given %d peers up and found %d", o.lost, len(b.waiting))
			}
			l := b.accept(t, s)
			o.messages = nil
			for i := range all {
				if requests {
					if i > 0 {
						o.ask("\x05again")
					}
					s.until(t, "a request", func() bool { return s.count() == i+1 })
					send(t, l, "|reply")
				} else {
					send(t, l, "message")
				}
				o.act()
			}
			if len(o.messages) != all || o.request != "" {
				t.Errorf("%d messages of %d", len(o.messages), all)
			}
		})
	}
}

func TestWhoHasBeenToldIsRememberedForAWhile(t *testing.T) {
	var d told
	at := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 77, byte(i >> 8), byte(i)}), 9)
	}
	const start = int64(time.Hour)
	for i := range 2 * maxTold {
		if first := d.note(at(i), start); first != (i < maxTold) {
			t.Fatalf("address %d: %v", i, first)
		}
	}
	for when, want := range map[time.Duration]bool{originalTimeout + time.Second: false, toldFor - 1: false} {
		if d.note(at(0), start+int64(when)) != want {
			t.Errorf("told again after %v", when)
		}
	}
	if !d.note(at(0), start+int64(toldFor)) || !d.note(at(2*maxTold), start+int64(toldFor)) || len(d.when) != 2 {
		t.Errorf("%d addresses are remembered for ever", len(d.when))
	}
}

// The original gives up whom it has not heard, however much it has sent itself.
func TestAnOriginalHearsUsWhileItSpeaks(t *testing.T) {
	for _, typ := range []vtx.SocketType{vtx.Sub, vtx.Pull} {
		t.Run(typ.String(), func(t *testing.T) {
			s := newSink()
			srv, l, client, _ := found(t, typ, s, optTimeout, "60000") // ours is more patient: that does not count
			l.still()
			o := &original{raw: srv, peer: client, heard: clock(), to: func(d datagram) { l.arrive([]datagram{d}, &inbox{}) }}
			published := 0
			pass(40*time.Second, o.act, func() {
				published++
				if o.peer.IsValid() {
					o.say(0x10, 0x50, fmt.Sprintf("\x03%03d", published%1000))
				}
			}, l.measure)
			if o.lost > 0 || s.count() != published {
				t.Errorf("%d messages of %d; %d times given up", s.count(), published, o.lost)
			}
		})
	}
}

func TestAnOriginalWaitsForALongReply(t *testing.T) {
	b, s := bind(t, vtx.Rep), newSink()
	o := b.client(t)
	pass(4*stride, o.act)
	l := b.accept(t, s)
	o.ask("\x08ICANHAZ?")
	pass(12*time.Second, o.act, b.measure)
	if got := s.all(); len(got) != 1 || o.lost > 0 {
		t.Fatalf("requests %q, %d times given up", got, o.lost)
	}
	send(t, l, "|CHEEZBURGER")
	o.act()
	if len(o.messages) != 1 || o.request != "" {
		t.Errorf("replies %q", o.messages)
	}
}

// A plain request is easily forged, and its reply may be large.
func TestRepliesToAPlainPeerHaveTheirPace(t *testing.T) {
	b, s := bind(t, vtx.Rep), newSink()
	b.still()
	c, l := joined(t, b, s)
	c.tell(b.to, "10 51 01 41")
	s.expect(t, "|A")
	send(t, l, "|"+strings.Repeat("r", 500))
	count := func() (n int) {
		for d, ok := c.next(); ok; d, ok = c.next() {
			if d.data[1]>>4 == 5 {
				n++
			}
		}
		return n
	}
	count()
	before := clock()
	for range 5000 {
		b.arrive([]datagram{{c.addr(), wired(t, "11 51 01 41")}}, &inbox{})
	}
	most := repeatsBurst + 2 + int((clock()-before)/repeatsEvery)
	if n := count(); n == 0 || n > most {
		t.Errorf("%d copies of the reply, want at most %d", n, most)
	}
	advanced.Add(originalResends.Nanoseconds())
	b.arrive([]datagram{{c.addr(), wired(t, "11 51 01 41")}}, &inbox{})
	if n := count(); n != 1 {
		t.Errorf("%d copies of the reply after a while, want 1", n)
	}
}
