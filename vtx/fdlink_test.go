package vtx

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/libvtx/libvtx/internal/zmq"
)

// A peer that is refused, and resets the connection before it is told so, has the failure to tell it reported as well:
// late, when the descriptor is somebody else's.
func TestRefusedLinkEndsOnce(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	poller, err := zmq.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer poller.Close()
	peer, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	greeting := make([]byte, 64)
	copy(greeting, "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL")
	ready := "\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"
	if _, err := peer.Write(append(append(greeting, 4, byte(len(ready))), ready...)); err != nil {
		t.Fatal(err)
	}
	cfg := &Config{Type: Router, Options: &Options{MaxMsgSize: -1}, m: &Manager{poller: poller}}
	link, err := newStreamLink(context.Background(), conn, cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	peer.(*net.TCPConn).SetLinger(0)
	peer.Close()
	k, ok := link.(*fdLink)
	if !ok {
		t.Skip("the links of " + envPump + "=off are others")
	}
	k.Close(&HandshakeError{Reason: "a ROUTER does not talk to a PUB"})
	<-k.Flushed()
	k.Close(errors.New("what failed could not be written"))
	done := make(chan struct{})
	poller.Post(func() { close(done) })
	<-done
	if k.gone {
		t.Error("it parts twice")
	}
}
