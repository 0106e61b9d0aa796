package vtx_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// lostPair is a PAIR that has lost its peer, which was at endpoint.
func lostPair(t *testing.T) (client *host, s *app.Socket, endpoint string) {
	server, client := newHost(t), newHost(t)
	s = client.socket(vtx.Pair)
	s.Set(zmq.ReconnectIvl, -1)
	s.Set(zmq.SndHWM, 1)
	endpoint = name("mem")
	peer := server.socket(vtx.Pair)
	server.bind(peer, endpoint)
	client.connect(s, endpoint)
	app.Eventually(t, "connected", func() bool { return client.meta(s, "peers") == "1" })
	peer.Forget()
	server.Close(peer.P)
	app.Eventually(t, "lost", func() bool {
		events, err := zmq.Events(zmq.Handle(s.P))
		return client.meta(s, "peers") == "0" && err == nil && events&zmq.PollOut == 0
	})
	return client, s, endpoint
}

// A PAIR that has another peer, which takes nothing at the moment, is not connected, and still has what that peer sent.
func TestPairHasAnotherPeer(t *testing.T) {
	client, s, endpoint := lostPair(t)
	native := client.socket(vtx.Pair)
	native.Set(zmq.RcvHWM, 1)
	at := "inproc://native"
	native.Native(true, at)
	app.Eventually(t, "the native peer is there", func() bool {
		s.Native(false, at)
		both := zmq.PollOut
		for _, end := range []*app.Socket{native, s, native} {
			events, _ := zmq.Events(zmq.Handle(end.P))
			both &= events
		}
		if both != 0 {
			return true
		}
		zmq.Disconnect(zmq.Handle(s.P), at)
		return false
	})
	for i := range 5 {
		native.Send(fmt.Sprint(i))
	}
	for s.TrySend(false, "fills it") == nil {
	}
	if err := client.Connect(s.P, endpoint); !errors.Is(err, syscall.EISCONN) {
		t.Errorf("connecting beside another peer: %v", err)
	}
	for i := range 5 {
		s.Want(fmt.Sprint(i))
	}
}
