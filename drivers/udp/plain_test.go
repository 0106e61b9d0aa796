package udp

import (
	"fmt"
	"testing"

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
