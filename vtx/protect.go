package vtx

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// SecureConn is what a stream driver returns in the place of a net.Conn whose bytes are to be protected, as by TLS. The
// engine has it shake hands within ZMQ_HANDSHAKE_IVL, before anything of ZMTP is said.
type SecureConn struct {
	// Conn is the connection underneath.
	net.Conn
	// Protect shakes hands with the peer over conn, which stands for the connection underneath, and returns the protected
	// bytes and who the peer is. An error that is a *HandshakeError says what kind of failure it is and names no peer;
	// so may an error of Read, where a peer can refuse late.
	Protect func(ctx context.Context, conn net.Conn) (Protected, Identity, error)
}

// Protected is a stream on another one. One goroutine uses it at a time, and never with deadlines.
type Protected interface {
	// Read reads from the stream underneath until there is something to return. A net.Error of that stream whose Temporary
	// says true is returned, and does no harm: the next Read goes on where this one stopped.
	// Write writes nothing behind what it says it has written.
	io.ReadWriter
	// CloseWrite tells the peer that no more will come.
	CloseWrite() error
}

// Identity is what a transport has established of a peer, in contrast to what the peer says of itself.
type Identity struct {
	// Mechanism and Credentials are what the application's ZAP handler is asked (RFC 27). Without credentials it is
	// not asked.
	Mechanism   string
	Credentials [][]byte
	// Facts are told by vtx_getmeta. Their names start with the scheme and a dot.
	Facts map[string]string
}

// hangUpTime is how long a peer with which the handshake failed may take to read why.
const hangUpTime = 2 * time.Second

// hangUp closes the connection of a handshake that failed. Closed at once, with something unread from the peer, it would
// be reset, and the peer would not learn what we have said last. ctx ends the courtesy.
func hangUp(ctx context.Context, conn net.Conn) {
	conn = underneath(conn)
	defer conn.Close()
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || ctx.Err() != nil || half.CloseWrite() != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	conn.SetDeadline(time.Now().Add(hangUpTime))
	io.CopyN(io.Discard, conn, maxMove)
}

// underneath is the connection that a driver has made a *LoginConn or a *SecureConn of.
func underneath(conn net.Conn) net.Conn {
	if login, ok := conn.(*LoginConn); ok {
		conn = login.Conn
	}
	if secure, ok := conn.(*SecureConn); ok {
		conn = secure.Conn
	}
	return conn
}

// endWith ends conn's reading and writing when ctx ends. That has been done, or will not be, when stop returns: a deadline
// that is set after it stays.
func endWith(ctx context.Context, conn net.Conn) (stop func() (before bool)) {
	over := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(over)
		conn.SetDeadline(longAgo)
	})
	return func() bool {
		if cancel() {
			close(over)
			return true
		}
		<-over
		return false
	}
}

// carrier is the connection underneath a protected stream: during the handshake the driver's net.Conn, and then
// the descriptor of a link, where nothing waits. The link's lock writing is held then.
type carrier struct {
	net.Conn
	link  *fdLink // nil during the handshake
	in    inbox   // read, and not yet asked for: one call of the system's serves several records
	empty bool    // the socket has nothing more to read until it says so
	reads bool    // what is written is the protection's own answer to what it reads
}

// errAgain is a carrier's word for EAGAIN.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "nothing there now" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

func (c *carrier) Read(p []byte) (int, error) {
	if c.link == nil {
		return c.Conn.Read(p)
	}
	if c.in.size() == 0 {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.in.bytes())
	c.in.take(n)
	return n, nil
}

// fill reads once. While the socket has nothing an idle peering holds no memory here.
func (c *carrier) fill() error {
	if c.empty {
		c.in.release()
		return errAgain
	}
	room, err := c.in.room(0)
	if err != nil {
		return err
	}
	n, full, err := readNow(c.link.fd, room, nil)
	c.in.add(n)
	c.empty = !full && !c.link.last
	switch {
	case err == unix.EAGAIN:
		c.in.release()
		return errAgain
	case n == 0 && err == nil:
		return io.EOF
	}
	return err
}

// errUnread is for a peer that has the protection answer again and again, as TLS does a KeyUpdate (RFC 8446, section
// 4.6.3), and does not read the answers.
var errUnread = errors.New("the peer asks for more than it reads")

// Write writes to the link's buffer, which the link itself fills only when it is empty.
func (c *carrier) Write(p []byte) (int, error) {
	if c.link == nil {
		return c.Conn.Write(p)
	}
	if c.reads && len(c.link.wire) > keptArena {
		return 0, errUnread
	}
	c.link.wire = append(c.link.wire, p...)
	return len(p), nil
}

// shield is a protected stream on a carrier.
type shield struct {
	Protected
	carrier *carrier
}

// read fills p and then q with what has come; full: there may be more. EAGAIN: nothing has.
func (s *shield) read(p, q []byte) (n int, full bool, err error) {
	s.carrier.reads = true
	defer func() { s.carrier.reads = false }()
	for _, part := range [2][]byte{p, q} {
		for len(part) > 0 {
			got, err := s.Read(part)
			n += got
			part = part[got:]
			switch {
			case err == errAgain && n == 0:
				return 0, false, unix.EAGAIN
			case err == errAgain:
				return n, false, nil
			case err != nil && n > 0:
				return n, true, nil // it will be said again
			case err == io.EOF:
				return 0, false, nil
			case err != nil:
				return 0, false, err
			}
		}
	}
	return n, true, nil
}

// shieldedConn is a protected stream that cannot be taken from the net.Conn underneath.
type shieldedConn struct {
	net.Conn
	Protected
}

func (c shieldedConn) Read(p []byte) (int, error)  { return c.Protected.Read(p) }
func (c shieldedConn) Write(p []byte) (int, error) { return c.Protected.Write(p) }
