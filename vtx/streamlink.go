package vtx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/internal/zmtp"
)

// streamLink is a Link that speaks ZMTP over a byte stream. One goroutine reads; writing happens under a lock, in
// Send for messages and in short-lived goroutines for the protocol's own commands, so that reading never has to
// wait for writing: two peers that both did would wait for each other.
type streamLink struct {
	conn      net.Conn
	cfg       *Config
	session   *zmtp.Session
	peer      Peer
	listening bool
	started   atomic.Bool

	writing sync.Mutex // guards wire, and the order of what is written
	wire    []byte     // encoded messages, where their wire form is not their batch form

	talking sync.Mutex // guards replies
	replies []reply    // commands that wait to be written

	in   inbox
	beat heartbeat

	once    sync.Once
	err     error         // why it ended; written before done is closed
	done    chan struct{} // closed when it has ended, see Link.Done
	flushed chan struct{} // closed when the operating system has no use for the connection any more
}

// newStreamLink greets the peer at the other end of conn, within ZMQ_HANDSHAKE_IVL. It owns conn.
func newStreamLink(ctx context.Context, conn net.Conn, cfg *Config, listening bool) (*streamLink, error) {
	address := conn.RemoteAddr().String()
	session, err := handshake(ctx, conn, cfg, listening)
	if err == nil {
		var peer Peer
		if peer, err = streamPeer(session, address); err == nil {
			k := &streamLink{
				conn: conn, cfg: cfg, session: session, peer: peer, listening: listening,
				done: make(chan struct{}), flushed: make(chan struct{}),
			}
			k.in.init(conn, session.Rest())
			return k, nil
		}
	}
	conn.Close()
	return nil, handshakeError(cfg.Endpoint.Scheme+"://"+address, err)
}

func handshake(ctx context.Context, conn net.Conn, cfg *Config, listening bool) (*zmtp.Session, error) {
	if d := cfg.Options.HandshakeIvl; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	mechanism, err := cfg.mechanism(ctx, conn, listening)
	if err != nil {
		return nil, err
	}
	session, err := zmtp.Handshake(conn, &zmtp.Config{
		SocketType: cfg.Type.String(),
		Identity:   cfg.Options.RoutingID,
		Metadata:   cfg.metadata(),
		Listening:  listening,
		Mechanism:  mechanism,
		MaxMessage: cfg.Options.MaxMsgSize,
	})
	if !stop() { // the deadline has been set, or is being set
		return nil, errors.Join(ctx.Err(), err)
	}
	return session, err
}

// streamPeer is what the handshake told of the peer.
func streamPeer(s *zmtp.Session, address string) (Peer, error) {
	peer := Peer{Address: address, Type: TypeUnknown, RoutingID: s.Identity, User: s.User}
	if s.SocketType != "" { // a ZMTP 1.0 peer does not tell
		if peer.Type = typeNamed(s.SocketType); peer.Type == TypeUnknown {
			return peer, fmt.Errorf("socket type %s: %w", quoted(s.SocketType), zmtp.ErrProtocol)
		}
	}
	for _, p := range s.Metadata {
		if peer.Properties == nil {
			peer.Properties = make(map[string]string)
		}
		peer.Properties[p.Name] = string(p.Value)
	}
	return peer, nil
}

func (k *streamLink) Peer() Peer            { return k.peer }
func (k *streamLink) Done() <-chan struct{} { return k.done }

func (k *streamLink) Err() error {
	select {
	case <-k.done:
		return k.err
	default:
		return nil
	}
}

// end makes the link's end known, once.
func (k *streamLink) end(err error) {
	k.once.Do(func() {
		k.err = err
		close(k.done)
		k.beat.stop()
	})
}

// Start implements Link.
func (k *streamLink) Start(sink Sink) {
	k.started.Store(true)
	k.write(k.session.Final()) // if it fails, reading fails too
	k.startHeartbeat()
	go k.read(sink)
}

// read delivers what arrives until the stream or the link ends.
func (k *streamLink) read(sink Sink) {
	err := k.deliverAll(sink)
	k.end(err)
	k.part()
}

func (k *streamLink) deliverAll(sink Sink) error {
	for {
		d, err := k.session.Decode(k.in.bytes())
		if d.Count > 0 {
			b := Batch{buf: d.Messages, n: d.Count}
			k.beat.blocked.Store(true) // it is not the peer's fault if we do not hear it now
			failed := sink.Deliver(&b)
			k.beat.blocked.Store(false)
			if failed != nil {
				return failed
			}
		}
		if err != nil {
			k.cfg.Report.Drop(dropReason(err), 1)
			return handshakeError(k.cfg.Endpoint.Scheme+"://"+k.peer.Address, err)
		}
		if err := k.control(&d); err != nil {
			return err
		}
		k.in.take(d.Used)
		if d.Control != zmtp.NoControl { // there may be more behind it
			continue
		}
		if err := k.in.fill(); err != nil {
			return k.lost(err)
		}
		k.beat.hear()
	}
}

// control obeys a command of the protocol's own.
func (k *streamLink) control(d *zmtp.Decoded) error {
	switch d.Control {
	case zmtp.Ping:
		k.expect(d.TTL)
		k.reply(reply{context: string(d.Context)})
	case zmtp.Error:
		return handshakeError(k.cfg.Endpoint.Scheme+"://"+k.peer.Address, &zmtp.RefusedError{Reason: d.Reason})
	}
	return nil
}

func dropReason(err error) DropReason {
	if errors.Is(err, zmtp.ErrTooBig) {
		return DropTooBig
	}
	return DropMalformed
}

// lost says how the stream ended.
func (k *streamLink) lost(err error) error {
	if reason := k.Err(); reason != nil {
		return reason
	}
	if errors.Is(err, io.EOF) {
		return errPeerClosed
	}
	return err
}

var errPeerClosed = errors.New("the peer closed the connection")

// Send implements Link.
func (k *streamLink) Send(b *Batch) error {
	if k.sendAll(b) == nil {
		return nil
	}
	// The peer may have said something before it went: reading sees it through.
	k.conn.SetReadDeadline(time.Now().Add(lastWords))
	if k.Err() != nil {
		k.conn.SetReadDeadline(time.Unix(1, 0)) // Close came first, and wanted it so
	}
	<-k.done
	return k.err
}

// lastWords is how long a peer that takes no more may go on sending.
const lastWords = 5 * time.Second

// encodeChunk bounds what is encoded before it is written, in bytes, and so what is lost with a connection.
const encodeChunk = 64 << 10

func (k *streamLink) sendAll(b *Batch) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	for b.Len() > 0 {
		if k.session.Verbatim() {
			n, err := k.conn.Write(b.buf[b.off:])
			b.sent(n)
			if err != nil {
				return err
			}
			continue
		}
		k.wire = k.session.Encode(k.wire[:0], b.take(encodeChunk))
		if _, err := k.conn.Write(k.wire); err != nil {
			return err
		}
	}
	if cap(k.wire) > keptArena {
		k.wire = nil
	}
	return nil
}

// write writes what is not a message.
func (k *streamLink) write(wire []byte) error {
	if len(wire) == 0 {
		return nil
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	_, err := k.conn.Write(wire)
	return err
}

// Close implements Link.
func (k *streamLink) Close(reason error) {
	if reason == nil {
		reason = errClosing
	}
	k.end(reason)
	k.conn.SetWriteDeadline(time.Unix(1, 0)) // Send returns
	if !k.started.Swap(true) {
		go func() { // nobody reads yet
			k.refuse(reason)
			k.part()
		}()
		return
	}
	k.conn.SetReadDeadline(time.Unix(1, 0)) // read goes on to part
}

// refuse tells the peer why it is not wanted.
func (k *streamLink) refuse(reason error) {
	var h *HandshakeError
	if errors.As(reason, &h) {
		k.conn.SetWriteDeadline(time.Now().Add(lastWords))
		if k.listening {
			k.write(k.session.Refusal(h.Reason))
		} else {
			k.write(k.session.AppendError(nil, h.Reason))
		}
	}
}

// partTime bounds how long a connection may linger in the background with data that the peer has not taken.
const partTime = 30 * time.Second

// part says goodbye: what has been written reaches the peer, and only then the connection is given up. Closing
// it at once, with something unread from the peer, would make the system throw away what the peer has not got yet.
func (k *streamLink) part() {
	defer close(k.flushed)
	defer k.conn.Close()
	half, ok := k.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	k.in.release()
	scrap := make([]byte, 4096)
	for end := time.Now().Add(partTime); time.Now().Before(end) && unsentBytes(k.conn) > 0; {
		k.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := k.conn.Read(scrap); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// unsentBytes is how much of what was written the peer's system has not got yet; 0 where that cannot be known.
func unsentBytes(conn net.Conn) (n int) {
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) })
		}
	}
	return n
}

// Flushed implements Flusher.
func (k *streamLink) Flushed() <-chan struct{} { return k.flushed }

// handshakeError tells a failure in the words of the monitor's events.
func handshakeError(peer string, err error) error {
	var refused *zmtp.RefusedError
	var denied *zmtp.DeniedError
	h := &HandshakeError{Kind: EventHandshakeFailed, Reason: peer + ": " + err.Error(), Err: err}
	switch {
	case errors.As(err, &refused):
		h.Kind, h.Value = EventHandshakeFailedProtocol, protocolUnspecified
		if status, ok := statusCode(refused.Reason); ok {
			h.Kind, h.Value = EventHandshakeFailedAuth, status
		}
	case errors.As(err, &denied):
		h.Kind = EventHandshakeFailedAuth
		h.Value, _ = statusCode(denied.Status)
	case errors.Is(err, zmtp.ErrMechanism):
		h.Kind, h.Value = EventHandshakeFailedProtocol, protocolMechanism
	case errors.Is(err, zmtp.ErrSecurity):
		h.Kind, h.Value = EventHandshakeFailedProtocol, protocolCryptographic
	case errors.Is(err, zmtp.ErrProtocol), errors.Is(err, zmtp.ErrTooBig):
		h.Kind, h.Value = EventHandshakeFailedProtocol, protocolUnspecified
	default:
		h.Value = uint32(errnoOf(err))
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			h.Reason, h.Value = peer+": the handshake took too long", uint32(syscall.ETIMEDOUT)
		}
	}
	return h
}

// What libzmq's EventHandshakeFailedProtocol says (ZMQ_PROTOCOL_ERROR_…).
const (
	protocolUnspecified   = 0x10000000
	protocolCryptographic = 0x11000001
	protocolMechanism     = 0x11000002
)

// statusCode reads a reply of RFC 27: three digits, beginning with 3, 4 or 5.
func statusCode(s string) (uint32, bool) {
	if len(s) != 3 || s[0] < '3' || s[0] > '5' || s[1] < '0' || s[1] > '9' || s[2] < '0' || s[2] > '9' {
		return 0, false
	}
	return uint32(s[0]-'0')*100 + uint32(s[1]-'0')*10 + uint32(s[2]-'0'), true
}
