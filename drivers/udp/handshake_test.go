package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

func TestListenerEchoesTheWholeBody(t *testing.T) {
	for _, body := range []string{"2a 3a 35 36 30 31", "'127.0.0.1:5601'", "", "'*:1' 00 'props' 00 ff", "ff fe 00 00"} {
		b := bind(t, vtx.Rep)
		c := loopbackRaw(t)
		c.tell(b.to, "10 10"+body)
		if from := c.expect("10 20" + body); from != b.to {
			t.Errorf("answered from %v, bound to %v", from, b.to)
		}
	}
}

// A plain peer has its answer before the application's side is there: what it says then waits.
func TestWhatComesBeforeStartWaits(t *testing.T) {
	for typ, wire := range map[vtx.SocketType]string{
		vtx.Rep: "10 51 01 41", vtx.Router: "10 51 01 41", vtx.Pull: "10 50 01 41", vtx.Sub: "10 50 01 41", vtx.Pair: "10 50 01 41",
	} {
		b := bind(t, typ)
		c := loopbackRaw(t)
		c.tell(b.to, "10 10 'a:1'")
		c.expect("10 20 'a:1'")
		c.expect("10 30")
		c.tell(b.to, wire) // an answer as good as any
		l := b.take(t)
		c.tell(b.to, "10 30")
		c.expect("10 40")
		s := newSink()
		l.Start(s)
		s.until(t, "the message", func() bool { return s.count() == 1 })
		if got := strings.TrimPrefix(s.all()[0], "|"); got != "A" {
			t.Errorf("%v: %q", typ, got)
		}
	}
}

func TestOHAIAgainIsAnsweredAgainWithoutReset(t *testing.T) {
	b := bind(t, vtx.Rep)
	s := newSink()
	c, l := joined(t, b, s)
	c.tell(b.to, "10 51 08 'ICANHAZ?'")
	s.expect(t, "|ICANHAZ?")
	l.greeted.Add(int64(time.Hour)) // the next is no late OHAI, however slow this machine is
	c.tell(b.to, "10 10 '*:5601'")
	c.expect("10 20 '*:5601'")
	send(t, l, "|CHEEZBURGER")
	c.expect("10 51 0b 'CHEEZBURGER'")
	if l.Err() != nil || len(b.waiting) != 0 {
		t.Errorf("link %v, %d new ones", l.Err(), len(b.waiting))
	}
}

func TestOHAIAfterSilenceIsANewSession(t *testing.T) {
	b := bind(t, vtx.Rep)
	s := newSink()
	c, old := joined(t, b, s)
	long := int64(2 * restartAfter)
	old.greeted.Add(-long) // idle, and no message so far: still the same session
	c.tell(b.to, "10 10 '*:5601'")
	c.expect("10 20 '*:5601'")
	c.tell(b.to, "10 51 01 41")
	s.expect(t, "|A")
	old.greeted.Add(-long)
	c.join(b, "'*:5601'")
	s2 := newSink()
	b.accept(t, s2)
	if err := ended(t, old); err == nil {
		t.Error("the old link is open")
	}
	c.tell(b.to, "10 51 01 42") // number 1 again: a new session's first
	s2.expect(t, "|B")
}

func TestRefusalIsTold(t *testing.T) {
	b := bind(t, vtx.Pair)
	for _, c := range []struct {
		reason error
		want   string
	}{
		// The original's words, byte for byte.
		{errors.New("Max peerings reached for socket"), "10 00 4d 61 78 20 70 65 65 72 69 6e 67 73 20 72 65 61 63 68 65 64 20 66 6f 72 20 73 6f 63 6b 65 74"},
		{nil, "10 00 'closed'"},
		{errors.New("new\nline \x00"), "10 00 'new?line ?'"},
		{errors.New(strings.Repeat("x", 100)), "10 00 '" + strings.Repeat("x", maxReason) + "'"},
	} {
		peer := loopbackRaw(t)
		peer.join(b, "'a:1'")
		l := b.take(t)
		l.Close(c.reason)
		peer.expect(c.want)
		_ = ended(t, l)
		peer.join(b, "'a:1'") // it may try again
		b.take(t)
	}
}

func TestStrangersGetABareROTFLAndNoMore(t *testing.T) {
	b := bind(t, vtx.Rep)
	for _, answered := range []string{"10 30", "10 51 01 41"} {
		c := loopbackRaw(t)
		// Only a HUGZ or a NOM is answered, since an answered ROTFL could go round for ever, and only the first of them.
		for _, wire := range []string{"10 00", "10 20 'a:1'", "10 40", "10 00 'x'", "", "10", "ff", "20 30", "10 a0", answered} {
			c.tell(b.to, wire)
		}
		c.expect("10 00")
		c.tell(b.to, "10 51 01 41")
		c.tell(b.to, "10 30")
		c.join(b, "'a:1'") // nothing came in between
		b.accept(t, newSink())
	}
	b.rep.awaitDrops(t, vtx.DropMalformed, 10)
	b.rep.awaitDrops(t, vtx.DropStray, 3)
}

func TestMalformedDatagramsLeaveThePeering(t *testing.T) {
	b := bind(t, vtx.Rep)
	s := newSink()
	c, _ := joined(t, b, s)
	bad := []string{"", "10", "51", "00 50", "10 60", "10 51", "10 51 05 41", "10 51 fe", "10 51 ff ff ff ff ff", "11 51 fe 00"}
	for _, wire := range bad {
		c.tell(b.to, wire)
	}
	c.tell(b.to, "10 10 '"+strings.Repeat("x", 600)+"'")
	b.rep.awaitDrops(t, vtx.DropMalformed, len(bad)+1)
	c.tell(b.to, "10 51 01 41")
	s.expect(t, "|A")
}

func TestListenerCloseTellsPeersAndFreesTheAddress(t *testing.T) {
	b := bind(t, vtx.Push)
	c, l := joined(t, b, newSink())
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	cfg, r := config(t, vtx.Push, "udp://"+b.to.String())
	again := bindTo(t, cfg, r)
	if again.Addr() != "udp://"+b.to.String() {
		t.Errorf("Addr %s", again.Addr())
	}
	c.expect("10 00 'closed'")
	_ = ended(t, l)
	if err := l.Send(batch("A")); err == nil {
		t.Error("Send on a closed link succeeded")
	}
	if _, err := b.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	l.Close(nil)
}

func TestAcceptReturnsOnClose(t *testing.T) {
	b := bind(t, vtx.Push)
	c := make(chan error)
	go func() { _, err := b.Accept(); c <- err }()
	_ = b.Close()
	select {
	case err := <-c:
		if !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	case <-time.After(watchdog):
		t.Fatal("Accept hangs")
	}
}

func TestPortInUse(t *testing.T) {
	b := bind(t, vtx.Rep)
	for _, endpoint := range []string{"udp://" + b.to.String(), fmt.Sprintf("udp://*:%d", b.to.Port())} {
		cfg, _ := config(t, vtx.Rep, endpoint)
		if _, err := new(Driver).Listen(cfg); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

func TestAFullQueueIsWaitedFor(t *testing.T) {
	cfg, r := config(t, vtx.Rep, "udp://127.0.0.1:0")
	cfg.Options.Backlog = 1
	b := bindTo(t, cfg, r)
	first, second, third := loopbackRaw(t), loopbackRaw(t), loopbackRaw(t)
	second.tell(b.to, "10 10 'b:2'")
	second.expect("10 20 'b:2'")
	second.expect("10 30")
	first.join(b, "'a:1'")
	b.awaitLinks(t, first, 1)
	third.tell(b.to, "10 10 'c:3'") // ignored
	second.tell(b.to, "10 40")      // too early
	b.awaitLinks(t, second, 1)
	b.accept(t, newSink())
	second.tell(b.to, "10 40")
	b.accept(t, newSink())
	third.join(b, "'c:3'")
	b.accept(t, newSink())
}

// awaitLinks sends a datagram whose fate is counted after what c sent before, and then counts links.
func (b *bound) awaitLinks(t *testing.T, c *raw, want int) {
	t.Helper()
	before := b.rep.dropped(vtx.DropMalformed)
	c.tell(b.to, "ff")
	b.rep.awaitDrops(t, vtx.DropMalformed, before+1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.links) != want {
		t.Fatalf("%d links, want %d", len(b.links), want)
	}
}

func TestDialAcceptsTheAnswerFromAnotherAddress(t *testing.T) {
	srv, other, thief := loopbackRaw(t), newRaw(t, "127.0.0.2:0"), loopbackRaw(t)
	d := dialTo(t, vtx.Pair, srv.addr())
	s := newSink()
	c := d.later(t, s)
	body := "'" + srv.addr().String() + "'"
	client := srv.expect("10 10" + body)
	srv.expect("10 10" + body)                // asked again until answered
	thief.tell(client, "10 20 '*:9999'")      // an unknown body aborted the original
	thief.tell(client, "10 20")               // so did an empty one
	thief.tell(client, "10 20"+body)          // one that does not repeat all that was called is no answer
	thief.tell(client, "10 20"+body+"00 'p'") //
	other.ohai = srv.ohai
	other.answer(client)
	l := got(t, c)
	if p := l.Peer(); p.Address != other.addr().String() || p.Type != vtx.TypeUnknown {
		t.Fatalf("peer %+v", p)
	}
	thief.tell(client, "10 20"+body) // too late: the peering is not for taking
	thief.tell(client, "10 00 'go away'")
	thief.tell(client, "10 50 05 'thief'")
	srv.tell(client, "10 50 03 'srv'") // the address called is now a stranger too
	d.rep.awaitDrops(t, vtx.DropStray, 2)
	other.tell(client, "10 50 05 'other'")
	s.expect(t, "other")
	send(t, l, "hello")
	if from := other.expect("10 50 05 'hello'"); from != client {
		t.Errorf("from %v, called from %v", from, client)
	}
}

func TestROTFLWhileLooking(t *testing.T) {
	srv := loopbackRaw(t)
	d := dialTo(t, vtx.Pair, srv.addr())
	c := d.later(t, newSink())
	body := "'" + srv.addr().String() + "'"
	client := srv.expect("10 10" + body)
	srv.tell(client, "10 00 'Max peerings \x01 reached'")
	e := d.rep.awaitEvent(t, vtx.EventHandshakeFailed)
	if !strings.Contains(e.Reason, `Max peerings \x01 reached`) || e.Endpoint != "udp://"+srv.addr().String() {
		t.Errorf("event %+v", e)
	}
	client = srv.skipTo("10 10" + body)
	srv.answer(client)
	got(t, c)
}

func TestROTFLEndsADialledLink(t *testing.T) {
	srv, l, client, _ := found(t, vtx.Sub, newSink())
	srv.tell(client, "10 00 'closed'")
	if err := ended(t, l); !strings.Contains(err.Error(), `"closed"`) {
		t.Error(err)
	}
	if err := l.Send(batch("x")); err == nil {
		t.Error("Send on an ended link succeeded")
	}
}

func TestBroadcastFindsWhoeverAnswers(t *testing.T) {
	srv := newRaw(t, "0.0.0.0:0")
	for _, endpoint := range []string{"*:%d", ":%d"} {
		address := fmt.Sprintf(endpoint, srv.addr().Port())
		d := dialTo(t, vtx.Req, address, "udp.broadcast", "127.255.255.255")
		c := d.later(t, newSink())
		client := srv.skipTo("10 10 '" + address + "'")
		srv.answer(client)
		if l := got(t, c); l.Peer().Address != fmt.Sprintf("127.0.0.1:%d", srv.addr().Port()) {
			t.Errorf("peer %s", l.Peer().Address)
		}
	}
}

func TestBroadcastOursAgainstOurs(t *testing.T) {
	cfg, r := config(t, vtx.Rep, "udp://*:0")
	b := bindTo(t, cfg, r)
	b.serve(func(l *link, s *sink) {
		s.until(t, "request", func() bool { return s.count() == 1 })
		_ = l.Send(batch("|ack"))
	})
	s := newSink()
	l := dialTo(t, vtx.Req, fmt.Sprintf("*:%d", b.to.Port()), "udp.broadcast", "127.255.255.255").dial(t, s)
	send(t, l, "|hello?")
	s.expect(t, "|ack")
}

func TestUnknownHostIsRetried(t *testing.T) {
	b := bind(t, vtx.Pair)
	b.serve(nil)
	tries := 0
	drv := &Driver{lookup: func(_ context.Context, network, host string) ([]netip.Addr, error) {
		if tries++; tries == 1 {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		if network != "ip4" || host != "server.example" {
			t.Errorf("looked up %s %s", network, host)
		}
		return []netip.Addr{b.to.Addr()}, nil
	}}
	cfg, r := config(t, vtx.Pair, fmt.Sprintf("udp://server.example:%d", b.to.Port()))
	d := dialWith(t, drv, cfg, r)
	if tries != 0 {
		t.Error("Dialer touched the network")
	}
	l := d.dial(t, newSink())
	if e := r.awaitEvent(t, vtx.EventConnectRetried); !strings.Contains(e.Reason, "no such host") || e.Value == 0 {
		t.Errorf("event %+v", e)
	}
	if l.Peer().Address != b.to.String() {
		t.Errorf("peer %s", l.Peer().Address)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	srv := loopbackRaw(t)
	for _, address := range []string{srv.addr().String(), "nowhere.example:1"} {
		cfg, r := config(t, vtx.Pair, "udp://"+address)
		drv := &Driver{lookup: func(context.Context, string, string) ([]netip.Addr, error) { return nil, errTest }}
		d := dialWith(t, drv, cfg, r)
		ctx, cancel := context.WithCancel(context.Background())
		c := make(chan error)
		go func() { _, err := d.Dial(ctx); c <- err }()
		if address == srv.addr().String() {
			srv.hear()
		} else {
			r.awaitEvent(t, vtx.EventConnectRetried)
		}
		cancel()
		select {
		case err := <-c:
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		case <-time.After(watchdog):
			t.Fatal("Dial hangs")
		}
	}
}
