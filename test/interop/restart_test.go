package interop

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

// sides runs a test with a stock server in a process of its own and us as the client, and the other way round.
func sides(t *testing.T, test func(t *testing.T, server func(t testing.TB) *child, client library, transport string)) {
	for _, transport := range transports {
		t.Run("libzmq/"+transport+"/their server", func(t *testing.T) {
			test(t, func(t testing.TB) *child { return spawnGo(t, pebbe{}) }, newOurs(t), transport)
		})
		t.Run("libzmq/"+transport+"/our server", func(t *testing.T) {
			test(t, func(t testing.TB) *child { return spawnGo(t, vtxLibrary{}) }, pebbe{}, transport)
		})
	}
}

// TestServerKilled: a server dies under traffic and another comes in its place; its client goes on with that, and
// what comes back is in order and nothing twice.
func TestServerKilled(t *testing.T) {
	sides(t, func(t *testing.T, server func(t testing.TB) *child, client library, transport string) {
		at := endpoint(t, transport)
		serve := func() *child {
			c := server(t)
			router := start(t, c, vtx.Router, nil)
			router.bind(at)
			if err := router.s.(*childSocket).echo(); err != nil {
				t.Fatal(err)
			}
			return c
		}
		c := serve()
		dealer := start(t, client, vtx.Dealer, nil)
		dealer.connect(at)
		sent, last := 0, -1
		send := func(n int) {
			for range n {
				dealer.send(fmt.Sprint(sent), strings.Repeat("x", sent%3000))
				sent++
			}
		}
		took := func(m []string) int {
			i, err := strconv.Atoi(m[0])
			if err != nil || i <= last || len(m) != 2 || len(m[1]) != i%3000 {
				t.Fatalf("after %d came %s", last, brief(m))
			}
			last = i
			return i
		}
		for round := range 3 {
			send(200)
			// Some of the echoes, so that there are messages on their way in both directions
			for range 50 {
				took(dealer.recv())
			}
			c.kill()
			send(200)
			c = serve()
			for back := sent; ; {
				send(1)
				m, err := dealer.s.recv(50 * time.Millisecond)
				if err == nil && took(m) >= back {
					break
				}
				if sent > 500_000 {
					t.Fatalf("round %d: the second server never answered", round)
				}
			}
			// The rest, so that the next round starts with nothing on its way
			for last < sent-1 {
				took(dealer.recv())
			}
		}
	})
}

// TestPublisherKilled: a subscriber's subscriptions reach the publisher that comes in another's place.
func TestPublisherKilled(t *testing.T) {
	sides(t, func(t *testing.T, server func(t testing.TB) *child, client library, transport string) {
		at := endpoint(t, transport)
		sub := start(t, client, vtx.Sub, nil)
		sub.subscribe("topic")
		sub.subscribe("gone")
		sub.connect(at)
		for round := range 3 {
			c := server(t)
			pub := start(t, c, vtx.Pub, nil)
			pub.bind(at)
			publish(pub, sub, fmt.Sprint("topic ", round))
			sub.unsubscribe("gone")
			sub.subscribe(fmt.Sprint("new ", round))
			publish(pub, sub, fmt.Sprint("new ", round))
			pub.send("gone")
			pub.send("topic end")
			skipTo(sub, "topic end", "gone")
			c.kill()
		}
	})
}

// TestSenderKilled: what a sender that dies was sending arrives whole or not at all, and others are not disturbed.
func TestSenderKilled(t *testing.T) {
	message := []string{strings.Repeat("1", 300), strings.Repeat("2", 70000), "3", strings.Repeat("4", 300000), "5"}
	for _, transport := range transports {
		t.Run("libzmq/"+transport, func(t *testing.T) {
			ours := newOurs(t).socket(t, vtx.Pull, nil)
			us, at := &end{t, ours}, endpoint(t, transport)
			us.bind(at)
			good := start(t, pebbe{}, vtx.Push, nil)
			good.connect(at)
			good.send("good")
			us.want("good")
			for range 3 {
				c := spawnGo(t, pebbe{})
				bad := start(t, c, vtx.Push, nil)
				bad.connect(at)
				if err := bad.s.(*childSocket).do("flood", message...); err != nil {
					t.Fatal(err)
				}
				for range 20 {
					us.want(message...)
				}
				c.kill()
				good.send("good")
				for m := us.recv(); m[0] != "good"; m = us.recv() {
					if !slices.Equal(m, message) {
						t.Fatalf("received %s", brief(m))
					}
				}
			}
			// After a message of the good peer there may still be some of the dead one
			good.send("done")
			for m := us.recv(); m[0] != "done"; m = us.recv() {
				if !slices.Equal(m, message) {
					t.Fatalf("received %s", brief(m))
				}
			}
			ours.peers(t, 1)
		})
	}
}
