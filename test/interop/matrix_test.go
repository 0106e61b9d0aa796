package interop

import (
	"fmt"
	"slices"
	"testing"

	"github.com/libvtx/libvtx/vtx"
)

// conversation is how two sockets of given types talk, whoever connects.
type conversation struct {
	a, b vtx.SocketType
	talk func(a, b *end)
}

// serverName is what a connecting ROUTER calls the ROUTER that it connects to.
const serverName = "server"

var conversations = []conversation{
	{vtx.Req, vtx.Rep, func(a, b *end) {
		for range 2 {
			a.send("question", "part")
			b.want("question", "part")
			b.send("answer", "")
			a.want("answer", "")
		}
	}},
	{vtx.Req, vtx.Router, func(a, b *end) {
		a.send("question")
		id := b.wantTail("", "question")
		b.send(id, "", "answer")
		a.want("answer")
	}},
	{vtx.Dealer, vtx.Rep, func(a, b *end) {
		a.send("", "question")
		b.want("question")
		b.send("answer", "part")
		a.want("", "answer", "part")
	}},
	{vtx.Dealer, vtx.Router, func(a, b *end) {
		a.send("one", "two")
		id := b.wantTail("one", "two")
		b.send(id, "three")
		a.want("three")
	}},
	{vtx.Router, vtx.Router, func(a, b *end) {
		a.send(serverName, "one", "two")
		id := b.wantTail("one", "two")
		b.send(id, "three")
		a.want(serverName, "three")
	}},
	{vtx.Dealer, vtx.Dealer, symmetric},
	{vtx.Pair, vtx.Pair, symmetric},
	{vtx.Push, vtx.Pull, func(a, b *end) {
		a.send("work", "item")
		b.want("work", "item")
		a.send("")
		b.want("")
	}},
	{vtx.Pub, vtx.Sub, published},
	{vtx.XPub, vtx.Sub, published},
	{vtx.Pub, vtx.XSub, published},
	{vtx.XPub, vtx.XSub, published},
}

func symmetric(a, b *end) {
	a.send("one", "two")
	b.want("one", "two")
	b.send("three")
	a.want("three")
}

// published: the subscriber has asked for "ne" already.
func published(a, b *end) {
	publish(a, b, "news", "today")
	a.send("sports")
	a.send("next")
	for m := []string{"news"}; m[0] != "next"; {
		if m = b.recv(); m[0] != "next" && !slices.Equal(m, []string{"news", "today"}) {
			b.t.Fatalf("received %q", m)
		}
	}
}

// prepare gives a socket what it needs before it has a peer.
func prepare(e *end, typ vtx.SocketType) {
	if typ == vtx.Sub || typ == vtx.XSub {
		e.subscribe("ne")
	}
}

// TestPairs: each legal pair of types talks, over each transport, whichever end binds and whichever comes first.
func TestPairs(t *testing.T) {
	each(t, func(t *testing.T, l library, transport string) {
		for _, c := range conversations {
			testPair(t, l, transport, c.a, c.b, c.talk)
			if c.a != c.b {
				testPair(t, l, transport, c.b, c.a, func(a, b *end) { c.talk(b, a) })
			}
		}
	})
}

// testPair: talk takes our end first.
func testPair(t *testing.T, l library, transport string, ourType, theirType vtx.SocketType, talk func(a, b *end)) {
	for _, weBind := range []bool{true, false} {
		for _, binderFirst := range []bool{true, false} {
			name := fmt.Sprintf("%s-%s/", ourType, theirType)
			name += map[bool]string{true: "we bind", false: "they bind"}[weBind]
			name += map[bool]string{true: " first", false: " second"}[binderFirst]
			t.Run(name, func(t *testing.T) {
				need(t, l, ourType.String()+" to "+theirType.String())
				var ourOptions, theirOptions options
				if ourType == vtx.Router && theirType == vtx.Router {
					// Whoever connects must know what the other is called; talk lets our end speak first
					if weBind {
						theirOptions = options{"connect_routing_id": serverName}
					} else {
						ourOptions = options{"connect_routing_id": serverName}
					}
				}
				us := start(t, newOurs(t), ourType, ourOptions)
				they := start(t, l, theirType, theirOptions)
				prepare(us, ourType)
				prepare(they, theirType)
				binder, connecter := us, they
				if !weBind {
					binder, connecter = they, us
				}
				at := endpoint(t, transport)
				if binderFirst {
					binder.bind(at)
					connecter.connect(at)
				} else {
					connecter.connect(at)
					binder.bind(at)
				}
				if ourType == vtx.Router && theirType == vtx.Router {
					us, they = connecter, binder
				}
				talk(us, they)
			})
		}
	}
}
