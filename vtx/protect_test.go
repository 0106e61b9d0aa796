package vtx

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// What a protection has to say by itself does not pile up for a peer that does not read.
func TestProtectionDoesNotPileUp(t *testing.T) {
	c := &carrier{link: &fdLink{}, reads: true}
	const record = 27 // an answer to TLS's KeyUpdate
	for n := 0; ; n += record {
		_, err := c.Write(make([]byte, record))
		if errors.Is(err, errUnread) {
			break
		}
		if n > 1<<20 {
			t.Fatalf("%d bytes are waiting", len(c.link.wire))
		}
	}
	c.reads = false // the link writes a large message at once
	for range 2 {
		if n, err := c.Write(make([]byte, 2*keptArena)); err != nil || n == 0 {
			t.Errorf("what the link writes at a time: %v", err)
		}
	}
}

// slowDeadline is a connection whose deadline takes its time.
type slowDeadline struct {
	net.Conn
	begun, goOn chan struct{}
	set         bool
}

func (c *slowDeadline) SetDeadline(time.Time) error {
	close(c.begun)
	<-c.goOn
	c.set = true
	return nil
}

// Who hangs up with a peer of a handshake that has taken too long sets a deadline of his own, which stays.
func TestNoDeadlineComesLate(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	conn := &slowDeadline{begun: make(chan struct{}), goOn: make(chan struct{})}
	stop := endWith(ctx, conn)
	cancel()
	<-conn.begun
	time.AfterFunc(time.Millisecond, func() { close(conn.goOn) })
	if stop() || !conn.set {
		t.Error("the deadline comes when the handshake is over")
	}
	stop = endWith(context.Background(), conn)
	if !stop() {
		t.Error("it has been stopped in time, and says that it has not")
	}
	stop()
}
