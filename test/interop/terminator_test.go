package interop

import (
	"fmt"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/vtx"
)

// What stock libzmq is behind a TLS terminator is a peer of tls://, whichever of the two ends TLS comes from.

// TestTerminatorRequests: questions and answers go round, whoever asks.
func TestTerminatorRequests(t *testing.T) {
	eachWay(t, func(t *testing.T, w *way) {
		for _, weAsk := range []bool{true, false} {
			t.Run(map[bool]string{true: "we ask", false: "they ask"}[weAsk], func(t *testing.T) {
				w := newWay(t, w.term, w.weBind, w.mutual)
				types := map[bool]vtx.SocketType{true: vtx.Req, false: vtx.Rep}
				us, they := start(t, newOurs(t), types[weAsk], nil), start(t, stock(t), types[!weAsk], nil)
				w.join(us, they)
				asks, answers := us, they
				if !weAsk {
					asks, answers = they, us
				}
				for i := range 50 {
					m := []string{fmt.Sprint(i), "", strings.Repeat("q", i*i*i)}
					asks.send(m...)
					answers.want(m...)
					answers.send("answer", strings.Repeat("a", i*i*i), m[0])
					asks.want("answer", strings.Repeat("a", i*i*i), m[0])
				}
			})
		}
	})
}

// passing runs a test in which messages go from one end to the other, in each direction, on every way. The options are
// the sender's and the receiver's.
func passing(t *testing.T, sends, receives vtx.SocketType, so, ro options, test func(t *testing.T, w *way, from, to *end)) {
	eachWay(t, func(t *testing.T, w *way) {
		for _, weSend := range []bool{true, false} {
			t.Run(map[bool]string{true: "we send", false: "they send"}[weSend], func(t *testing.T) {
				w := newWay(t, w.term, w.weBind, w.mutual)
				if weSend {
					us, they := start(t, newOurs(t), sends, so), start(t, stock(t), receives, ro)
					w.join(us, they)
					test(t, w, us, they)
				} else {
					us, they := start(t, newOurs(t), receives, ro), start(t, stock(t), sends, so)
					w.join(us, they)
					test(t, w, they, us)
				}
			})
		}
	})
}

// TestTerminatorMany: of many messages none is lost, doubled or changed, and they stay in order, although the sender is
// the faster one most of the time. Some have many frames, and one is larger than any buffer on the way.
func TestTerminatorMany(t *testing.T) {
	const n = 4000
	text := strings.Repeat("0123456789abcde", 8<<20/15+2)
	message := func(i int) []string {
		switch number := fmt.Sprint(i); {
		case i == n/2:
			return []string{number, text[:8<<20]}
		case i%100 == 1:
			return []string{number, "", text[i : i+255], text[i : i+256], "", text[i : 20*i], ""}
		default:
			return []string{number, text[i : i+i*7919%9000]}
		}
	}
	passing(t, vtx.Push, vtx.Pull, nil, nil, func(t *testing.T, w *way, from, to *end) {
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range n {
				if err := from.s.send(message(i)...); err != nil {
					t.Errorf("sending %d: %v", i, err)
					return
				}
			}
		}()
		defer func() { <-sent }()
		for i := range n {
			to.want(message(i)...)
		}
	})
}

// TestTerminatorSubscriptions: subscriptions and their end reach the publisher, and what is subscribed the subscriber.
func TestTerminatorSubscriptions(t *testing.T) {
	t.Run("XPUB", func(t *testing.T) {
		passing(t, vtx.XPub, vtx.Sub, nil, nil, func(t *testing.T, w *way, pub, sub *end) {
			sub.subscribe("a")
			sees(pub, "\x01a", sub)
			sub.subscribe("b")
			sees(pub, "\x01b", sub)
			for i := range 100 {
				pub.send("a", fmt.Sprint(i))
				pub.send("c", "nobody wants it")
			}
			for i := range 100 {
				sub.want("a", fmt.Sprint(i))
			}
			sub.unsubscribe("a")
			sees(pub, "\x00a", sub)
			pub.send("a", "nobody wants it any more")
			pub.send("b", "last")
			sub.want("b", "last")
		})
	})
	t.Run("PUB", func(t *testing.T) {
		passing(t, vtx.Pub, vtx.Sub, nil, nil, func(t *testing.T, w *way, pub, sub *end) {
			sub.subscribe("topic")
			publish(pub, sub, "topic", strings.Repeat("x", 1<<20))
		})
	})
}

// TestTerminatorGoodbye: all that a socket has sent before it is closed arrives, although most of it is still with the
// sender then. That the connection has ended is passed on, too.
func TestTerminatorGoodbye(t *testing.T) {
	const n = 20000
	body := strings.Repeat("x", 500)
	passing(t, vtx.Push, vtx.Pull, options{"linger": "-1", "sndhwm": "0"}, options{"rcvhwm": "100"}, func(t *testing.T, w *way, from, to *end) {
		for i := range n {
			from.send(fmt.Sprint(i), body)
		}
		to.want("0", body)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			from.s.close()
		}()
		for i := 1; i < n; i++ {
			to.want(fmt.Sprint(i), body)
		}
		<-gone
		to.s.(*ourSocket).peers(t, 0)
	})
}

// TestTerminatorLastAnswer: the answer arrives that we give just before we go, although there is a question that we did not
// read. (From libzmq it may not: its system answers what comes to a closed connection with a reset, before which what
// is on its way is lost.)
func TestTerminatorLastAnswer(t *testing.T) {
	eachWay(t, func(t *testing.T, w *way) {
		us, they := start(t, newOurs(t), vtx.Dealer, options{"linger": "-1"}), start(t, stock(t), vtx.Dealer, nil)
		w.join(us, they)
		they.send("question")
		us.want("question")
		they.send("another")
		us.send("answer", strings.Repeat("a", 1<<20))
		us.s.close()
		they.want("answer", strings.Repeat("a", 1<<20))
	})
}

// TestTerminatorFacts: we know what the terminator has shown and agreed to, also where TLS resumes an earlier session. A
// stock socket that comes to us through one is a peer as any.
func TestTerminatorFacts(t *testing.T) {
	alpn := map[string]string{"haproxy": "zmtp/3.1", "stunnel": ""}
	eachWay(t, func(t *testing.T, w *way) {
		us := start(t, newOurs(t), vtx.Router, nil)
		facts := func(id string) {
			t.Helper()
			want := map[string]string{"tls.version": "1.3", "tls.alpn": alpn[w.term.name]}
			switch {
			case w.mutual:
				want["tls.subject"] = "CN=the terminator,O=VTX tests"
			case !w.weBind:
				want["tls.subject"] = "CN=127.0.0.1,O=VTX tests"
			}
			for name, value := range want {
				if got := meta(us, name+":"+id); got != value {
					t.Errorf("%s of %s is %q, not %q", name, id, got, value)
				}
			}
		}
		first := start(t, stock(t), vtx.Dealer, named("first"))
		tun := w.join(us, first)
		first.send("hello")
		us.want("first", "hello")
		facts("first")
		if !w.weBind {
			return
		}
		for _, id := range []string{"second", "third"} {
			they := start(t, stock(t), vtx.Dealer, named(id))
			they.connect("tcp://" + tun.plan.accept)
			visit(us, they, id)
			facts(id)
		}
		us.send("first", "bye")
		first.want("bye")
	})
}

// TestTerminatorRestart: when a terminator dies, both ends notice, and when there is another in its place they go on with
// that. What was sent meanwhile waits with the end that connects.
func TestTerminatorRestart(t *testing.T) {
	eachWay(t, func(t *testing.T, w *way) {
		us, they := start(t, newOurs(t), vtx.Dealer, nil), start(t, stock(t), vtx.Dealer, nil)
		ourNews, theirNews := us.s.(*ourSocket).watch(t), they.s.(*ourSocket).watch(t)
		tun := w.join(us, they)
		connects, binds := us, they
		if w.weBind {
			connects, binds = they, us
		}
		for round := range 4 {
			connects.send("question", fmt.Sprint(round))
			if round > 0 {
				tun.restart()
			}
			binds.want("question", fmt.Sprint(round))
			binds.send("answer", fmt.Sprint(round))
			connects.want("answer", fmt.Sprint(round))
			tun.kill()
			ourNews.await(vtx.EventDisconnected)
			theirNews.await(vtx.EventDisconnected)
		}
	})
}

// TestTerminatorRefused: who shows a certificate of another authority, or none where one is demanded, or means another
// protocol, is told apart, and does not come in.
func TestTerminatorRefused(t *testing.T) {
	for _, term := range terminators {
		t.Run(term.name+"/they bind, another authority", func(t *testing.T) {
			w := newWay(t, term, false, false)
			us, they := start(t, newOurs(t), vtx.Dealer, nil), start(t, stock(t), vtx.Dealer, nil)
			tun := term.start(t, w.toThem(they))
			set(us, "tls.ca", testca.New(t, "another authority").Cert)
			n := us.s.(*ourSocket).watch(t)
			us.connect("tls://" + tun.plan.accept)
			n.says("the server's certificate is signed by an unknown authority", vtx.EventHandshakeFailedAuth)
			if peers := meta(us, "peers"); peers != "0" {
				t.Errorf("%s peers", peers)
			}
			// It was nothing else
			other := start(t, newOurs(t), vtx.Dealer, nil)
			set(other, "tls.ca", w.ca.Cert)
			other.connect("tls://" + tun.plan.accept)
			other.send("hello")
			they.want("hello")
		})
		failed := []vtx.EventKind{vtx.EventHandshakeFailed, vtx.EventHandshakeFailedProtocol, vtx.EventHandshakeFailedAuth}
		auth, protocol := []vtx.EventKind{vtx.EventHandshakeFailedAuth}, []vtx.EventKind{vtx.EventHandshakeFailedProtocol}
		for _, c := range []struct {
			name   string
			only   string // for this terminator
			mutual bool
			change func(t testing.TB, w *way, p *plan)
			says   string
			kinds  []vtx.EventKind
		}{
			{name: "no certificate", mutual: true, change: func(t testing.TB, w *way, p *plan) { p.cert = "" },
				says: "the client has sent no certificate", kinds: auth},
			{name: "another authority's certificate", mutual: true, change: func(t testing.TB, w *way, p *plan) {
				p.cert = w.pem("stranger.pem", testca.New(t, "another authority").Issue(nil, "the terminator"))
			}, says: "the client's certificate is signed by an unknown authority", kinds: auth},
			// OpenSSL says that it does not like a certificate before it encrypts what it sends, so that Go cannot
			// read it. What is told is that something has failed.
			{name: "they trust another authority", change: func(t testing.TB, w *way, p *plan) {
				p.ca = testca.Write(t, w.dir, "another.pem", testca.New(t, "another authority").Cert)
			}, kinds: failed},
			{name: "another protocol", only: "haproxy", change: func(t testing.TB, w *way, p *plan) { p.alpn = "http/1.1" },
				says: "the client knows none of our application protocols", kinds: protocol},
		} {
			if c.only != "" && c.only != term.name {
				continue
			}
			t.Run(term.name+"/we bind, "+c.name, func(t *testing.T) {
				w := newWay(t, term, true, c.mutual)
				us, they := start(t, newOurs(t), vtx.Dealer, nil), start(t, stock(t), vtx.Dealer, nil)
				w.bind(us)
				n := us.s.(*ourSocket).watch(t)
				good := w.toUs(us)
				bad := good
				c.change(t, w, &bad)
				they.connect("tcp://" + term.start(t, bad).plan.accept)
				they.send("from a stranger")
				n.says(c.says, c.kinds...)
				if peers := meta(us, "peers"); peers != "0" {
					t.Errorf("%s peers", peers)
				}
				// It was nothing else
				other := start(t, stock(t), vtx.Dealer, nil)
				other.connect("tcp://" + term.start(t, good).plan.accept)
				other.send("hello")
				us.want("hello")
			})
		}
	}
}
