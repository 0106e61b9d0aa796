package vtx

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watched is a connection that hides its descriptor and tells how it is waited for. Deadlines have no effect on it.
type watched struct {
	*net.TCPConn
	write func() error // before each Write
	mu    sync.Mutex
	until time.Time   // the deadline for reading
	reads chan string // the state of that as each Read begins
}

func (c *watched) SyscallConn() {} // not syscall.Conn's

func (c *watched) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }
func (c *watched) SetWriteDeadline(t time.Time) error { return nil }

func (c *watched) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = t
	return nil
}

// deadline is that for reading: "none", "past" or "to come".
func (c *watched) deadline() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.until.IsZero():
		return "none"
	case c.until.Before(time.Now()):
		return "past"
	default:
		return "to come"
	}
}

func (c *watched) Read(p []byte) (int, error) {
	c.reads <- c.deadline()
	return c.TCPConn.Read(p)
}

func (c *watched) Write(p []byte) (int, error) {
	if c.write != nil {
		if err := c.write(); err != nil {
			return 0, err
		}
	}
	return c.TCPConn.Write(p)
}

// heard is a Sink that gives what it gets to a function.
type heard func(b *Batch) error

func (h heard) Deliver(b *Batch) error    { return h(b) }
func (h heard) TryDeliver(b *Batch) error { return h(b) }

// watchedLink is a link over a watched connection. Its peer has greeted and says "x".
func watchedLink(t *testing.T) (Link, *watched, *net.TCPConn) {
	var conn *watched
	link, peer, _ := greetedLink(t, func(c net.Conn) net.Conn {
		conn = &watched{TCPConn: c.(*net.TCPConn), reads: make(chan string, 1000)}
		return conn
	})
	for len(conn.reads) > 0 { // the handshake's
		<-conn.reads
	}
	if _, err := peer.Write([]byte("\x00\x01x")); err != nil {
		t.Fatal(err)
	}
	return link, conn, peer
}

// The engine closes a link when its sink has ended, and that may have ended the link's reading before. The link goes on
// hearing the peer nevertheless: closing the connection would throw away what the peer has not got yet.
func TestCloseWhileParting(t *testing.T) {
	link, conn, peer := watchedLink(t)
	link.Start(heard(func(*Batch) error { return errClosing }))
	if at := <-conn.reads; at != "none" {
		t.Fatalf("the deadline of the first read is %s", at)
	}
	if at := <-conn.reads; at != "to come" { // it has ended its writing, and waits for the peer to do so
		t.Errorf("the deadline of the parting is %s", at)
	}
	link.Close(errClosing)
	if at := conn.deadline(); at != "to come" {
		t.Errorf("after Close the deadline of the parting is %s", at)
	}
	peer.Close()
	<-link.(Flusher).Flushed()
}

// What came before a peer that takes no more is delivered, however long the application takes: each read has its time.
func TestApplicationSlowerThanLastWords(t *testing.T) {
	link, conn, peer := watchedLink(t)
	conn.write = func() error { return unix.EPIPE }
	link.Start(heard(func(b *Batch) error {
		go func() {
			var b Batch
			b.Append([]byte("y"))
			link.Send(&b)
		}()
		for conn.deadline() == "none" { // Send sets it before it waits
			time.Sleep(time.Millisecond)
		}
		conn.SetReadDeadline(longAgo) // that much time has passed
		b.Reset()
		return nil
	}))
	if at := <-conn.reads; at != "none" {
		t.Fatalf("the deadline of the first read is %s", at)
	}
	if at := <-conn.reads; at != "to come" {
		t.Errorf("the deadline of the read after the delivery is %s", at)
	}
	peer.CloseWrite()
	<-link.Done()
	peer.Close()
	<-link.(Flusher).Flushed()
	if !errors.Is(link.Err(), errPeerClosed) {
		t.Errorf("the link ended with %v", link.Err())
	}
}

// A peer that ends its writing but takes nothing does not keep a Send waiting: nothing that it is told would be answered.
func TestSendToAPeerThatHasEnded(t *testing.T) {
	link, peer, _ := greetedLink(t, func(c net.Conn) net.Conn { return struct{ halfConn }{c.(halfConn)} })
	defer peer.Close()
	link.Start(heard(func(b *Batch) error { b.Reset(); return nil }))
	sent := make(chan error)
	go func() {
		var b Batch
		b.Append(make([]byte, 64<<20)) // more than the system's buffers take
		sent <- link.Send(&b)
	}()
	if _, err := io.ReadFull(peer, make([]byte, 1000)); err != nil { // it has begun
		t.Fatal(err)
	}
	peer.CloseWrite()
	select {
	case err := <-sent:
		if !errors.Is(err, errPeerClosed) {
			t.Errorf("Send says %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("Send waits for ever")
	}
	link.Close(nil)
}

type halfConn interface {
	net.Conn
	CloseWrite() error
}
