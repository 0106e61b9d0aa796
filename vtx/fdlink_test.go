package vtx

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
)

// A peer that is refused, and resets the connection before it is told so, has the failure to tell it reported as well:
// late, when the descriptor is somebody else's.
func TestRefusedLinkEndsOnce(t *testing.T) {
	link, peer, poller := greetedLink(t, func(conn net.Conn) net.Conn { return conn })
	peer.SetLinger(0)
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

// A link whose peer takes no more ends when that peer has been silent for a while, which the time that the application
// takes to make room is not.
func TestSilenceOfAPeerThatTakesNoMore(t *testing.T) {
	link, peer, _ := greetedLink(t, func(conn net.Conn) net.Conn { return conn })
	defer peer.Close()
	k, ok := link.(*fdLink)
	if !ok {
		t.Skip("the links of " + envPump + "=off are others")
	}
	k.beat.begun = time.Now().Add(-time.Hour)
	k.beat.block()
	if left := k.heardOut(errUnread); left <= 0 || k.Err() != nil {
		t.Errorf("the application has no room, and the link has ended: %v", k.Err())
	}
	k.beat.unblock()
	if left := k.heardOut(errUnread); left <= 0 || k.Err() != nil {
		t.Errorf("the application has just made room, and the link has ended: %v", k.Err())
	}
	k.beat.heard.Store(0)
	if k.heardOut(errUnread); k.Err() != errUnread {
		t.Errorf("after an hour of silence: %v", k.Err())
	}
	<-k.Flushed()
}

// greetedLink is the link of a ROUTER that has greeted a peer, which then says nothing more; wrap makes the net.Conn that
// the engine gets.
func greetedLink(t *testing.T, wrap func(net.Conn) net.Conn) (Link, *net.TCPConn, *zmq.Poller) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	poller, err := zmq.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(poller.Close)
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
	link, err := newStreamLink(context.Background(), wrap(conn), cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	return link, peer.(*net.TCPConn), poller
}
