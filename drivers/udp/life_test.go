package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

func TestASilentPeerIsAskedAndThenGivenUp(t *testing.T) {
	b := bind(t, vtx.Pub, optTimeout, "150")
	c, l := joined(t, b, newSink())
	c.expect("10 30")
	if err := ended(t, l); !strings.Contains(err.Error(), "silent") {
		t.Error(err)
	}
	b.mu.Lock()
	if len(b.links) != 0 {
		t.Error("the listener still knows the link")
	}
	b.mu.Unlock()

	srv, l, _, _ := found(t, vtx.Sub, newSink(), optTimeout, "150")
	srv.skipTo("10 30")
	if err := ended(t, l); !strings.Contains(err.Error(), "silent") {
		t.Error(err)
	}
}

func TestAnyDatagramIsLife(t *testing.T) {
	srv := loopbackRaw(t)
	cfg, r := config(t, vtx.Sub, "udp://"+srv.addr().String())
	cfg.Options.HeartbeatIvl, cfg.Options.HeartbeatTimeout = 10*time.Millisecond, time.Hour
	c := dialWith(t, new(Driver), cfg, r).later(t, newSink())
	body := "'" + srv.addr().String() + "'"
	client := srv.expect("10 10" + body)
	srv.answer(client)
	l := got(t, c)
	srv.skipTo("10 30")
	for _, wire := range []string{"10 40", "10 42", "10 20", "10 10", "10 50 00", "10 5f 01 41"} {
		before := l.heard.Load()
		srv.tell(client, wire)
		srv.skipTo("10 30") // without an answer the next question comes minutes later
		if l.heard.Load() <= before {
			t.Errorf("%s was not heard", wire)
		}
	}
}

func TestHUGZIsAnswered(t *testing.T) {
	b := bind(t, vtx.Pub)
	c, _ := joined(t, b, newSink())
	for _, wire := range []string{"10 30", "10 35", "11 30"} {
		c.tell(b.to, wire)
		c.expect("10 40")
	}
	srv, _, client, _ := found(t, vtx.Sub, newSink())
	srv.tell(client, "10 35")
	srv.skipTo("10 40")
}

// A unicast client never found a restarted server of the original.
func TestARestartedServerIsFoundAgain(t *testing.T) {
	srv := loopbackRaw(t)
	d := dialTo(t, vtx.Req, srv.addr(), optTimeout, "30000", optResend, "5")
	s := newSink()
	c := d.later(t, s)
	body := "'" + srv.addr().String() + "'"
	client := srv.expect("10 10" + body)
	srv.answer(client)
	l := got(t, c)
	send(t, l, "|A")
	srv.skipTo("10 51 01 41")
	_ = srv.Close() // the server dies without a word

	cfg, r := config(t, vtx.Rep, "udp://"+srv.addr().String())
	b := bindTo(t, cfg, r)
	_ = ended(t, l) // the new one knows no such peering, and says so
	l.Close(nil)
	c = d.later(t, s)
	rs := newSink()
	rl := b.accept(t, rs)
	got(t, c)
	rs.expect(t, "|A")
	send(t, rl, "|a")
	s.expect(t, "|a")
}

func TestAClosedServerOfOursIsLeftAtOnce(t *testing.T) {
	b := bind(t, vtx.Push)
	b.serve(nil)
	s := newSink()
	l := dialTo(t, vtx.Pull, b.to).dial(t, s)
	_ = b.Close()
	if err := ended(t, l); !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}

func TestClosingADialledLinkSaysNothing(t *testing.T) {
	srv, l, _, _ := found(t, vtx.Push, newSink())
	send(t, l, "last")
	l.Close(errTest)
	l.Close(nil)
	if err := ended(t, l); err != errTest {
		t.Error(err)
	}
	srv.expect("10 50 04 'last'")
	probe := loopbackRaw(t)
	probe.tell(srv.addr(), "ff")
	srv.expect("ff") // nothing came in between
}

func TestIPv6AndBothFamiliesAtOnce(t *testing.T) {
	for _, c := range []struct{ bind, dial string }{
		{"[::1]:0", "[::1]:%d"},
		{"*:0", "[::1]:%d"},
		{"*:0", "127.0.0.1:%d"},
	} {
		cfg, r := config(t, vtx.Pair, "udp://"+c.bind)
		cfg.Options.IPv6 = true
		cfg.Options.TOS = 0x10
		b := bindTo(t, cfg, r)
		in, out := newSink(), newSink()
		dcfg, dr := config(t, vtx.Pair, "udp://"+fmt.Sprintf(c.dial, b.to.Port()))
		dcfg.Options.IPv6 = true
		dcfg.Options.TOS = 0x10
		dc := dialWith(t, new(Driver), dcfg, dr).later(t, in)
		a := b.accept(t, out)
		l := got(t, dc)
		many := strings.Split(strings.Repeat("m,", 99)+"m", ",")
		send(t, l, many...)
		out.expect(t, many...)
		send(t, a, many...)
		in.expect(t, many...)
		if !strings.Contains(a.Peer().Address, strings.TrimSuffix(c.dial, "%d")) {
			t.Errorf("peer %s", a.Peer().Address)
		}
	}
}

func TestSocketOptions(t *testing.T) {
	cfg, r := config(t, vtx.Pair, "udp://127.0.0.1:0")
	cfg.Options.RcvBuf, cfg.Options.SndBuf, cfg.Options.TOS, cfg.Options.BindDevice = 65536, 65536, 0x20, "lo"
	b := bindTo(t, cfg, r)
	if !b.to.IsValid() {
		t.Error("no address")
	}
	for typ, endpoint := range map[vtx.SocketType]string{vtx.Pair: "udp://127.0.0.1:0", vtx.Sub: "udp://239.1.2.4:5998"} {
		cfg, _ = config(t, typ, endpoint)
		cfg.Options.BindDevice = "no-such-device"
		if _, err := new(Driver).Listen(cfg); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("%s on an unknown device: %v", endpoint, err)
		}
	}
}

func TestEveryPairOfTypesTalks(t *testing.T) {
	for _, p := range [][2]vtx.SocketType{
		{vtx.Pub, vtx.Sub}, {vtx.Pub, vtx.XSub}, {vtx.XPub, vtx.Sub}, {vtx.XPub, vtx.XSub}, {vtx.Push, vtx.Pull},
		{vtx.Pair, vtx.Pair}, {vtx.Dealer, vtx.Dealer}, {vtx.Router, vtx.Router}, {vtx.Dealer, vtx.Router},
		{vtx.Req, vtx.Rep}, {vtx.Req, vtx.Router}, {vtx.Dealer, vtx.Rep},
	} {
		for _, swapped := range []bool{false, true} {
			here, there := p[0], p[1]
			if swapped {
				here, there = there, here
			}
			b := bind(t, here)
			bs, ds := newSink(), newSink()
			c := dialTo(t, there, b.to).later(t, ds)
			first, fs, second, ss := vtx.Link(b.accept(t, bs)), bs, vtx.Link(got(t, c)), ds
			if swapped {
				first, fs, second, ss = second, ss, first, fs
			}
			send(t, first, "|body||more")
			ss.expect(t, "|body||more")
			if second.(*link).cfg.Type != vtx.Pull {
				send(t, second, "|answer")
				fs.expect(t, "|answer")
			}
		}
	}
}

func TestManyPeersCostNoGoroutines(t *testing.T) {
	cfg, r := config(t, vtx.Pull, "udp://127.0.0.1:0", optTimeout, never, optPlainMost, "8000")
	cfg.Options.Backlog = maxHalfOpen
	b := bindTo(t, cfg, r)
	before := runtime.NumGoroutine()
	s, in := newSink(), &inbox{}
	const peers = 8000
	for p := 0; p < peers; p += maxHalfOpen {
		var ohai, ok, nom []datagram
		for i := p; i < min(p+maxHalfOpen, peers); i++ {
			// Loopback addresses at which nobody is: answers reach no other program's socket.
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 77, byte(i >> 8), byte(i)}), 9)
			ohai = append(ohai, datagram{from, wired(t, "10 10 'a:1'")})
			ok = append(ok, datagram{from, wired(t, "10 40")})
			nom = append(nom, datagram{from, wired(t, "10 50 01 41")})
		}
		b.arrive(ohai, in)
		b.arrive(ok, in)
		for range ok {
			b.accept(t, s)
		}
		b.arrive(nom, in)
	}
	if s.count() != peers || len(b.snapshot(nil)) != peers {
		t.Errorf("%d messages, %d links", s.count(), len(b.snapshot(nil)))
	}
	b.tick()
	if now := runtime.NumGoroutine(); now > before+2 {
		t.Errorf("%d goroutines, %d before the peers came", now, before)
	}
}
