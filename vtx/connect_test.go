package vtx_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// Some types connect to an endpoint once, however often they are told to, as libzmq's do; others as often.
func TestConnectTwice(t *testing.T) {
	for typ, c := range map[vtx.SocketType]struct {
		to    vtx.SocketType
		peers int
	}{
		vtx.Dealer: {vtx.Router, 1}, vtx.Sub: {vtx.Pub, 1}, vtx.Pub: {vtx.Sub, 1}, vtx.Req: {vtx.Rep, 1},
		vtx.Push: {vtx.Pull, 2}, vtx.Pull: {vtx.Push, 2}, vtx.XSub: {vtx.XPub, 2}, vtx.Router: {vtx.Dealer, 2},
	} {
		t.Run(typ.String(), func(t *testing.T) {
			h, client := newHost(t), newHost(t)
			s := client.socket(typ)
			bound := h.socket(c.to)
			endpoint := h.bound(bound, "loop")
			h.bind(bound, name("mem"))
			client.connect(s, endpoint)
			client.connect(s, endpoint)
			client.connect(s, h.meta(bound, "endpoint")) // another one
			app.Eventually(t, "connected", func() bool { return client.meta(s, "peers") == fmt.Sprint(c.peers+1) })
			if err := client.Disconnect(s.P, endpoint); err != nil { // all of them
				t.Error(err)
			}
			if err := client.Disconnect(s.P, endpoint); !errors.Is(err, vtx.ErrNotFound) {
				t.Errorf("disconnected once more: %v", err)
			}
			app.Eventually(t, "disconnected", func() bool { return client.meta(s, "peers") == "1" })
			client.connect(s, endpoint) // and again
			app.Eventually(t, "connected again", func() bool { return client.meta(s, "peers") == "2" })
		})
	}
}

// With ZMQ_RECONNECT_IVL -1 or 0 a connection ends with its peer, and the application may connect again.
func TestReconnectOff(t *testing.T) {
	for _, interval := range []int{-1, 0} {
		for typ, to := range map[vtx.SocketType]vtx.SocketType{
			vtx.Push: vtx.Pull, vtx.Pair: vtx.Pair, vtx.Dealer: vtx.Router, vtx.Sub: vtx.Pub, vtx.Req: vtx.Rep, vtx.Router: vtx.Dealer,
		} {
			t.Run(fmt.Sprint(typ, interval), func(t *testing.T) {
				server, client := newHost(t), newHost(t)
				s := client.socket(typ)
				s.Set(zmq.ReconnectIvl, interval)
				endpoint := name("mem")
				for range 3 {
					peer := server.socket(to)
					server.bind(peer, endpoint)
					client.connect(s, endpoint)
					app.Eventually(t, "connected", func() bool { return client.meta(s, "peers") == "1" })
					peer.Forget()
					if err := server.Close(peer.P); err != nil {
						t.Fatal(err)
					}
					app.Eventually(t, "the peer is lost", func() bool { return client.meta(s, "peers") == "0" })
					if err := client.Disconnect(s.P, endpoint); !errors.Is(err, vtx.ErrNotFound) {
						t.Errorf("disconnecting what is lost: %v", err)
					}
				}
			})
		}
	}
}
