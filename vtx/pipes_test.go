package vtx_test

// Each test here is one of the rules that make a pipe equal to a native connection.

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// Options of libzmq that only applications set.
const (
	optEvents      = 15
	optSubscribe   = 6
	optUnsubscribe = 7
	optMandatory   = 33
	optCorrelate   = 52
	optRelaxed     = 53
	optHandover    = 56
	optCurveServer = 47
	optXPubVerbose = 40
	optXPubNoDrop  = 69
)

func name(scheme string) string { return fmt.Sprintf("%s://name-%d", scheme, nameSerial.Add(1)) }

// An application can send right after vtx_connect, peer or not, as on a native connection.
func TestConnectIsThereAtOnce(t *testing.T) {
	h := newHost(t)
	for _, typ := range []vtx.SocketType{vtx.Push, vtx.Dealer, vtx.Req, vtx.Pair} {
		for i := range 100 {
			s := h.socket(typ)
			h.connect(s, name("mem"))
			if err := s.TrySend(false, "now"); err != nil {
				t.Fatalf("%s, try %d: %v", typ, i, err)
			}
			s.Forget()
			if err := h.Close(s.P); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A closed pipe gets no messages, and what waits for an absent peer is not lost when it comes.
func TestMessagesQueueWhileThePeerIsAway(t *testing.T) {
	h := newHost(t)
	endpoint := name("mem")
	push := h.socket(vtx.Push)
	push.Set(zmq.ReconnectIvl, 5)
	h.connect(push, endpoint)
	for round := range 3 {
		for i := range 100 {
			push.Send(fmt.Sprint(round, ".", i))
		}
		pull := h.socket(vtx.Pull)
		h.bind(pull, endpoint)
		for i := range 100 {
			pull.Want(fmt.Sprint(round, ".", i))
		}
		pull.Forget()
		if err := h.Close(pull.P); err != nil {
			t.Fatal(err)
		}
		app.Eventually(t, "the peering has ended", func() bool { return h.meta(push, "peers") == "0" })
	}
}

// ZMQ_IMMEDIATE: nothing is queued for a peer that is not there, neither before the first link nor after one.
func TestImmediate(t *testing.T) {
	h := newHost(t)
	endpoint := name("mem")
	push := h.socket(vtx.Push)
	push.Set(zmq.Immediate, 1)
	push.Set(zmq.SndHWM, 0) // so that only the missing pipe refuses messages
	push.Set(zmq.ReconnectIvl, 5)
	h.connect(push, endpoint)
	for range 2 {
		if err := push.TrySend(false, "nobody"); !errors.Is(err, app.EAGAIN) {
			t.Fatalf("sent to nobody: %v", err)
		}
		pull := h.socket(vtx.Pull)
		h.bind(pull, endpoint)
		push.Send("somebody")
		for m := pull.Recv()[0]; m != "somebody"; m = pull.Recv()[0] {
			if m != "before the end was noticed" {
				t.Fatalf("received %q", m)
			}
		}
		pull.Forget()
		if err := h.Close(pull.P); err != nil {
			t.Fatal(err)
		}
		app.Eventually(t, "the pipe is gone", func() bool {
			return errors.Is(push.TrySend(false, "before the end was noticed"), app.EAGAIN)
		})
	}
}

// The high-water mark for sending is the application's own, the pipe adds one message or two.
func TestHighWaterMark(t *testing.T) {
	h := newHost(t)
	room := func(hwm int) int {
		s := h.socket(vtx.Push)
		s.Set(zmq.SndHWM, hwm)
		h.connect(s, name("mem"))
		n := 0
		for s.TrySend(false, "x") == nil {
			n++
		}
		return n
	}
	for _, hwm := range []int{10, 11, 50} {
		if n := room(hwm); n != hwm+2-hwm%2 { // even, or a publisher gets half its credit back
			t.Errorf("room for %d messages at SNDHWM %d", n, hwm)
		}
	}
}

// What VTX cannot honour is refused, in words.
func TestUnsupportedSockets(t *testing.T) {
	h := newHost(t)
	if _, err := h.Manager.Socket(11); !errors.Is(err, vtx.ErrNotSupported) {
		t.Errorf("STREAM: %v", err)
	}
	if _, err := h.Manager.Socket(-3); !errors.Is(err, vtx.ErrNotSupported) {
		t.Errorf("type -3: %v", err)
	}
	stream := h.socket(11)
	if err := h.Bind(stream.P, name("mem")); !errors.Is(err, vtx.ErrNotSupported) {
		t.Errorf("binding a STREAM: %v", err)
	}
	secure := h.socket(vtx.Rep)
	secure.Set(optCurveServer, 1)
	if err := h.Bind(secure.P, name("mem")); !errors.Is(err, vtx.ErrNotSupported) || !strings.Contains(err.Error(), "CURVE") {
		t.Errorf("CURVE over a transport without it: %v", err)
	}
	other := newHost(t)
	stranger := other.socket(vtx.Rep)
	if err := h.Bind(stranger.P, name("mem")); !errors.Is(err, vtx.ErrInvalid) || !strings.Contains(err.Error(), "context") {
		t.Errorf("a socket of another context: %v", err)
	}
}

func openDescriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err) // this is Linux
	}
	return len(list)
}

// Peers that come and go cost an idle application neither descriptors nor sockets.
func TestFlappingPeersCostNothing(t *testing.T) {
	server, client := newHost(t), newHost(t)
	endpoint := name("mem")
	idle := server.socket(vtx.Dealer)
	server.bind(idle, endpoint)
	before := 0
	for i := range 900 {
		s := client.socket(vtx.Dealer)
		client.connect(s, endpoint)
		s.Send("hello")
		app.Eventually(t, "the peering stands", func() bool { return client.meta(s, "peers") == "1" })
		s.Forget()
		if err := client.Close(s.P); err != nil {
			t.Fatal(err)
		}
		if i == 100 {
			before = openDescriptors()
		}
	}
	if after := openDescriptors(); after > before+50 {
		t.Errorf("%d descriptors, %d after 800 peers less", after, before)
	}
	own := server.socket(vtx.Push) // fails the test if the slots are used up
	own.Close()
}

// While an application does not look at its socket at all, peers that come and go are let in slowly, because
// libzmq keeps something of each; when it looks, they come in at once.
func TestFlappingPeersArePaced(t *testing.T) {
	t.Cleanup(vtx.SetPace(20, time.Hour)) // runs after the managers are gone
	server, client := newHost(t), newHost(t)
	endpoint := name("mem")
	idle, events := server.socket(vtx.Dealer), server.socket(vtx.Pair)
	if err := server.Monitor(idle.P, "inproc://events", int(vtx.EventConnectDelayed)); err != nil {
		t.Fatal(err)
	}
	events.Native(false, "inproc://events")
	server.bind(idle, endpoint)
	flap := func() {
		s := client.socket(vtx.Dealer)
		client.connect(s, endpoint)
		app.Eventually(t, "the peering stands", func() bool { return client.meta(s, "peers") == "1" })
		s.Forget()
		if err := client.Close(s.P); err != nil {
			t.Fatal(err)
		}
		app.Eventually(t, "the peering has ended", func() bool { return server.meta(idle, "peers") == "0" })
	}
	for range 21 {
		flap()
	}
	if m := events.Recv(); len(m) != 3 {
		t.Errorf("event %q", m)
	}
	idle.RecvWithin(0)
	flap()
}

// The application closes its socket with zmq_close and says nothing: listener, peers and pipes are let go.
func TestCloseBehindOurBack(t *testing.T) {
	for typ := vtx.Pair; typ <= vtx.XSub; typ++ {
		t.Run(typ.String(), func(t *testing.T) {
			h := newHost(t)
			bound, connected := name("mem"), name("mem")
			s := h.socket(typ)
			h.bind(s, bound)
			if typ != vtx.Pair {
				h.connect(s, connected)
			}
			peer := newHost(t)
			p := peer.socket(peerOf(typ))
			peer.connect(p, bound)
			app.Eventually(t, "they are joined", func() bool { return peer.meta(p, "peers") == "1" })
			s.Close()
			app.Eventually(t, "the peer sees it", func() bool { return peer.meta(p, "peers") == "0" })
			again := h.socket(typ) // quite possibly at the same address
			app.Eventually(t, "the address is free", func() bool { return h.Bind(again.P, bound) == nil })
			app.Eventually(t, "the new socket is joined", func() bool { return h.meta(again, "peers") == "1" })
		})
	}
}

// The same with nobody connected, where no pipe tells.
func TestCloseBehindOurBackWithoutPeers(t *testing.T) {
	h := newHost(t)
	endpoint := name("mem")
	for range 20 {
		s := h.socket(vtx.Rep)
		// zmq_close only begins to close: libzmq's own addresses too are free a moment later.
		app.Eventually(t, "the address is free", func() bool { return h.Bind(s.P, endpoint) == nil })
		s.Close()
	}
}

func peerOf(t vtx.SocketType) vtx.SocketType {
	for p := vtx.Pair; p <= vtx.XSub; p++ {
		if t.TalksTo(p) {
			return p
		}
	}
	return vtx.TypeUnknown
}

// Neither a disconnect nor a close loses what was sent before.
func TestNothingIsLostAtTheEnd(t *testing.T) {
	h, other := newHost(t), newHost(t)
	endpoint := name("mem")
	pull := other.socket(vtx.Pull)
	other.bind(pull, endpoint)
	for round := range 20 {
		push := h.socket(vtx.Push)
		push.Set(zmq.Linger, -1)
		push.Set(zmq.SndHWM, 0)
		h.connect(push, endpoint)
		for i := range 2000 {
			push.Send(fmt.Sprint(i), "tail")
		}
		switch round % 2 {
		case 0:
			if err := h.Disconnect(push.P, endpoint); err != nil {
				t.Fatal(err)
			}
			push.Close()
		case 1:
			push.Forget()
			go h.Close(push.P)
		}
		for i := range 2000 {
			pull.Want(fmt.Sprint(i), "tail")
		}
	}
}

// Frames of two messages are never mixed, however often the link breaks between them.
func TestMessagesStayWholeAcrossLinks(t *testing.T) {
	h, other := newHost(t), newHost(t)
	endpoint := name("mem")
	push := h.socket(vtx.Push)
	push.Set(zmq.ReconnectIvl, 1)
	push.Set(zmq.SndHWM, 0)
	h.connect(push, endpoint)
	sent := 0
	send := func() {
		push.Send(fmt.Sprint(sent), strings.Repeat("x", sent%300), fmt.Sprint(sent))
		sent++
	}
	const enough = 5000
	for range enough {
		send()
	}
	for last := -1; last < enough-1; {
		send() // what a closing receiver takes with it may have been all there was
		pull := other.socket(vtx.Pull)
		pull.Set(zmq.RcvHWM, 1)
		other.bind(pull, endpoint)
		for range 200 {
			m, err := pull.RecvWithin(time.Second)
			if err != nil {
				break
			}
			n := 0
			if _, err := fmt.Sscan(m[0], &n); err != nil || len(m) != 3 || m[2] != m[0] || len(m[1]) != n%300 || n <= last {
				t.Fatalf("after message %d came %.50q", last, m)
			}
			last = n
		}
		pull.Forget()
		if err := other.Close(pull.P); err != nil {
			t.Fatal(err)
		}
	}
}

// A socket with several peers cannot tell whose message was read last.
func TestSenderOfSeveralPeers(t *testing.T) {
	h := newHost(t)
	endpoint := name("mem")
	pull := h.socket(vtx.Pull)
	h.bind(pull, endpoint)
	if _, err := h.Meta(pull.P, "sender"); !errors.Is(err, vtx.ErrNotFound) {
		t.Errorf("no peer: %v", err)
	}
	for n := 1; n <= 2; n++ {
		h.connect(h.socket(vtx.Push), endpoint)
		app.Eventually(t, "the peer is there", func() bool { return h.meta(pull, "peers") == fmt.Sprint(n) })
		_, err := h.Meta(pull.P, "sender")
		if n == 1 && err != nil || n == 2 && !errors.Is(err, vtx.ErrNotSupported) {
			t.Errorf("%d peers: %v", n, err)
		}
	}
	if _, err := h.Meta(pull.P, "colour"); !errors.Is(err, vtx.ErrInvalid) {
		t.Errorf("unknown name: %v", err)
	}
}

// Nobody may call himself what the engine calls others.
func TestPeersCannotClaimGeneratedNames(t *testing.T) {
	h := newHost(t)
	endpoint := name("mem")
	router := h.socket(vtx.Router)
	h.bind(router, endpoint)
	forger := h.socket(vtx.Dealer)
	forger.SetString(zmq.RoutingID, "mem://somebody#1")
	h.connect(forger, endpoint)
	forger.Send("it is me")
	if id := router.Recv()[0]; id == "mem://somebody#1" || !strings.HasPrefix(id, "mem://") {
		t.Errorf("the peer is called %q", id)
	}
}

// A ROUTER that connects knows the peer by the name it gave it, or by the one the peer has.
func TestConnectingRouter(t *testing.T) {
	h := newHost(t)
	endpoint := name("mem")
	dealer := h.socket(vtx.Dealer)
	dealer.SetString(zmq.RoutingID, "bob")
	h.bind(dealer, endpoint)
	router := h.socket(vtx.Router)
	router.Set(optMandatory, 1)
	h.connect(router, endpoint)
	app.Eventually(t, "the name is known", func() bool { return router.TrySend(false, "bob", "hello") == nil })
	dealer.Want("hello")

	named := h.socket(vtx.Router)
	named.Set(optMandatory, 1)
	if err := h.SetOption(named.P, "connect.routing_id", "robert"); err != nil {
		t.Fatal(err)
	}
	h.connect(named, endpoint)
	if err := named.TrySend(false, "robert", "at once"); err != nil {
		t.Fatal(err)
	}
	dealer.Want("at once")
	if err := router.TrySend(false, "nobody", "x"); err == nil {
		t.Error("ROUTER_MANDATORY let a message to nobody pass")
	}
}

// REQ_CORRELATE and REQ_RELAXED work as they do natively.
func TestCorrelatedRequests(t *testing.T) {
	h := newHost(t)
	endpoint := name("mem")
	rep, req := h.socket(vtx.Rep), h.socket(vtx.Req)
	req.Set(optCorrelate, 1)
	req.Set(optRelaxed, 1)
	h.bind(rep, endpoint)
	h.connect(req, endpoint)
	req.Send("first")
	rep.Want("first")
	req.Send("second")
	rep.Send("late answer to the first")
	rep.Want("second")
	rep.Send("answer to the second")
	req.Want("answer to the second")
}

// Subscriptions are never dropped, however many there are: the publisher takes no more than twice its high-water mark before
// it looks, and the others wait.
func TestFiveThousandSubscriptions(t *testing.T) {
	for _, scheme := range []string{"mem", "raw"} {
		for _, pubBinds := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/pubBinds=%v", scheme, pubBinds), func(t *testing.T) {
				h := newHost(t)
				pub, sub := h.socket(vtx.XPub), h.socket(vtx.Sub)
				endpoint := name(scheme)
				if pubBinds {
					h.bind(pub, endpoint)
					h.connect(sub, endpoint)
				} else {
					h.bind(sub, endpoint)
					h.connect(pub, endpoint)
					app.Eventually(t, "they are joined", func() bool { return h.meta(sub, "peers") == "1" })
					sub.RecvWithin(0) // a socket takes up new pipes when it is used, natively too
				}
				for i := range 5000 {
					sub.SetString(optSubscribe, fmt.Sprintf("topic %04d", i))
				}
				if scheme == "mem" {
					// The manager's sum, since asking for the publisher's own would have it take up some.
					app.Eventually(t, "as many have arrived as may wait, and none has been read", func() bool {
						total, err := h.Meta(nil, "stats")
						return err == nil && strings.Contains(total, `"messages_in":2000,`)
					})
					for range 5000 {
						pub.Recv()
					}
				} else { // the publisher does not see them; that they took effect shows when the last one did
					app.Eventually(t, "the last subscription works", func() bool {
						pub.Send("topic 4999")
						_, err := sub.RecvWithin(time.Millisecond)
						return err == nil
					})
					pub.Send("topic 0000")
					for sub.Recv()[0] != "topic 0000" {
					}
				}
				for i := range 5000 {
					pub.Send(fmt.Sprintf("topic %04d", i))
					sub.Want(fmt.Sprintf("topic %04d", i))
				}
			})
		}
	}
}

// The publisher filters where the driver carries subscriptions: what nobody asked for does not travel.
func TestFilteringAtThePublisher(t *testing.T) {
	for scheme, want := range map[string]string{"mem": `"messages_out":1,`, "raw": `"messages_out":101,`} {
		h := newHost(t)
		endpoint := name(scheme)
		pub, sub := h.socket(vtx.XPub), h.socket(vtx.Sub)
		pub.Set(zmq.SndHWM, 0)
		h.bind(pub, endpoint)
		sub.SetString(optSubscribe, "wanted")
		h.connect(sub, endpoint)
		pub.Recv() // the subscription has arrived
		for range 100 {
			pub.Send("unwanted: not this one")
		}
		pub.Send("wanted")
		sub.Want("wanted")
		app.Eventually(t, want, func() bool { return strings.Contains(h.meta(pub, "stats"), want) })
	}
}

// What one subscriber asked for is not sent to the next one that its pipe serves.
func TestSubscriptionsEndWithTheirPeer(t *testing.T) {
	h, client := newHost(t), newHost(t)
	endpoint := name("mem")
	pub := h.socket(vtx.XPub)
	pub.Set(optXPubVerbose, 1)
	h.bind(pub, endpoint)
	for _, topic := range []string{"first", "second"} {
		sub := client.socket(vtx.Sub)
		sub.SetString(optSubscribe, topic)
		client.connect(sub, endpoint)
		for pub.Recv()[0] != "\x01"+topic {
		}
		pub.Send("first: only for the first")
		pub.Send(topic + ": end")
		for sub.Recv()[0] != topic+": end" {
		}
		sub.Forget()
		if err := client.Close(sub.P); err != nil {
			t.Fatal(err)
		}
		app.Eventually(t, "the subscriber has left", func() bool { return h.meta(pub, "peers") == "0" })
	}
	if stats := h.meta(pub, "stats"); !strings.Contains(stats, `"messages_out":3,`) {
		t.Errorf("%s, want 3 messages out: two for the first, one for the second", stats)
	}
}

func TestInvertMatching(t *testing.T) {
	for _, scheme := range []string{"mem", "raw"} {
		h := newHost(t)
		endpoint := name(scheme)
		pub, sub := h.socket(vtx.XPub), h.socket(vtx.Sub)
		pub.Set(zmq.InvertMatching, 1)
		sub.Set(zmq.InvertMatching, 1)
		h.bind(pub, endpoint)
		sub.SetString(optSubscribe, "not this")
		h.connect(sub, endpoint)
		app.Eventually(t, "they are joined", func() bool {
			pub.Send("first")
			_, err := sub.RecvWithin(time.Millisecond)
			return err == nil
		})
		if scheme == "mem" {
			pub.Recv()
		}
		pub.Send("not this one")
		pub.Send("but this")
		m := sub.Recv()[0]
		for m == "first" {
			m = sub.Recv()[0]
		}
		if m != "but this" {
			t.Errorf("%s: received %q", scheme, m)
		}
	}
}

// A slow subscriber pushes back as far as the publisher's own mark, where libzmq drops, not VTX.
func TestSlowSubscriberLosesNothingOnTheWay(t *testing.T) {
	for _, scheme := range []string{"mem", "raw"} {
		h := newHost(t)
		endpoint := name(scheme)
		pub, sub := h.socket(vtx.XPub), h.socket(vtx.Sub)
		pub.Set(zmq.SndHWM, 0)
		sub.Set(zmq.RcvHWM, 3)
		h.bind(pub, endpoint)
		sub.SetString(optSubscribe, "")
		h.connect(sub, endpoint)
		pub.Recv()
		for i := range 3000 {
			pub.Send(fmt.Sprint(i))
		}
		for i := range 3000 {
			sub.Want(fmt.Sprint(i))
		}
	}
}

// ZMQ_CONFLATE keeps the last message, whichever side connected.
func TestConflate(t *testing.T) {
	for _, c := range []struct{ from, to vtx.SocketType }{{vtx.Push, vtx.Pull}, {vtx.Dealer, vtx.Dealer}, {vtx.XPub, vtx.Sub}} {
		for _, scheme := range []string{"mem", "raw"} {
			for _, toBinds := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s-%s/%s/toBinds=%v", c.from, c.to, scheme, toBinds), func(t *testing.T) {
					h := newHost(t)
					endpoint := name(scheme)
					from, to := h.socket(c.from), h.socket(c.to)
					from.Set(zmq.SndHWM, 0)
					to.Set(zmq.Conflate, 1)
					if c.to == vtx.Sub {
						to.SetString(optSubscribe, "")
					}
					if toBinds {
						h.bind(to, endpoint)
						h.connect(from, endpoint)
					} else {
						h.bind(from, endpoint)
						h.connect(to, endpoint)
					}
					if c.from == vtx.XPub {
						from.Recv()
					}
					sent := 1000
					if c.to == vtx.Sub { // a SUB subscribes when it is used
						app.Eventually(t, "subscribed", func() bool {
							from.Send("here?")
							sent++
							_, err := to.RecvWithin(time.Millisecond)
							return err == nil
						})
					}
					for i := range 1000 {
						from.Send(fmt.Sprintf("%03d", i))
					}
					app.Eventually(t, "all have arrived", func() bool {
						return strings.Contains(h.meta(to, "stats"), fmt.Sprintf(`"messages_in":%d,`, sent))
					})
					first := to.Recv()[0]
					if n := 1; first != "999" {
						for first != "999" {
							first = to.Recv()[0]
							n++
						}
						if n > 3 {
							t.Errorf("%d messages were kept", n)
						}
					}
				})
			}
		}
	}
}

// When the context has no sockets left, peers are turned away with an event, and the application still has some.
func TestOutOfSockets(t *testing.T) {
	h, client := smallHost(t, 40), newHost(t)
	endpoint := name("mem")
	pull, events := h.socket(vtx.Pull), h.socket(vtx.Pair)
	if err := h.Monitor(pull.P, "inproc://events", int(vtx.EventAcceptFailed)); err != nil {
		t.Fatal(err)
	}
	events.Native(false, "inproc://events")
	h.bind(pull, endpoint)
	for range 50 {
		client.connect(client.socket(vtx.Push), endpoint)
	}
	if got := events.Recv(); len(got) != 3 || !strings.Contains(got[2], "ZMQ_MAX_SOCKETS") {
		t.Errorf("event %q", got)
	}
	h.socket(vtx.Push).Close() // there is one left for the application
	if err := h.Close(pull.P); err != nil {
		t.Error(err)
	}
	pull.Forget()
}

// Subscribers come and go while messages of several frames are published. (libzmq's XSUB takes the first frame
// of a message just to say that there is one, and aborts if its connection is cut then.)
func TestSubscribersLeaveInMidStream(t *testing.T) {
	h, client := newHost(t), newHost(t)
	endpoint := name("raw")
	pub := h.socket(vtx.Pub)
	h.bind(pub, endpoint)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for range 500 {
			sub := client.socket(vtx.Sub)
			sub.SetString(optSubscribe, "")
			client.connect(sub, endpoint)
			if m, err := sub.RecvWithin(app.Patience); err != nil || len(m) != 3 {
				t.Errorf("received %q, %v", m, err)
			}
			sub.Forget()
			if err := client.Close(sub.P); err != nil {
				t.Error(err)
			}
		}
	}()
	for {
		select {
		case <-gone:
			return
		default:
			if err := pub.TrySend(true, "topic", "middle", "end"); err != nil {
				t.Fatal(err)
			}
		}
	}
}
