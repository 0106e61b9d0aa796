package zmtp

import (
	"encoding/binary"
	"fmt"

	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/internal/nacl"
)

// A MESSAGE of CURVE (RFC 26, MESSAGE command):
//
//	+---+---------+---------------+----------+-------+------ … ------+
//	| 7 | MESSAGE | nonce: 8 B    | box: 16 B| flags | body          |
//	+---+---------+---------------+----------+-------+------ … ------+
//	                                          \__ in the box ________/
//	flags: bit 0 MORE, bit 1 COMMAND, which is not where a frame has it; the RFC has no COMMAND, libzmq has
const (
	curveMessage  = "\x07MESSAGE"
	curveSealed   = len(curveMessage) + shortNonce
	curveOverhead = curveSealed + nacl.Overhead + 1
	curveMore     = 1 << 0
	curveCommand  = 1 << 1
)

// curveBox seals and opens with the short-term keys. Sealing and opening are independent of each other.
type curveBox struct {
	shared      *nacl.Key   // of one end's short-term secret and the other's public key
	ours, peers *nacl.Boxes // the MESSAGEs of each end

	sent     uint64 // the nonce that was sent last
	received uint64 // the nonce that came last
}

func newCurveBox(peer, secret *nacl.Key, server bool) (*curveBox, error) {
	shared, err := share("peer's short-term", peer, secret)
	if err != nil {
		return nil, err
	}
	b := &curveBox{shared: shared}
	client, listener := [nacl.PrefixSize]byte([]byte("CurveZMQMESSAGEC")), [nacl.PrefixSize]byte([]byte("CurveZMQMESSAGES"))
	b.ours, b.peers = nacl.NewBoxes(shared, &client), nacl.NewBoxes(shared, &listener)
	if server {
		b.ours, b.peers = b.peers, b.ours
	}
	return b, nil
}

// seal makes one of the handshake's boxes, with the nonce before it.
func (b *curveBox) seal(prefix string, content []byte) []byte {
	b.sent++
	counter := binary.BigEndian.AppendUint64(nil, b.sent)
	return nacl.Seal(counter, content, nonce(prefix, counter), b.shared)
}

// open opens one of the handshake's boxes, with the nonce before it.
func (b *curveBox) open(command, prefix string, sealed reader) ([]byte, error) {
	counter := sealed.take(shortNonce)
	if err := b.count(counter); err != nil {
		return nil, err
	}
	content, ok := nacl.Open([]byte{}, sealed, nonce(prefix, counter), b.shared)
	if !ok {
		return nil, noBox(command, "the box")
	}
	return content, nil
}

// count takes note of a nonce of the peer's. They only ever grow: a box that is repeated, or comes in another's
// place, is somebody else's work.
func (b *curveBox) count(counter []byte) error {
	n := binary.BigEndian.Uint64(counter)
	if n <= b.received {
		return fmt.Errorf("%w: nonce %d after %d", ErrSecurity, n, b.received)
	}
	b.received = n
	return nil
}

// manyBoxes is how many boxes are sealed or opened in one call.
const manyBoxes = 32

// Seal implements Sealer.
func (b *curveBox) Seal(dst, frames []byte) (_ []byte, err error) {
	var boxes [manyBoxes]nacl.Box
	for len(frames) > 0 {
		plain, n := frames, 0
		for ; n < len(boxes) && len(frames) > 0; n++ {
			flags, body, rest := cut(frames)
			box := nacl.Box{Plain: uintptr(len(plain) - len(rest) - len(body)), Size: uintptr(len(body)), Head: innerFlags(flags)}
			if dst, box.Counter, err = b.begin(dst, len(body)); err != nil {
				return dst, err
			}
			box.Sealed = uintptr(len(dst))
			dst = dst[:len(dst)+nacl.Overhead+1+len(body)]
			boxes[n], frames = box, rest
		}
		b.ours.SealAll(dst, plain, boxes[:n])
	}
	return dst, nil
}

// SealFrame implements Sealer.
func (b *curveBox) SealFrame(dst []byte, flags byte, body []byte) ([]byte, error) {
	dst, counter, err := b.begin(dst, len(body))
	if err != nil {
		return dst, err
	}
	return b.ours.Seal(dst, []byte{innerFlags(flags)}, body, &counter), nil
}

// begin appends a MESSAGE's frame up to the box, for which it leaves room.
func (b *curveBox) begin(dst []byte, size int) (_ []byte, counter [nacl.CounterSize]byte, err error) {
	size += curveOverhead
	if dst, err = arena.GrowOwn(dst, largeHead+size); err != nil {
		return dst, counter, err
	}
	b.sent++
	binary.BigEndian.PutUint64(counter[:], b.sent)
	dst = appendHead(dst, 0, size)
	return append(append(dst, curveMessage...), counter[:]...), counter, nil
}

// Overhead implements Sealer.
func (*curveBox) Overhead() int { return curveOverhead }

// Open implements Sealer.
func (b *curveBox) Open(dst, messages []byte) (frames []byte, used int, err error) {
	var boxes [manyBoxes]nacl.Box
	if dst, err = arena.Grow(dst, len(messages)); err != nil { // of a frame everything is shorter when it is open
		return dst, 0, err
	}
	for len(messages) > 0 && err == nil {
		sealed, n, before := messages, 0, used
		for ; n < len(boxes) && len(messages) > 0; n++ {
			_, message, rest := cut(messages)
			box := nacl.Box{Sealed: uintptr(len(sealed) - len(rest) - len(message) + curveSealed)}
			if box.Counter, err = b.message(message); err != nil {
				break
			}
			size := len(message) - curveOverhead
			dst = appendHead(dst, 0, size)
			box.Plain, box.Size = uintptr(len(dst)), uintptr(size)
			dst = dst[:len(dst)+size]
			boxes[n], messages = box, rest
		}
		opened := b.peers.OpenAll(dst, sealed, boxes[:n])
		for i, box := range boxes[:n] {
			at := int(box.Plain) - headSize(int(box.Size))
			if i == opened {
				return dst[:at], used, noBox("MESSAGE", "the box")
			}
			flags, err := outerFlags(box.Head, int(box.Size))
			if err != nil {
				return dst[:at], used, err
			}
			dst[at] |= flags
			used = before + int(box.Sealed+box.Size) + nacl.Overhead + 1
		}
	}
	return dst, used, err
}

// OpenFrame implements Sealer.
func (b *curveBox) OpenFrame(message []byte) (flags byte, body []byte, err error) {
	counter, err := b.message(message)
	if err != nil {
		return 0, nil, err
	}
	inner := []byte{0}
	body, ok := b.peers.OpenInPlace(inner, message[curveSealed:], &counter)
	if !ok {
		return 0, nil, noBox("MESSAGE", "the box")
	}
	flags, err = outerFlags(inner[0], len(body))
	return flags, body, err
}

// message takes note of a MESSAGE's nonce.
func (b *curveBox) message(message []byte) (counter [nacl.CounterSize]byte, err error) {
	if len(message) < curveOverhead || string(message[:len(curveMessage)]) != curveMessage {
		return counter, fmt.Errorf("%w: %d bytes are no MESSAGE", ErrProtocol, len(message))
	}
	copy(counter[:], message[len(curveMessage):])
	return counter, b.count(counter[:])
}

// innerFlags turns a frame's flags into those in a box.
func innerFlags(flags byte) (inner byte) {
	inner = flags & flagMore
	if flags&flagCommand != 0 {
		inner |= curveCommand
	}
	return inner
}

// outerFlags does the opposite, for a frame whose body has size bytes.
func outerFlags(inner byte, size int) (flags byte, err error) {
	if inner&^(curveMore|curveCommand) != 0 {
		return 0, fmt.Errorf("%w: flags %#02x in a box", ErrProtocol, inner)
	}
	flags = inner & curveMore
	if inner&curveCommand != 0 {
		flags |= flagCommand
		if size == 0 { // in front of others it would look like a longer one
			_, _, err = splitCommand(nil)
		}
	}
	return flags, err
}
