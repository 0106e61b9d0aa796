package vtx_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
	"github.com/libvtx/libvtx/vtx/drivertest"
)

// The conformance suite, with publishers whose subscribers share a pipe.
func TestConformanceShared(t *testing.T) {
	for scheme, how := range map[string]string{"mem": "drop", "raw": "nodrop", "mixed": "drop"} {
		f := fixture(scheme)
		f.Options = map[string]string{"pub.shared": how}
		f.Requests = 1000 // which it does not concern
		t.Run(scheme+"/"+how, func(t *testing.T) { drivertest.Run(t, f) })
	}
}

// sharing is a host whose publishers have their subscribers share a pipe.
func sharing(t testing.TB, how string) *host {
	t.Helper()
	h := newHost(t)
	if err := h.SetOption(nil, "pub.shared", how); err != nil {
		t.Fatal(err)
	}
	return h
}

// publisher is an XPUB that hears of every subscription, and the endpoint that it is bound to.
func publisher(h *host, endpoint string, options map[int]int) (*app.Socket, string) {
	h.t.Helper()
	pub := h.socket(vtx.XPub)
	pub.Set(optXPubVerbose, 1)
	pub.Set(zmq.SndBuf, 32<<10)
	for option, value := range options {
		pub.Set(option, value)
	}
	h.bind(pub, endpoint)
	return pub, h.meta(pub, "endpoint")
}

// subscriber is a SUB with some topics that pub has heard of.
func subscriber(t testing.TB, pub *app.Socket, client *host, endpoint string, hwm int, topics ...string) *app.Socket {
	t.Helper()
	sub := client.socket(vtx.Sub)
	sub.Set(zmq.RcvHWM, hwm)
	for _, topic := range topics {
		sub.SetString(optSubscribe, topic)
	}
	client.connect(sub, endpoint)
	for range topics {
		pub.Recv()
	}
	return sub
}

// Links by their descriptors, and others.
var shareable = []string{"mem://", "loop://127.0.0.1:0", "opaque://127.0.0.1:0"}

// overAll runs test over each kind of link.
func overAll(t *testing.T, test func(t *testing.T, endpoint string)) {
	for _, endpoint := range shareable {
		scheme, _, _ := strings.Cut(endpoint, ":")
		if scheme == "mem" {
			endpoint = name("mem")
		}
		t.Run(scheme, func(t *testing.T) { test(t, endpoint) })
	}
}

// Everybody gets what he has subscribed to, once, whole and in order: small, large and of several frames.
func TestSharedTopics(t *testing.T) {
	overAll(t, func(t *testing.T, endpoint string) {
		h, client := sharing(t, "drop"), newHost(t)
		pub, endpoint := publisher(h, endpoint, map[int]int{zmq.SndHWM: 0})
		topics := [][]string{{""}, {"a"}, {"ab", "a"}, {"b", "large"}, {"nobody says this"}, {"", "a"}}
		var subs []*app.Socket
		for _, wanted := range topics {
			subs = append(subs, subscriber(t, pub, client, endpoint, 0, wanted...))
		}
		large := "large" + strings.Repeat("x", 100000)
		messages := [][]string{
			{"a1"}, {"ab2", "second"}, {"c3"}, {""}, {"b4", large}, {large}, {"b5", "", "third"}, {large, "more"}, {"a6"},
			{"b7", large, large}, {strings.Repeat("a", 300)},
		}
		for range 20 {
			for _, m := range messages {
				pub.Send(m...)
			}
		}
		for i, sub := range subs {
			for range 20 {
				for _, m := range messages {
					for _, topic := range topics[i] {
						if strings.HasPrefix(m[0], topic) {
							sub.Want(m...)
							break
						}
					}
				}
			}
		}
	})
}

// One who takes nothing misses what goes over the marks, which is counted; the others miss nothing.
func TestSharedDrop(t *testing.T) {
	overAll(t, func(t *testing.T, endpoint string) {
		// libzmq looks for credit once in a millisecond or so: that many rounds are under the mark.
		const hwm, burst, rounds = 1000, 25, 400
		h, client := sharing(t, "drop"), newHost(t)
		pub, endpoint := publisher(h, endpoint, map[int]int{zmq.SndHWM: hwm})
		slow := subscriber(t, pub, client, endpoint, 1, "")
		quick := subscriber(t, pub, client, endpoint, 0, "")
		body := strings.Repeat("x", 10000)
		text := func(i int) string { return fmt.Sprint(i, " ", body) }
		for r := range rounds {
			for i := range burst {
				pub.Send(text(r*burst + i))
			}
			for i := range burst {
				quick.Want(text(r*burst + i))
			}
		}
		if stats := h.meta(pub, "stats"); !strings.Contains(stats, `"slow":`) {
			t.Errorf("nothing was dropped: %s", stats)
		}
		for i := range hwm { // it still has those that fitted, from the first one on
			slow.Want(text(i))
		}
	})
}

// With nodrop the publisher waits for the slowest, and for nobody who has gone.
func TestSharedNoDrop(t *testing.T) {
	overAll(t, func(t *testing.T, endpoint string) {
		const hwm = 100
		h, client := sharing(t, "nodrop"), newHost(t)
		pub, endpoint := publisher(h, endpoint, map[int]int{zmq.SndHWM: hwm, optXPubNoDrop: 1})
		slow := subscriber(t, pub, client, endpoint, 1, "")
		quick := subscriber(t, pub, client, endpoint, 0, "")
		body := strings.Repeat("x", 10000)
		text := func(i int) string { return fmt.Sprint(i, " ", body) }
		const most = 100000
		sent, taken, waits := 0, 0, 0
		take := func(n int) {
			for range n {
				quick.Want(text(taken))
				taken++
			}
		}
		for waits < 3 && sent < most {
			switch err := pub.TrySend(false, text(sent)); {
			case err == nil:
				sent++
			case errors.Is(err, syscall.EAGAIN):
				if slow.Want(text(waits)); taken < sent-2*hwm { // what the engine has not given out is not there yet
					take(sent - 2*hwm - taken)
				}
				waits++
			default:
				t.Fatal(err)
			}
		}
		if waits < 3 {
			t.Fatalf("%d messages were sent to one who took %d", sent, waits)
		}
		slow.Forget()
		if err := client.Close(slow.P); err != nil {
			t.Fatal(err)
		}
		for range 10 * hwm {
			if err := pub.TrySend(true, text(sent)); err != nil {
				t.Fatal(err)
			}
			sent++
			if taken < sent-2*hwm {
				take(1)
			}
		}
		take(sent - taken)
		if stats := h.meta(pub, "stats"); strings.Contains(stats, `"slow":`) {
			t.Errorf("messages were dropped: %s", stats)
		}
	})
}

// A publisher hears of topics as libzmq's rules say for one peer who has what all have together.
func TestSharedSubscriptions(t *testing.T) {
	h, client := sharing(t, "drop"), newHost(t)
	endpoint := name("mem")
	pub := h.socket(vtx.XPub)
	h.bind(pub, endpoint)
	first := subscriber(t, pub, client, endpoint, 0, "a")
	second := client.socket(vtx.Sub)
	second.SetString(optSubscribe, "a")
	second.SetString(optSubscribe, "b")
	client.connect(second, endpoint)
	pub.Want("\x01b") // a is not new
	first.SetString(optUnsubscribe, "a")
	first.SetString(optSubscribe, "c")
	pub.Want("\x01c") // nor has it gone
	pub.Send("a1")
	second.Want("a1")
	pub.Send("c1")
	first.Want("c1")
	second.Forget()
	if err := client.Close(second.P); err != nil {
		t.Fatal(err)
	}
	gone := map[string]bool{pub.Recv()[0]: true, pub.Recv()[0]: true}
	if !gone["\x00a"] || !gone["\x00b"] {
		t.Errorf("the publisher heard %v", gone)
	}
	pub.Send("a2")
	pub.Send("c2")
	first.Want("c2")
}

// What is under the mark when a publisher closes its socket, or unbinds it, arrives.
func TestSharedLinger(t *testing.T) {
	for _, how := range []string{"drop", "nodrop"} {
		for _, unbind := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/unbind=%v", how, unbind), func(t *testing.T) {
				overAll(t, func(t *testing.T, endpoint string) {
					const hwm, n = 1000, 5
					h, client := sharing(t, how), newHost(t)
					pub, endpoint := publisher(h, endpoint, map[int]int{zmq.SndHWM: hwm, zmq.Linger: -1})
					var subs []*app.Socket
					for range n {
						subs = append(subs, subscriber(t, pub, client, endpoint, 1, ""))
					}
					body := strings.Repeat("x", 5000)
					for i := range hwm {
						pub.Send(fmt.Sprint(i), body)
					}
					ended := make(chan error)
					go func() {
						if unbind {
							ended <- h.Unbind(pub.P, endpoint)
						} else {
							pub.Forget()
							ended <- h.Close(pub.P)
						}
					}()
					for i := range hwm {
						for _, sub := range subs {
							sub.Want(fmt.Sprint(i), body)
						}
					}
					if err := <-ended; err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// However many subscribers there are, they cost one socket of the context.
func TestSharedCostsOneSocket(t *testing.T) {
	h, client := smallHost(t, 40), newHost(t)
	if err := h.SetOption(nil, "pub.shared", "drop"); err != nil {
		t.Fatal(err)
	}
	endpoint := name("mem")
	pub, _ := publisher(h, endpoint, nil)
	var subs []*app.Socket
	for range 100 {
		subs = append(subs, subscriber(t, pub, client, endpoint, 0, ""))
	}
	pub.Send("to all")
	for _, sub := range subs {
		sub.Want("to all")
	}
}

// Endings of a publisher in the middle of its work, with subscribers that take nothing.
func TestSharedEndings(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(h *host, pub *app.Socket)
	}{
		{"close", func(h *host, pub *app.Socket) {
			pub.Forget()
			if err := h.Close(pub.P); err != nil {
				t.Error(err)
			}
		}},
		{"native close", func(_ *host, pub *app.Socket) { pub.Close() }},
		{"destroy", func(h *host, _ *app.Socket) { h.Destroy() }},
		{"term", func(h *host, pub *app.Socket) { pub.Close(); h.Term() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			overAll(t, func(t *testing.T, endpoint string) {
				within(t, "the end", func() {
					h, client := sharing(t, "drop"), newHost(t)
					pub, endpoint := publisher(h, endpoint, map[int]int{zmq.SndHWM: 10})
					for range 5 {
						subscriber(t, pub, client, endpoint, 1, "")
					}
					body := strings.Repeat("x", 100000)
					for range 300 {
						pub.Send("several", "frames", body, "of", "it")
					}
					c.end(h, pub)
				})
			})
		})
	}
}

// What cannot be is refused, with a reason.
func TestSharedRefusals(t *testing.T) {
	h := sharing(t, "drop")
	pub := h.socket(vtx.Pub)
	pub.Set(zmq.InvertMatching, 1)
	if err := h.Bind(pub.P, name("mem")); !errors.Is(err, vtx.ErrInvalid) || !strings.Contains(err.Error(), "ZMQ_INVERT_MATCHING") {
		t.Errorf("inverted: %v", err)
	}
	if err := h.SetOption(nil, "pub.shared", "1"); !errors.Is(err, vtx.ErrInvalid) || !strings.Contains(err.Error(), "off, drop or nodrop") {
		t.Errorf("a bad value: %v", err)
	}
}
