package vtx

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/libvtx/libvtx/internal/zmtp"
)

// zmtpLink is what the links over byte streams have in common, whoever reads and writes the bytes.
type zmtpLink struct {
	owner     zmtpOwner // the whole link
	cfg       *Config
	session   *zmtp.Session
	peer      Peer
	listening bool
	started   atomic.Bool

	beat    heartbeat
	talking sync.Mutex // guards replies
	replies []reply    // commands that wait to be written

	once    sync.Once
	err     error         // why it ended; written before done is closed
	done    chan struct{} // closed when it has ended, see Link.Done
	flushed chan struct{} // closed when the operating system has no use for the connection any more
}

// zmtpOwner is what zmtpLink needs of the link that it is part of.
type zmtpOwner interface {
	Close(reason error)
	// writeReplies writes the waiting replies, or has them written; it does not wait for the peer.
	writeReplies()
}

func (k *zmtpLink) Peer() Peer            { return k.peer }
func (k *zmtpLink) Done() <-chan struct{} { return k.done }

func (k *zmtpLink) Err() error {
	select {
	case <-k.done:
		return k.err
	default:
		return nil
	}
}

// Flushed implements Flusher.
func (k *zmtpLink) Flushed() <-chan struct{} { return k.flushed }

// end makes the link's end known, once.
func (k *zmtpLink) end(err error) {
	k.once.Do(func() {
		k.err = err
		close(k.done)
		k.beat.stop()
	})
}

// control obeys a command of the protocol's own.
func (k *zmtpLink) control(d *zmtp.Decoded) error {
	switch d.Control {
	case zmtp.Ping:
		k.expect(d.TTL)
		k.reply(reply{context: string(d.Context)})
	case zmtp.Error:
		return handshakeError(k.address(), &zmtp.RefusedError{Reason: d.Reason})
	}
	return nil
}

// malformed is the reason of a link whose peer sent what the protocol does not allow, or more than there is memory for.
func (k *zmtpLink) malformed(err error) error {
	if errors.Is(err, syscall.ENOMEM) {
		return k.noMemory(err)
	}
	reason := DropMalformed
	if errors.Is(err, zmtp.ErrTooBig) {
		reason = DropTooBig
	}
	k.cfg.Report.Drop(reason, 1)
	return handshakeError(k.address(), err)
}

// noMemory is the reason of a link whose peer sent more than there is memory for.
func (k *zmtpLink) noMemory(err error) error {
	k.cfg.Report.Drop(DropTooBig, 1)
	return fmt.Errorf("the peer sent more than there is memory for: %w", err)
}

// lost says how the stream ended.
func (k *zmtpLink) lost(err error) error {
	if reason := k.Err(); reason != nil {
		return reason
	}
	if errors.Is(err, io.EOF) {
		return errPeerClosed
	}
	return err
}

var errPeerClosed = errors.New("the peer closed the connection")

func (k *zmtpLink) address() string { return k.cfg.Endpoint.Scheme + "://" + k.peer.Address }

// goodbye is what is written to a peer that this end does not want; nil if nothing can be said.
func (k *zmtpLink) goodbye(reason error) []byte {
	var h *HandshakeError
	switch {
	case !errors.As(reason, &h):
		return nil
	case k.listening:
		return k.session.Refusal(h.Reason)
	default:
		return k.session.AppendError(nil, h.Reason)
	}
}

// reply is a PING or a PONG that waits to be written. It is encoded when it is its turn, since sealing counts.
type reply struct {
	ping    bool
	ttl     uint16
	context string
}

// maxReplies bounds what waits for a peer that asks and does not read the answers.
const maxReplies = 64

// reply has a command written as soon as nothing else is being written, without waiting for that.
func (k *zmtpLink) reply(r reply) {
	k.talking.Lock()
	if len(k.replies) < maxReplies {
		k.replies = append(k.replies, r)
	}
	k.talking.Unlock()
	k.owner.writeReplies()
}

// takeReplies appends the waiting replies to wire.
func (k *zmtpLink) takeReplies(wire []byte) []byte {
	k.talking.Lock()
	list := k.replies
	k.replies = nil
	k.talking.Unlock()
	for _, r := range list {
		if r.ping {
			wire = k.session.AppendPing(wire, r.ttl, nil)
		} else {
			wire = k.session.AppendPong(wire, []byte(r.context))
		}
	}
	return wire
}

// encodeChunk bounds what is encoded before it is written, in bytes, and so what is lost with a connection.
const encodeChunk = 64 << 10

// unsealed says why nothing can be sent any more; nil: it can.
func (k *zmtpLink) unsealed() error {
	if err := k.session.EncodeErr(); err != nil {
		return fmt.Errorf("there is no memory for what is to be sent: %w", err)
	}
	return nil
}

// encodeSome appends the next of b's messages to wire.
func (k *zmtpLink) encodeSome(wire []byte, b *Batch) []byte {
	framed, large := b.take(encodeChunk)
	if large == nil {
		return k.session.Encode(wire, framed)
	}
	wire = k.session.EncodeLarge(wire, framed, large)
	b.Reset()
	return wire
}
