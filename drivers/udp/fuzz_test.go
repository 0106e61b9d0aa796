package udp

import (
	"context"
	"net/netip"
	"testing"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// script turns fuzz input into datagrams: a byte whose low bits choose the sender and whose high
// bits, with the next byte, give a length; then the bytes.
func script(input []byte, from []netip.AddrPort) []datagram {
	var all []datagram
	for len(input) >= 2 && len(all) < maxBatch {
		who, n := int(input[0]&3)%len(from), int(input[0]>>2)<<3|int(input[1]&7)
		input = input[2:]
		n = min(n, len(input))
		all = append(all, datagram{from: from[who], data: input[:n:n]})
		input = input[n:]
	}
	return all
}

// talk makes fuzz input of whole datagrams.
func talk(t testing.TB, who byte, wires ...string) []byte {
	var out []byte
	for _, w := range wires {
		d := wired(t, w)
		out = append(out, byte(len(d)>>3)<<2|who, byte(len(d)&7))
		out = append(out, d...)
	}
	return out
}

func seeds(f *testing.F) {
	f.Helper()
	for typ := range byte(11) {
		f.Add(typ, talk(f, 0, "10 10 '*:5601'", "10 51 08 'ICANHAZ?'", "11 51 08 'ICANHAZ?'", "10 30", "10 40", "10 00 'x'", "10 20"))
		f.Add(typ, append(talk(f, 1, "10 10", "10 50 01 41", "10 50 01 41", "10 51 00", "10 5f 01 41"), talk(f, 2, "", "10", "10 51 ff ff ff ff ff")...))
	}
}

// quietSink takes everything and keeps nothing.
type quietSink struct{ messages, frames int }

func (s *quietSink) Deliver(b *vtx.Batch) error { return s.TryDeliver(b) }

func (s *quietSink) TryDeliver(b *vtx.Batch) error {
	for m := b.Pop(); m != nil; m = b.Pop() {
		s.messages++
		for range m.Frames() {
			s.frames++
		}
	}
	return nil
}

// FuzzListener throws datagrams at a listener of any type.
func FuzzListener(f *testing.F) {
	seeds(f)
	var peers []netip.AddrPort
	for range 3 {
		peers = append(peers, loopbackRaw(f).addr()) // answers go there, and nowhere else
	}
	f.Fuzz(func(t *testing.T, typ byte, input []byte) {
		cfg, _ := config(t, vtx.SocketType(typ%11), "udp://127.0.0.1:0")
		ln, err := new(Driver).Listen(cfg)
		if err != nil {
			t.Skip(err)
		}
		defer func() { _ = ln.Close() }()
		l, in, s := ln.(*listener), &inbox{}, &quietSink{}
		for len(input) > 0 {
			part := input[:(len(input)+1)/2]
			input = input[len(part):]
			l.arrive(script(part, peers), in)
			for range len(l.waiting) {
				k := <-l.waiting
				k.Start(s)
				_ = k.Send(batch("|a reply", "another"))
			}
			for _, k := range l.snapshot(nil) {
				_ = k.Send(batch("|one more"))
			}
		}
		if len(l.links) > len(peers) {
			t.Fatalf("%d links of %d peers", len(l.links), len(peers))
		}
	})
}

// fuzzed is the socket and the role of a dialled link.
func fuzzed(t *testing.T, d *dialer, s *session) (*socket, role) {
	conn, err := openConn("udp4", "127.0.0.1:0", d.cfg.Options)
	if err != nil {
		t.Skip(err)
	}
	sock, err := newSocket(conn, d.cfg.Poller)
	if err != nil {
		t.Skip(err)
	}
	if d.keeper != nil {
		return sock, d.keeper
	}
	return sock, newRole(d.cfg.Type, s)
}

// FuzzDialler throws datagrams at a dialled link of any type.
func FuzzDialler(f *testing.F) {
	seeds(f)
	peers := []netip.AddrPort{loopbackRaw(f).addr(), loopbackRaw(f).addr()}
	f.Fuzz(func(t *testing.T, typ byte, input []byte) {
		cfg, r := config(t, vtx.SocketType(typ%11), "udp://"+peers[0].String())
		d := dialWith(t, new(Driver), cfg, r).Dialer.(*dialer)
		sock, role := fuzzed(t, d, nil)
		l := newLink(cfg, d.set, sock, peers[0], role, nil)
		defer l.Close(nil)
		l.Start(&quietSink{})
		in := &inbox{}
		for len(input) > 0 && l.live() {
			part := input[:(len(input)+1)/2]
			input = input[len(part):]
			_ = l.Send(batch("|a request"))
			l.arrive(script(part, peers), in)
		}
	})
}

// FuzzSession throws what a hostile peer of an extended peering may send at a link of any type, with a peer of any type:
// each datagram bears the right token.
func FuzzSession(f *testing.F) {
	const ours, theirs = 0x0102030405060708, 0x1112131415161718
	head := func(command, number string) string { return "12 " + command + " 0102030405060708 " + number }
	for typ := range byte(11) {
		f.Add(typ, typ, talk(f, 0, head("50", "00000000")+"00 01 41 01 01 42 00 00", head("60", "00000001")+"00000000 00000004 00 02",
			head("60", "00000001")+"00000002 00000004 41 42", head("30", "00000005")+"'8 bytes.'", head("40", "00000009")+"'8 bytes.'"))
		f.Add(typ, (typ+1)%11, talk(f, 0, head("70", "00000000")+"00 02 01", head("70", "00000003")+"41 00 02 00 41", head("80", "00000001"),
			head("51", "ffffffff")+"00 01 41", head("00", "00000007")+"'bye'"))
	}
	nobody := loopbackRaw(f).addr()
	f.Fuzz(func(t *testing.T, typ, peer byte, input []byte) {
		before := held.Load()
		cfg, r := config(t, vtx.SocketType(typ%11), "udp://"+nobody.String(), optMaxMsg, "5000")
		d := dialWith(t, new(Driver), cfg, r).Dialer.(*dialer)
		s := newSession(d.set, ours, nom.Hello{Token: theirs, Type: peer % 11, MaxMessage: 3000, Features: nom.Subscriptions})
		s.begun.Store(true)
		sock, role := fuzzed(t, d, s)
		l := newLink(cfg, d.set, sock, nobody, role, s)
		l.Start(&quietSink{})
		in := &inbox{}
		for len(input) > 0 && l.live() {
			part := input[:(len(input)+1)/2]
			input = input[len(part):]
			_ = l.Send(batch("|a request", "|"+string(make([]byte, 2000))))
			l.arrive(script(part, []netip.AddrPort{nobody}), in)
			s.tick(l, clock())
		}
		l.Close(nil)
		if held.Load() != before || s.puzzle.taken != 0 {
			t.Fatalf("%d bytes held, %d before", held.Load(), before)
		}
	})
}

// FuzzAnswer throws one datagram at a dialler that is looking.
func FuzzAnswer(f *testing.F) {
	for _, w := range []string{"", "10", "10 20", "10 20 '*:1'", "10 00 'no'", "10 50 00", "ff ff", "10 10 '*:1'"} {
		f.Add(wired(f, w))
	}
	srv := loopbackRaw(f)
	f.Fuzz(func(t *testing.T, answer []byte) {
		cfg, r := config(t, vtx.Pair, "udp://"+srv.addr().String())
		d := dialWith(t, new(Driver), cfg, r).Dialer.(*dialer)
		conn, err := openConn("udp4", "127.0.0.1:0", cfg.Options)
		if err != nil {
			t.Skip(err)
		}
		defer conn.Close()
		if len(answer) > maxPayload {
			t.Skip("no datagram is that large")
		}
		c := newCaller(d, conn, nil)
		right := append([]byte{0x10, 0x20}, c.ohai[2:]...)
		for _, wire := range [][]byte{answer, right} {
			if _, err := srv.WriteToUDPAddrPort(wire, addrPort(conn.LocalAddr())); err != nil {
				t.Skip(err)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), watchdog)
		defer cancel()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		if peer, _, _ := c.await(make([]byte, maxPayload)); peer.at != srv.addr() {
			t.Fatalf("found %v", peer)
		}
	})
}
