package udp

import (
	"context"
	"net/netip"
	"testing"

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

// FuzzDialler throws datagrams at a dialled link of any type.
func FuzzDialler(f *testing.F) {
	seeds(f)
	peers := []netip.AddrPort{loopbackRaw(f).addr(), loopbackRaw(f).addr()}
	f.Fuzz(func(t *testing.T, typ byte, input []byte) {
		cfg, r := config(t, vtx.SocketType(typ%11), "udp://"+peers[0].String())
		d := dialWith(t, new(Driver), cfg, r).Dialer.(*dialer)
		conn, err := openConn("udp4", "127.0.0.1:0", cfg.Options)
		if err != nil {
			t.Skip(err)
		}
		sock, err := newSocket(conn, cfg.Poller)
		if err != nil {
			t.Skip(err)
		}
		var role role = d.keeper
		if d.keeper == nil {
			role = newRole(cfg.Type)
		}
		l := newLink(cfg, d.set, sock, peers[0], role)
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
		right := append([]byte{0x10, 0x20}, srv.addr().String()...)
		for _, wire := range [][]byte{answer, right} {
			if _, err := srv.WriteToUDPAddrPort(wire, addrPort(conn.LocalAddr())); err != nil {
				t.Skip(err)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), watchdog)
		defer cancel()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		if peer, _, _ := d.await(conn, make([]byte, maxPayload)); peer != srv.addr() {
			t.Fatalf("found %v", peer)
		}
	})
}
