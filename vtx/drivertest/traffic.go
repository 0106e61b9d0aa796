package drivertest

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// testFrames: messages arrive as they were sent, whatever their frames.
func testFrames(t *testing.T, f Fixture) {
	server, client := f.host(t), f.host(t)
	rep, endpoint := server.bound(vtx.Rep, f.Bind(t))
	req := client.connected(vtx.Req, endpoint)
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	for _, m := range [][]string{
		{""}, {"x"}, {"", ""}, {"", "", ""}, {"A", "", "B"}, {"", "x"}, {"x", ""},
		{string(binary)}, {"\x00"}, {"\x01topic"}, {strings.Repeat("\xff", 100)},
		{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"},
	} {
		req.Send(m...)
		rep.Want(m...)
		rep.Send(m...)
		req.Want(m...)
	}
}

// testSizes: bodies from one byte to the driver's limit, around each boundary on the way; one more byte is
// refused with an event, and the connection goes on.
func testSizes(t *testing.T, f Fixture) {
	if f.Lossy {
		testSizesOfRequests(t, f)
		return
	}
	server, client := f.host(t), f.host(t)
	pull, endpoint := server.bound(vtx.Pull, f.Bind(t))
	push := client.monitored(vtx.Push)
	client.connect(push.subject, endpoint)
	limit := f.MaxBody
	if limit == 0 {
		limit = 3 << 20
	}
	sizes := []int{1, 2, 10, 100, 252, 253, 254, 255, 256, 257, 500, 1000, 8191, 8192, 65535, 65536, 1 << 20, limit - 1, limit}
	body := strings.Repeat("0123456789abcdef", limit/16+1)
	for _, n := range sizes {
		if n > limit {
			continue
		}
		push.subject.Send(body[:n])
		if got := pull.Recv(); len(got) != 1 || got[0] != body[:n] {
			t.Fatalf("%d bytes: received %d frames, %d bytes", n, len(got), len(got[0]))
		}
	}
	if f.MaxBody > 0 {
		push.subject.Send(body[:limit+1])
		if _, reason := push.wait(vtx.EventRefused); reason == "" {
			t.Error("a message was refused without a reason")
		}
		push.subject.Send("next")
		pull.Want("next")
	}
}

// testSizesOfRequests: where a large message is never lucky enough to arrive at once, requests and replies still do.
func testSizesOfRequests(t *testing.T, f Fixture) {
	server, client := f.host(t), f.host(t)
	rep, endpoint := server.bound(vtx.Rep, f.Bind(t))
	req := client.connected(vtx.Req, endpoint)
	body := strings.Repeat("0123456789abcdef", f.MaxBody/16+1)
	for _, n := range []int{1, 255, 256, 600, 1500, 9000, 65536, f.MaxBody} {
		req.Send(body[:n])
		for _, s := range []*app.Socket{rep, req} {
			if got := s.Recv(); len(got) != 1 || got[0] != body[:n] {
				t.Fatalf("%d bytes: received %d frames, %d bytes", n, len(got), len(got[0]))
			}
			if s == rep {
				rep.Send(body[:n])
			}
		}
	}
}

// testManyRequesters: each reply finds its own requester.
func testManyRequesters(t *testing.T, f Fixture) {
	const clients = 8
	rounds := cmp.Or(f.Requests, 10000)
	if testing.Short() {
		rounds = min(rounds, 500)
	}
	if f.Lossy {
		rounds = 50
	}
	server := f.host(t)
	rep, endpoint := server.bound(vtx.Rep, f.Bind(t))
	const last = "that was all"
	served := make(chan struct{})
	go func() {
		defer close(served)
		for { // not so many times: a request whose peering ended before the answer comes again by the next one
			m, err := rep.RecvWithin(app.Patience)
			if err != nil {
				t.Errorf("server: %v", err)
				return
			}
			if err := rep.TrySend(true, "re: "+m[0]); err != nil {
				t.Errorf("server: %v", err)
				return
			}
			if m[0] == last {
				return
			}
		}
	}()
	var all sync.WaitGroup
	for c := range clients {
		h := f.host(t)
		req := h.connected(vtx.Req, endpoint)
		all.Go(func() {
			for i := range rounds {
				q := fmt.Sprintf("%d.%d", c, i)
				if err := req.TrySend(true, q); err != nil {
					t.Errorf("client %d, request %d: %v", c, i, err)
					return
				}
				m, err := req.RecvWithin(app.Patience)
				if err != nil || len(m) != 1 || m[0] != "re: "+q {
					t.Errorf("client %d, request %d: %q %v", c, i, m, err)
					return
				}
			}
		})
	}
	all.Wait()
	f.host(t).connected(vtx.Req, endpoint).Send(last)
	<-served
}

// testLoadBalancing: a PUSH deals its work out evenly.
func testLoadBalancing(t *testing.T, f Fixture) {
	f.lossless(t)
	const workers, each = 3, 50
	server := f.host(t)
	push, endpoint := server.bound(vtx.Push, f.Bind(t))
	var pulls []*app.Socket
	for range workers {
		pulls = append(pulls, f.host(t).connected(vtx.Pull, endpoint))
	}
	server.peers(push, fmt.Sprint(workers))
	for i := range workers * each {
		push.Send(fmt.Sprint(i))
	}
	for w, pull := range pulls {
		for i := range each {
			if _, err := pull.RecvWithin(app.Patience); err != nil {
				t.Fatalf("worker %d, item %d: %v", w, i, err)
			}
		}
		if m, err := pull.RecvWithin(0); err == nil {
			t.Errorf("worker %d got more than its share: %q", w, m)
		}
	}
}

// testFairQueueing: a PULL does not let one sender keep out another.
func testFairQueueing(t *testing.T, f Fixture) {
	f.lossless(t)
	const senders, each = 3, 50
	server := f.host(t)
	pull, endpoint := server.bound(vtx.Pull, f.Bind(t))
	var pushes []*app.Socket
	for range senders {
		pushes = append(pushes, f.host(t).connected(vtx.Push, endpoint))
	}
	server.peers(pull, fmt.Sprint(senders))
	for c, push := range pushes {
		for range each {
			push.Send(fmt.Sprint(c))
		}
	}
	got := make(map[string]int)
	for range senders * each {
		got[pull.Recv()[0]]++
	}
	for c, n := range got {
		if n != each {
			t.Errorf("sender %s: %d messages, want %d", c, n, each)
		}
	}
}

// testSubscriptions: topics come and go while messages flow.
func testSubscriptions(t *testing.T, f Fixture) {
	server, client := f.host(t), f.host(t)
	pub, endpoint := server.bound(vtx.Pub, f.Bind(t))
	sub := client.connected(vtx.Sub, endpoint)
	sub.SetString(zmq.Subscribe, "a")
	arrive(t, pub, sub, "a0")
	sub.SetString(zmq.Subscribe, "b")
	arrive(t, pub, sub, "b0") // not a late a0: what follows counts on the subscription
	if f.Lossy {
		f.pass(t, pub, sub, "b-end")
		sub.SetString(unsubscribe, "a")
		for range 20 {
			f.pass(t, pub, sub, "b-end") // what was under way before is through
		}
		for range 20 {
			pub.Send("a-gone")
			if got := until(t, pub, sub, "b-end"); got[0] == "a-gone" {
				t.Fatal("received a cancelled topic")
			}
		}
		return
	}
	for i := range 10 {
		pub.Send(fmt.Sprint("a", i))
		pub.Send(fmt.Sprint("c", i)) // nobody asked for it
		pub.Send(fmt.Sprint("b", i))
	}
	pub.Send("b-end")
	for {
		m := sub.Recv()[0]
		if m[0] == 'c' {
			t.Fatalf("received %q without a subscription", m)
		}
		if m == "b-end" {
			break
		}
	}
	// Twice the same topic, and one cancellation less than subscriptions: it still counts.
	sub.SetString(zmq.Subscribe, "a")
	sub.SetString(unsubscribe, "a")
	arrive(t, pub, sub, "a-still")
	sub.SetString(unsubscribe, "a")
	pub.Send("a-gone")
	pub.Send("b-end")
	for m := sub.Recv()[0]; m != "b-end"; m = sub.Recv()[0] {
		if m == "a-gone" {
			t.Fatal("received a cancelled topic")
		}
	}
}

const unsubscribe = zmq.Subscribe + 1

// testBackPressure: a receiver that stops reading stops a reliable sender; over other transports memory
// stays bounded all the same, because what does not fit is dropped and counted.
func testBackPressure(t *testing.T, f Fixture) {
	f.lossless(t)
	server, client := f.host(t), f.host(t)
	pull := server.socket(vtx.Pull)
	pull.Set(zmq.RcvHWM, 100)
	endpoint := server.bind(pull, f.Bind(t))
	push := client.socket(vtx.Push)
	push.Set(zmq.SndHWM, 100)
	client.connect(push, endpoint)
	client.peers(push, "1")
	server.peers(pull, "1")
	// More than the operating system's buffers hold
	const most = 100000
	item := func(i int) string { return fmt.Sprintf("%0400d", i) }
	push.Set(sndTimeo, 1000)
	sent := 0
	for ; sent < most; sent++ {
		if err := push.TrySend(true, item(sent)); errors.Is(err, syscall.EAGAIN) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if !f.Reliable {
		push.Send("end")
		app.Eventually(t, "drops counted", func() bool { return strings.Contains(server.meta(pull, "stats"), `"full":`) })
		return
	}
	if sent == most {
		t.Fatalf("%d messages were taken with nobody reading", sent)
	}
	for i := range sent {
		pull.Want(item(i))
	}
	push.Send("flows again")
	pull.Want("flows again")
}

const sndTimeo = 28 // ZMQ_SNDTIMEO

// testLateJoiner: a server that comes after its client is found, and gets what was sent before it was there.
func testLateJoiner(t *testing.T, f Fixture) {
	server, client := f.host(t), f.host(t)
	probe, endpoint := server.bound(vtx.Rep, f.Bind(t))
	server.close(probe)
	req := client.connected(vtx.Req, endpoint)
	req.Send("anybody?")
	rep, _ := server.bound(vtx.Rep, endpoint)
	rep.Want("anybody?")
	rep.Send("me")
	req.Want("me")
}

// testReconnect: a server goes and comes back, several times; its clients find it again, subscriptions included.
func testReconnect(t *testing.T, f Fixture) {
	client := f.host(t)
	first := f.host(t)
	rep, repAt := first.bound(vtx.Rep, f.Bind(t))
	pub, pubAt := first.bound(vtx.Pub, f.Bind(t))
	req := client.socket(vtx.Req)
	req.Set(zmq.ReconnectIvl, 10)
	client.connect(req, repAt)
	sub := client.socket(vtx.Sub)
	sub.Set(zmq.ReconnectIvl, 10)
	sub.SetString(zmq.Subscribe, "topic")
	client.connect(sub, pubAt)
	for round := range 3 {
		req.Send(fmt.Sprint("round ", round))
		rep.Want(fmt.Sprint("round ", round))
		rep.Send("ok")
		req.Want("ok")
		arrive(t, pub, sub, "topic "+fmt.Sprint(round))
		first.close(rep)
		first.close(pub)
		client.peers(req, "0")
		client.peers(sub, "0")
		first = f.host(t)
		rep, _ = first.bound(vtx.Rep, repAt)
		pub, _ = first.bound(vtx.Pub, pubAt)
	}
}

// testRouterIdentities: a ROUTER knows its peers by printable names, or by those they chose themselves.
func testRouterIdentities(t *testing.T, f Fixture) {
	server, client := f.host(t), f.host(t)
	router, endpoint := server.bound(vtx.Router, f.Bind(t))
	scheme, _, _ := strings.Cut(endpoint, "://")
	seen := make(map[string]bool)
	for i := range 3 {
		dealer := client.connected(vtx.Dealer, endpoint)
		dealer.Send(fmt.Sprint(i))
		var id string
		if !f.Lossy {
			id = router.Recv()[0]
		}
		for f.Lossy && (id == "" || seen[id]) { // the one before has said it more than once
			id = until(t, dealer, router, fmt.Sprint(i))[0]
		}
		if !strings.HasPrefix(id, scheme+"://") || !strings.Contains(id, "#") || seen[id] {
			t.Errorf("peer %d is called %q", i, id)
		}
		seen[id] = true
		if sender := server.meta(router, "sender:"+id); sender == "" || !strings.Contains(id, sender) {
			t.Errorf("sender of %q: %q", id, sender)
		}
	}
	if f.RoutingIDs {
		dealer := client.socket(vtx.Dealer)
		dealer.SetString(zmq.RoutingID, "alice")
		client.connect(dealer, endpoint)
		if f.Lossy {
			for until(t, dealer, router, "hello")[0] != "alice" {
			}
			until(t, router, dealer, "alice", "welcome")
			return
		}
		dealer.Send("hello")
		router.Want("alice", "hello")
		router.Send("alice", "welcome")
		dealer.Want("welcome")
	}
}

// testAddressInUse: the second bind to an address fails and says so; after an unbind it succeeds.
func testAddressInUse(t *testing.T, f Fixture) {
	f.lossless(t)
	h, other := f.host(t), f.host(t)
	a, endpoint := h.bound(vtx.Pull, f.Bind(t))
	b := other.socket(vtx.Pull)
	if err := other.Bind(b.P, endpoint); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("second bind: %v", err)
	}
	if err := h.Unbind(a.P, endpoint); err != nil {
		t.Fatal(err)
	}
	if err := other.Bind(b.P, endpoint); err != nil {
		t.Fatalf("after the unbind: %v", err)
	}
	if err := h.Unbind(a.P, endpoint); !errors.Is(err, vtx.ErrNotFound) {
		t.Fatalf("second unbind: %v", err)
	}
}

// testRebind: one socket serves several endpoints, VTX's and libzmq's, and loses them one by one.
func testRebind(t *testing.T, f Fixture) {
	f.lossless(t)
	server, client := f.host(t), f.host(t)
	pull, one := server.bound(vtx.Pull, f.Bind(t))
	two := server.bind(pull, f.Bind(t))
	pull.Native(true, "tcp://127.0.0.1:*")
	three := pull.LastEndpoint()
	native := client.socket(vtx.Push)
	native.Native(false, three)
	native.Send("native")
	pull.Want("native")
	push := client.connected(vtx.Push, one)
	push.Send("one")
	pull.Want("one")
	if err := client.Disconnect(push.P, one); err != nil {
		t.Fatal(err)
	}
	client.connect(push, two)
	push.Send("two")
	pull.Want("two")
	if err := client.Disconnect(push.P, one); !errors.Is(err, vtx.ErrNotFound) {
		t.Fatalf("disconnecting again: %v", err)
	}
}

// testCloseWithLinger: what was sent before a close arrives, or over an unreliable transport is at least sent.
func testCloseWithLinger(t *testing.T, f Fixture) {
	f.lossless(t)
	server, client := f.host(t), f.host(t)
	pull, endpoint := server.bound(vtx.Pull, f.Bind(t))
	n := 500
	if !f.Reliable {
		n = 50
	}
	for round := range 5 {
		push := client.socket(vtx.Push)
		push.Set(zmq.Linger, 20000)
		client.connect(push, endpoint)
		size := rand.IntN(50)
		for i := range n {
			push.Send(fmt.Sprint(round, ".", i), strings.Repeat("x", size))
		}
		client.close(push)
		for i := range n {
			pull.Want(fmt.Sprint(round, ".", i), strings.Repeat("x", size))
		}
	}
	gone, nowhere := server.bound(vtx.Pull, f.Bind(t))
	server.close(gone)
	absent := client.socket(vtx.Push)
	absent.Set(zmq.Linger, 50)
	client.connect(absent, nowhere)
	absent.Send("into the void")
	client.close(absent) // returns although nobody ever takes the message
	app.Eventually(t, "the unsent message is counted", func() bool {
		total, err := client.Meta(nil, "stats")
		return err == nil && strings.Contains(total, `"unsent":1`)
	})
}
