package udp

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

// raw is a UDP socket that speaks the captured bytes: the original, as far as the wire shows it.
type raw struct {
	*net.UDPConn
	t    testing.TB
	ohai []byte // the last one heard, which it answers by an echo of all of it
}

func newRaw(t testing.TB, address string) *raw {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &raw{UDPConn: c, t: t}
}

func loopbackRaw(t testing.TB) *raw { t.Helper(); return newRaw(t, "127.0.0.1:0") }

func (r *raw) addr() netip.AddrPort { return addrPort(r.LocalAddr()) }

// tell sends a datagram given in hexadecimal, where a part between apostrophes is text.
func (r *raw) tell(to netip.AddrPort, wire string) {
	r.t.Helper()
	if _, err := r.WriteToUDPAddrPort(wired(r.t, wire), to); err != nil {
		r.t.Fatal(err)
	}
}

// hear waits for a datagram.
func (r *raw) hear() ([]byte, netip.AddrPort) {
	r.t.Helper()
	buf := make([]byte, 1<<16)
	_ = r.SetReadDeadline(time.Now().Add(watchdog))
	n, from, err := r.ReadFromUDPAddrPort(buf)
	if err != nil {
		r.t.Fatalf("nothing to hear: %v", err)
	}
	b := buf[:n]
	if n >= 2 && b[1]>>4 == 1 { // of an OHAI the original reads what stands before a zero byte
		r.ohai = append([]byte(nil), b...)
		b, _, _ = bytes.Cut(b, []byte{0})
	}
	return b, unmapped(from)
}

// answer answers the OHAI heard last.
func (r *raw) answer(to netip.AddrPort) {
	r.t.Helper()
	if _, err := r.WriteToUDPAddrPort(append([]byte{0x10, 0x20}, r.ohai[2:]...), to); err != nil {
		r.t.Fatal(err)
	}
}

// expect waits for exactly this datagram.
func (r *raw) expect(wire string) netip.AddrPort {
	r.t.Helper()
	b, from := r.hear()
	if want := wired(r.t, wire); string(b) != string(want) {
		r.t.Fatalf("heard % x (%q)\nwant  % x (%q)", b, b, want, want)
	}
	return from
}

// skipTo waits for this datagram and lets others pass.
func (r *raw) skipTo(wire string) netip.AddrPort {
	r.t.Helper()
	want := string(wired(r.t, wire))
	for {
		if b, from := r.hear(); string(b) == want {
			return from
		}
	}
}

func wired(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			out = append(out, part...)
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		out = append(out, b...)
	}
	return out
}

// joined makes a peering between a raw client and a listener of the type.
func joined(t testing.TB, b *bound, s *sink) (*raw, *link) {
	t.Helper()
	c := loopbackRaw(t)
	c.join(b, "'*:5601'")
	return c, b.accept(t, s)
}

// join calls a listener, and answers the question that the answer comes with.
func (r *raw) join(b *bound, body string) {
	r.t.Helper()
	r.tell(b.to, "10 10"+body)
	r.expect("10 20" + body)
	r.expect("10 30")
	r.tell(b.to, "10 40")
}

// found makes a peering between a dialler and a raw server; client is where its datagrams come from.
func found(t testing.TB, typ vtx.SocketType, s *sink, named ...string) (srv *raw, l *link, client netip.AddrPort, rep *reporter) {
	t.Helper()
	srv = loopbackRaw(t)
	d := dialTo(t, typ, srv.addr(), named...)
	c := d.later(t, s)
	client = srv.expect("10 10 '" + srv.addr().String() + "'")
	srv.answer(client)
	l = got(t, c)
	return srv, l, client, d.rep
}
