package interop

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

// onceEach runs a test with our publisher and their subscriber, and the other way round, whichever binds.
func onceEach(t *testing.T, test func(t *testing.T, publishers, subscribers library, m meeting)) {
	each(t, func(t *testing.T, l library, transport string) {
		for _, weBind := range []bool{true, false} {
			for _, wePublish := range []bool{true, false} {
				name := map[bool]string{true: "we publish", false: "they publish"}[wePublish] +
					map[bool]string{true: ", we bind", false: ", they bind"}[weBind]
				t.Run(name, func(t *testing.T) {
					publishers, subscribers := library(newOurs(t)), l
					if !wePublish {
						publishers, subscribers = subscribers, publishers
					}
					test(t, publishers, subscribers, meeting{transport, weBind == wePublish})
				})
			}
		}
	})
}

// meeting says how a publisher and its subscribers come together.
type meeting struct {
	transport string
	pubBinds  bool
}

func (m meeting) join(pub, sub *end) {
	pub.t.Helper()
	at := endpoint(pub.t, m.transport)
	if m.pubBinds {
		pub.bind(at)
		sub.connect(at)
	} else {
		sub.bind(at)
		pub.connect(at)
	}
}

// sees waits until the XPUB receives a message, and compares it.
func sees(pub *end, message string, subs ...*end) {
	pub.t.Helper()
	if got := next(pub, subs...); got != message {
		pub.t.Fatalf("the XPUB received %q, want %q", got, message)
	}
}

// next is the next message that the XPUB receives. Meanwhile the subscribers look for messages, as subscribers
// do: a bound SUB of libzmq does not notice its peers otherwise.
func next(pub *end, subs ...*end) string {
	pub.t.Helper()
	for end := time.Now().Add(*patience); time.Now().Before(end); {
		for _, sub := range subs {
			if m, err := sub.s.recv(0); err == nil {
				pub.t.Fatalf("a subscriber received %q", m)
			}
		}
		got, err := pub.s.recv(5 * time.Millisecond)
		if errors.Is(err, errNothing) {
			continue
		}
		if err != nil || len(got) != 1 {
			pub.t.Fatalf("the XPUB received %q (%v)", got, err)
		}
		return got[0]
	}
	pub.t.Fatal("the XPUB received nothing")
	return ""
}

// TestXPub: an XPUB sees the first subscription of a topic and the last cancellation, whoever else has it.
func TestXPub(t *testing.T) {
	onceEach(t, func(t *testing.T, publishers, subscribers library, m meeting) {
		need(t, publishers, tellsSubs)
		pub := start(t, publishers, vtx.XPub, nil)
		one, two := start(t, subscribers, vtx.Sub, nil), start(t, subscribers, vtx.Sub, nil)
		m.join(pub, one)
		one.subscribe("hello one")
		sees(pub, "\x01hello one", one)
		m.join(pub, two)
		two.subscribe("hello two")
		sees(pub, "\x01hello two", two)

		one.subscribe("a")
		pub.want("\x01a")
		two.subscribe("a") // another peer's
		two.subscribe("mark 1")
		pub.want("\x01mark 1")
		one.subscribe("a") // the same peer's
		one.subscribe("mark 2")
		pub.want("\x01mark 2")
		two.unsubscribe("a") // one still has it
		two.unsubscribe("mark 1")
		pub.want("\x00mark 1")
		one.unsubscribe("a")
		if subscribers.lacks(counts) == "" {
			one.unsubscribe("mark 2") // one still has "a" once
			pub.want("\x00mark 2")
			publish(pub, one, "a", "still")
			one.unsubscribe("a")
		}
		pub.want("\x00a")

		one.subscribe("")
		pub.want("\x01")
		one.subscribe(strings.Repeat("long", 100))
		pub.want("\x01" + strings.Repeat("long", 100))
		one.subscribe("\x02\xff binary")
		pub.want("\x01\x02\xff binary")

		if !m.pubBinds {
			return // natively the subscriptions stay while the publisher tries to reconnect
		}
		two.subscribe("only two's")
		pub.want("\x01only two's")
		two.s.close() // it takes with it what only it had
		gone := []string{pub.recv()[0], pub.recv()[0]}
		if all := strings.Join(gone, ","); all != "\x00hello two,\x00only two's" && all != "\x00only two's,\x00hello two" {
			t.Fatalf("the XPUB saw %q when a subscriber went", gone)
		}
	})
}

// TestXPubVerbose: with ZMQ_XPUB_VERBOSE it sees each peer's, natively including the same peer's again.
func TestXPubVerbose(t *testing.T) {
	onceEach(t, func(t *testing.T, publishers, subscribers library, m meeting) {
		need(t, publishers, tellsSubs)
		pub := start(t, publishers, vtx.XPub, options{"xpub_verbose": "1"})
		for range 2 {
			sub := start(t, subscribers, vtx.Sub, nil)
			m.join(pub, sub)
			sub.subscribe("a")
			sees(pub, "\x01a", sub)
			sub.subscribe("b")
			pub.want("\x01b")
		}
	})
}

// TestFilters: a subscriber gets what it has asked for, from when until when it did, and nothing else.
func TestFilters(t *testing.T) {
	onceEach(t, func(t *testing.T, publishers, subscribers library, m meeting) {
		pub := start(t, publishers, vtx.Pub, nil)
		early, late := start(t, subscribers, vtx.Sub, nil), start(t, subscribers, vtx.Sub, nil)
		early.subscribe("a")
		m.join(pub, early)
		publish(pub, early, "a")
		pub.send("b", "before anybody asked")
		pub.send("a before")
		pub.send("a end")
		skipTo(early, "a end", "b")

		late.subscribe("a")
		m.join(pub, late)
		publish(pub, late, "a", "both")
		early.subscribe("b")
		publish(pub, early, "b")
		pub.send("a1")
		pub.send("b1", "second part")
		pub.send("c1", "a")
		pub.send("a end")
		skipTo(late, "a end", "b", "b1", "c1", "a before")
		skipTo(early, "a end", "c1")

		early.unsubscribe("a")
		publishWithout(pub, early, "a?", "b?")
		pub.send("a2")
		pub.send("b end")
		skipTo(early, "b end", "a2")
		pub.send("a last")
		skipTo(late, "a last", "b end", "b?")
	})
}

// publishWithout publishes pairs of messages until only the second comes of one.
func publishWithout(pub, sub *end, first, second string) {
	sub.t.Helper()
	for i := 0; i < 10000; i++ {
		pub.send(first, fmt.Sprint(i))
		pub.send(second, fmt.Sprint(i))
		seen := false
		for got := sub.recv(); got[0] != second; got = sub.recv() {
			seen = seen || got[0] == first
		}
		if !seen {
			return
		}
	}
	sub.t.Fatalf("%q was cancelled and still came", first)
}

// TestManySubscriptions: more subscriptions than a high-water mark arrive where there is none, before and after the
// peers meet.
func TestManySubscriptions(t *testing.T) {
	const n = 3000
	onceEach(t, func(t *testing.T, publishers, subscribers library, m meeting) {
		need(t, publishers, tellsSubs)
		pub := start(t, publishers, vtx.XPub, options{"rcvhwm": "0"})
		unlimited := options{"sndhwm": "0"}
		if subscribers.lacks("sndhwm") != "" {
			unlimited = nil
		}
		sub := start(t, subscribers, vtx.Sub, unlimited)
		for i := range n {
			sub.subscribe(fmt.Sprint("early ", i))
		}
		m.join(pub, sub)
		for i := range n {
			sub.subscribe(fmt.Sprint("late ", i))
		}
		seen := make(map[string]bool)
		for len(seen) < 2*n {
			topic := next(pub, sub)
			if seen[topic] || topic[0] != 1 {
				t.Fatalf("the XPUB saw %q, again or out of place", topic)
			}
			seen[topic] = true
		}
		pub.send(fmt.Sprint("late ", n-1))
		sub.want(fmt.Sprint("late ", n-1))
		pub.send("early 17")
		sub.want("early 17")
	})
}

// TestUpstream: what an XSUB sends that is no subscription reaches the XPUB as it is.
func TestUpstream(t *testing.T) {
	onceEach(t, func(t *testing.T, publishers, subscribers library, m meeting) {
		need(t, publishers, upstream)
		need(t, subscribers, upstream)
		pub := start(t, publishers, vtx.XPub, nil)
		sub := start(t, subscribers, vtx.XSub, nil)
		m.join(pub, sub)
		sub.subscribe("a")
		sees(pub, "\x01a", sub)
		sub.send("\x05 a message")
		pub.want("\x05 a message")
		sub.send("two", "parts")
		pub.want("two", "parts")
		sub.unsubscribe("a")
		pub.want("\x00a")
	})
}
