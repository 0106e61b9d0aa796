package udp

import (
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// onTwoNetworks gives the test a network namespace of its own, with the interfaces d0 and d1, each of them
// one end of a pair. The namespace ends with the test's thread.
func onTwoNetworks(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread is of no use to others
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace can be made: %v", err)
	}
	for _, line := range []string{
		"link set lo up",
		"link add d0 type veth peer name e0", "link set e0 up", "addr add 10.9.0.1/24 dev d0", "link set d0 up",
		"link add d1 type veth peer name e1", "link set e1 up", "addr add 10.9.1.1/24 dev d1", "link set d1 up",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Skipf("ip %s: %v: %s", line, err, out)
		}
	}
}

// member is a socket of another program, which has joined the group on an interface.
func member(t *testing.T, group, on string) *net.UDPConn {
	t.Helper()
	i, err := net.InterfaceByName(on)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenMulticastUDP("udp4", i, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(group)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// What other programs of the host have joined is not for this subscriber.
func TestAGroupIsHeardOnItsInterfacesOnly(t *testing.T) {
	onTwoNetworks(t)
	const group = "239.1.2.3:5999"
	other := member(t, group, "d1")
	cfg, r := config(t, vtx.Sub, "udp://"+group, optInterface, "d0")
	b := bindTo(t, cfg, r)
	s := newSink()
	publish := func(on, message string) {
		cfg, r := config(t, vtx.Pub, "udp://"+group, optInterface, on)
		send(t, dialWith(t, new(Driver), cfg, r).dial(t, newSink()), message)
	}
	publish("d1", "on d1")
	_ = other.SetReadDeadline(time.Now().Add(watchdog))
	if _, _, err := other.ReadFrom(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	publish("d0", "on d0")
	b.accept(t, s)
	s.expect(t, "on d0")
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sessions) != 1 {
		t.Errorf("%d sources", len(b.sessions))
	}
}

// Nor is it for a bound endpoint with the group's port, which would tell every publisher that it is not known.
func TestWhatComesToAGroupIsNotDisowned(t *testing.T) {
	onTwoNetworks(t)
	member(t, "239.1.2.3:6000", "d1")
	cfg, r := config(t, vtx.Pull, "udp://*:0")
	b := bindTo(t, cfg, r)
	x := newRaw(t, "10.9.1.1:0")
	d1, err := net.InterfaceByName("d1")
	if err != nil {
		t.Fatal(err)
	}
	if err := ipv4.NewPacketConn(x).SetMulticastInterface(d1); err != nil {
		t.Fatal(err)
	}
	for i, to := range []string{"239.1.2.3", "10.9.1.1"} {
		h := nom.Header{Command: nom.NOM, Extended: true, Token: nom.Token(i + 1)}
		d := append(nom.AppendHeader(nil, h), "\x00\x01A"...)
		if _, err := x.WriteToUDPAddrPort(d, netip.AddrPortFrom(netip.MustParseAddr(to), b.to.Port())); err != nil {
			t.Fatal(err)
		}
	}
	gone, _ := x.hear()
	if h, _, err := nom.ParseHeader(gone); err != nil || h.Command != nom.GONE || h.Token != 2 {
		t.Errorf("heard % x", gone)
	}
}

// The token of a group's publisher is in each of its datagrams: nothing that bears it is obeyed.
func TestAPublisherOfAGroupObeysNobody(t *testing.T) {
	cfg, r := config(t, vtx.Pub, "udp://239.1.2.3:5999", optInterface, "lo", optTimeout, never)
	s := newSink()
	l := dialWith(t, new(Driver), cfg, r).dial(t, s)
	x := loopbackRaw(t)
	to := netip.AddrPortFrom(x.addr().Addr(), l.sock.local().Port())
	for i, c := range []nom.Command{nom.GONE, nom.ROTFL, nom.HUGZ, nom.HUGZOK, nom.NOM, nom.PART, nom.SUBSCRIBE, nom.SUBSCRIBEOK} {
		for _, token := range []nom.Token{l.ext.ours, 7} {
			d := append(nom.AppendHeader(nil, nom.Header{Command: c, Extended: true, Token: token, Number: uint32(i)}), "8 bytes."...)
			if _, err := x.WriteToUDPAddrPort(d, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.awaitDrops(t, vtx.DropStray, 16)
	loopbackRaw(t).tell(x.addr(), "ff")
	x.expect("ff") // there was no answer
	if l.Err() != nil || l.to() != l.peer || s.count() != 0 || len(l.ext.asked) != 0 {
		t.Errorf("ended: %v, at %v, delivered %q", l.Err(), l.to(), s.all())
	}
}

// A publisher that says little and goes is heard all the same.
func TestAGoodbyeBeforeTheStartIsNotForgotten(t *testing.T) {
	cfg, r := config(t, vtx.Sub, "udp://239.1.2.3:5999", optInterface, "lo", optTimeout, never)
	b := bindTo(t, cfg, r)
	from := netip.MustParseAddrPort("127.0.0.1:9")
	datagramOf := func(c nom.Command, number uint32, body string) datagram {
		h := nom.Header{Command: c, Extended: true, Token: 7, Number: number}
		return datagram{from, append(nom.AppendHeader(nil, h), body...)}
	}
	b.arrive([]datagram{datagramOf(nom.NOM, 0, "\x00\x01A"), datagramOf(nom.ROTFL, 1, "closed")}, &inbox{})
	s := newSink()
	l := b.accept(t, s)
	s.expect(t, "A")
	if err := ended(t, l); !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}

// What comes once more over a slower interface, when its publisher has said goodbye, is not taken for another's.
func TestCopiesBehindAGoodbye(t *testing.T) {
	cfg, r := config(t, vtx.Sub, "udp://239.1.2.3:5999", optInterface, "lo", optTimeout, never)
	b := bindTo(t, cfg, r)
	s, in := newSink(), &inbox{}
	say := func(token nom.Token, c nom.Command, number uint32, body string) {
		h := nom.Header{Command: c, Extended: true, Token: token, Number: number}
		b.arrive([]datagram{{netip.MustParseAddrPort("127.0.0.1:9"), append(nom.AppendHeader(nil, h), body...)}}, in)
	}
	say(7, nom.NOM, 0, "\x00\x01A")
	b.accept(t, s)
	for range 2 {
		say(7, nom.NOM, 1, "\x00\x01B")
		say(7, nom.ROTFL, 2, "closed")
		say(7, nom.NOM, 0, "\x00\x01A")
	}
	if len(b.waiting) > 0 {
		t.Error("it is back")
	}
	s.expect(t, "A", "B")
	say(8, nom.NOM, 0, "\x00\x01C") // another one may come
	b.accept(t, s)
	s.expect(t, "A", "B", "C")
}
