package vtx_test

import (
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// When the application sees that a connection has gone, it is lost: it may be connected again at once.
func TestLostBeforeItIsSeen(t *testing.T) {
	server, client := newHost(t), newHost(t)
	s, peer := client.socket(vtx.Dealer), server.socket(vtx.Router)
	s.Set(zmq.ReconnectIvl, -1)
	endpoint := name("mem")
	server.bind(peer, endpoint)
	client.connect(s, endpoint)
	app.Eventually(t, "connected", func() bool { return client.meta(s, "peers") == "1" })
	canSend := func() bool {
		events, err := zmq.Events(zmq.Handle(s.P))
		return err == nil && events&zmq.PollOut != 0
	}
	client.Holding(s.P, func() { // it cannot be noted as lost meanwhile
		peer.Forget()
		go server.Close(peer.P)
		for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if !canSend() {
				t.Fatal("the connection has gone, and is not lost")
			}
		}
	})
	app.Eventually(t, "it has gone", func() bool { return !canSend() })
	client.connect(s, endpoint)
	if err := client.Disconnect(s.P, endpoint); err != nil {
		t.Errorf("what has just been connected: %v", err)
	}
}
