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
	curveOverhead = len(curveMessage) + shortNonce + nacl.Overhead + 1
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

// Seal implements Sealer.
func (b *curveBox) Seal(dst []byte, flags byte, body []byte) []byte {
	inner := flags & flagMore
	if flags&flagCommand != 0 {
		inner |= curveCommand
	}
	b.sent++
	var counter [nacl.CounterSize]byte
	binary.BigEndian.PutUint64(counter[:], b.sent)
	dst = arena.Grow(dst, curveOverhead+len(body)) // else the box would make dst grow by itself only
	dst = append(dst, curveMessage...)
	dst = append(dst, counter[:]...)
	return b.ours.Seal(dst, []byte{inner}, body, &counter)
}

// Open implements Sealer.
func (b *curveBox) Open(dst, command []byte) (out []byte, flags byte, err error) {
	if len(command) < curveOverhead || string(command[:len(curveMessage)]) != curveMessage {
		return dst, 0, fmt.Errorf("%w: %d bytes are no MESSAGE", ErrProtocol, len(command))
	}
	counter, sealed := (*[shortNonce]byte)(command[len(curveMessage):]), command[len(curveMessage)+shortNonce:]
	if err := b.count(counter[:]); err != nil {
		return dst, 0, err
	}
	inner := []byte{0}
	out, ok := b.peers.Open(arena.Grow(dst, len(command)-curveOverhead), inner, sealed, counter)
	if !ok {
		return dst, 0, noBox("MESSAGE", "the box")
	}
	flags, err = outerFlags(inner[0])
	return out, flags, err
}

// outerFlags turns the flags in a box into a frame's.
func outerFlags(inner byte) (flags byte, err error) {
	if inner&^(curveMore|curveCommand) != 0 {
		return 0, fmt.Errorf("%w: flags %#02x in a box", ErrProtocol, inner)
	}
	flags = inner & curveMore
	if inner&curveCommand != 0 {
		flags |= flagCommand
	}
	return flags, nil
}
