package drivertest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// conversation is how two sockets of given types talk, whoever connects.
type conversation struct {
	a, b vtx.SocketType
	talk func(t *testing.T, a, b *app.Socket)
	// lossy is talk over a transport that loses messages; nil: the same
	lossy func(t *testing.T, a, b *app.Socket)
}

// serverName is what a connecting ROUTER calls the peer it connects to.
const serverName = "server"

var conversations = []conversation{
	{vtx.Req, vtx.Rep, func(t *testing.T, a, b *app.Socket) {
		a.Send("question", "part")
		b.Want("question", "part")
		b.Send("answer", "")
		a.Want("answer", "")
	}, nil},
	{vtx.Req, vtx.Router, func(t *testing.T, a, b *app.Socket) {
		a.Send("question")
		got := b.Recv()
		wantTail(t, got, "", "question")
		b.Send(got[0], "", "answer")
		a.Want("answer")
	}, nil},
	{vtx.Dealer, vtx.Rep, func(t *testing.T, a, b *app.Socket) {
		a.Send("", "question")
		b.Want("question")
		b.Send("answer")
		a.Want("", "answer")
	}, func(t *testing.T, a, b *app.Socket) {
		for end := time.Now().Add(app.Patience); time.Now().Before(end); {
			a.Send("", "question")
			if _, err := b.RecvWithin(5 * time.Millisecond); err == nil {
				b.Send("answer")
			}
			if got, err := a.RecvWithin(5 * time.Millisecond); err == nil {
				wantTail(t, got, "answer")
				return
			}
		}
		t.Fatal("no answer came")
	}},
	{vtx.Dealer, vtx.Router, func(t *testing.T, a, b *app.Socket) {
		a.Send("one", "two")
		got := b.Recv()
		wantTail(t, got, "one", "two")
		b.Send(got[0], "three")
		a.Want("three")
	}, func(t *testing.T, a, b *app.Socket) {
		got := until(t, a, b, "one", "two")
		wantTail(t, got, "one", "two")
		until(t, b, a, got[0], "three")
	}},
	{vtx.Dealer, vtx.Dealer, symmetric, resent},
	{vtx.Pair, vtx.Pair, symmetric, resent},
	{vtx.Push, vtx.Pull, func(t *testing.T, a, b *app.Socket) {
		a.Send("work", "item")
		b.Want("work", "item")
	}, func(t *testing.T, a, b *app.Socket) { until(t, a, b, "work", "item") }},
	{vtx.Pub, vtx.Sub, published, nil},
	{vtx.XPub, vtx.Sub, published, nil},
	{vtx.Pub, vtx.XSub, published, nil},
	{vtx.XPub, vtx.XSub, published, nil},
}

func symmetric(t *testing.T, a, b *app.Socket) {
	a.Send("one", "two")
	b.Want("one", "two")
	b.Send("three")
	a.Want("three")
}

func resent(t *testing.T, a, b *app.Socket) {
	until(t, a, b, "one", "two")
	until(t, b, a, "three")
}

func published(t *testing.T, a, b *app.Socket) {
	if got := until(t, a, b, "news", "today"); fmt.Sprint(got) != "[news today]" {
		t.Fatalf("received %q", got)
	}
}

func wantTail(t testing.TB, got []string, frames ...string) {
	t.Helper()
	if len(got) != len(frames)+1 || fmt.Sprint(got[1:]) != fmt.Sprint(frames) {
		t.Fatalf("received %q, want an identity and %q", got, frames)
	}
}

// testPairs: each legal pair of types talks, whichever side connects.
func testPairs(t *testing.T, f Fixture) {
	prepare := func(s *app.Socket, typ vtx.SocketType) {
		switch typ {
		case vtx.Sub:
			s.SetString(zmq.Subscribe, "ne")
		case vtx.XSub:
			s.Send("\x01ne")
		}
	}
	for _, c := range conversations {
		for _, aBinds := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s-%s/aBinds=%v", c.a, c.b, aBinds), func(t *testing.T) {
				left, right := f.host(t), f.host(t)
				a, b := left.socket(c.a), right.socket(c.b)
				prepare(b, c.b)
				if aBinds {
					right.connect(b, left.bind(a, f.Bind(t)))
				} else {
					left.connect(a, right.bind(b, f.Bind(t)))
				}
				if f.Lossy && c.lossy != nil {
					c.lossy(t, a, b)
				} else {
					c.talk(t, a, b)
				}
			})
		}
	}
	t.Run("ROUTER-ROUTER", func(t *testing.T) {
		left, right := f.host(t), f.host(t)
		b, endpoint := right.bound(vtx.Router, f.Bind(t))
		a := left.socket(vtx.Router)
		if err := left.SetOption(a.P, "connect.routing_id", serverName); err != nil {
			t.Fatal(err)
		}
		left.connect(a, endpoint)
		var got []string
		if f.Lossy {
			got = until(t, a, b, serverName, "hello")
			until(t, b, a, got[0], "welcome")
			return
		}
		a.Send(serverName, "hello")
		got = b.Recv()
		wantTail(t, got, "hello")
		b.Send(got[0], "welcome")
		a.Want(serverName, "welcome")
	})
}

// testWrongTypes: a peer of a type that ours does not talk to is turned away; the right ones are served.
func testWrongTypes(t *testing.T, f Fixture) {
	if !f.Types {
		t.Skip("the protocol does not tell socket types")
	}
	server, client := f.host(t), f.host(t)
	rep, endpoint := server.bound(vtx.Rep, f.Bind(t))
	events := client.monitored(vtx.Push)
	client.connect(events.subject, endpoint)
	events.wait(vtx.EventHandshakeFailedProtocol)
	req := client.connected(vtx.Req, endpoint)
	req.Send("still there?")
	rep.Want("still there?")
}

// testSecondPair: a PAIR has one peer; the second is told why not, and may come when the first has gone.
func testSecondPair(t *testing.T, f Fixture) {
	server, client := f.host(t), f.host(t)
	pair, endpoint := server.bound(vtx.Pair, f.Bind(t))
	first := client.connected(vtx.Pair, endpoint)
	f.pass(t, first, pair, "first")
	second := client.monitored(vtx.Pair)
	client.connect(second.subject, endpoint)
	second.waitReason("Max peerings reached for socket")
	f.pass(t, pair, first, "for the first")
	client.close(first)
	f.pass(t, second.subject, pair, "second")
	f.pass(t, pair, second.subject, "for the second")
}

// testBadEndpoints: what cannot work is refused at once, with the right error and a sentence that shows the endpoint.
func testBadEndpoints(t *testing.T, f Fixture) {
	h := f.host(t)
	s := h.socket(vtx.Dealer)
	for _, bad := range f.Bad {
		call, name := h.Bind, "bind"
		if bad.Connect {
			call, name = h.Connect, "connect"
		}
		err := call(s.P, bad.Endpoint)
		if !errors.Is(err, bad.Err) {
			t.Errorf("%s %s: %v, want %v", name, short(bad.Endpoint), err, bad.Err)
		}
	}
}
