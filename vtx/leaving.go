package vtx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
)

// How a peer is missed that goes while it waits for our word, and nobody reads what it sends.

// errLeft is why a handshake ends then, as natively.
var errLeft = fmt.Errorf("the peer has left before it was let in: %w", syscall.EPIPE)

// whileThere is ctx until the peer at the other end of conn has gone, which is its cause then. What the peer has sent
// remains to be read. The caller calls stop before it uses conn again.
func whileThere(ctx context.Context, conn net.Conn, poller *zmq.Poller) (_ context.Context, stop func()) {
	there, leave := context.WithCancelCause(ctx)
	if ahead, ok := conn.(*readAhead); ok {
		stop := ahead.begin(ctx, func() { leave(errLeft) })
		return there, func() { stop(); leave(nil) }
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { poller.WatchEnd(int(fd), func() { leave(errLeft) }) })
	}
	if err != nil { // it is closed
		leave(errLeft)
	}
	return there, func() {
		leave(nil)
		if raw != nil {
			raw.Control(func(fd uintptr) { poller.Unwatch(int(fd)) })
		}
	}
}

// readAhead is a connection that has no descriptor: that its peer has gone only reading tells. It keeps what it has read
// so.
type readAhead struct {
	net.Conn
	got []byte // read, and not yet asked for
	err error  // what comes behind it
}

// readableAhead makes one of a connection that needs it.
func readableAhead(conn net.Conn) net.Conn {
	if _, ok := conn.(syscall.Conn); ok {
		return conn
	}
	return &readAhead{Conn: conn}
}

// mostAhead is how much is read ahead, in bytes: who is well-behaved sends nothing before our word.
const mostAhead = 4096

// begin reads until stop is called, which leaves the deadlines as ctx wants them, and calls left if the peer goes.
func (c *readAhead) begin(ctx context.Context, left func()) (stop func()) {
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, mostAhead)
		for len(c.got) < mostAhead && c.err == nil {
			n, err := c.Conn.Read(buf[len(c.got):])
			c.got = append(c.got, buf[len(c.got):][:n]...)
			if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
				return
			}
			if c.err = err; err != nil {
				left()
			}
		}
	})
	return func() {
		c.SetReadDeadline(longAgo)
		reading.Wait()
		c.SetReadDeadline(time.Time{})
		if ctx.Err() != nil { // or it would have no effect any more
			c.SetReadDeadline(longAgo)
		}
	}
}

func (c *readAhead) Read(p []byte) (int, error) {
	if len(c.got) > 0 {
		n := copy(p, c.got)
		c.got = c.got[n:]
		return n, nil
	}
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(p)
}

// CloseWrite ends what this end sends, if the connection can do that.
func (c *readAhead) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
