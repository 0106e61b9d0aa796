package zmtp

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/nacl/box"

	"github.com/libvtx/libvtx/internal/arena"
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
	curveOverhead = len(curveMessage) + shortNonce + box.Overhead + 1
	curveMore     = 1 << 0
	curveCommand  = 1 << 1
)

// curveBox seals and opens with the short-term keys. Sealing and opening are independent of each other.
type curveBox struct {
	shared [keySize]byte // what box.Precompute makes of one end's secret and the other's public key

	sent      uint64 // the nonce that was sent last
	sealNonce [24]byte
	plain     []byte // flags and body on their way into a box

	received  uint64 // the nonce that came last
	openNonce [24]byte
}

func newCurveBox(peer, secret *[keySize]byte, server bool) *curveBox {
	b := new(curveBox)
	box.Precompute(&b.shared, peer, secret)
	ours, theirs := "CurveZMQMESSAGEC", "CurveZMQMESSAGES"
	if server {
		ours, theirs = theirs, ours
	}
	copy(b.sealNonce[:], ours)
	copy(b.openNonce[:], theirs)
	return b
}

// seal makes one of the handshake's boxes, with the nonce before it.
func (b *curveBox) seal(prefix string, content []byte) []byte {
	b.sent++
	counter := binary.BigEndian.AppendUint64(nil, b.sent)
	return box.SealAfterPrecomputation(counter, content, nonce(prefix, counter), &b.shared)
}

// open opens one of the handshake's boxes, with the nonce before it.
func (b *curveBox) open(command, prefix string, sealed reader) ([]byte, error) {
	counter := sealed.take(shortNonce)
	if err := b.count(counter); err != nil {
		return nil, err
	}
	content, ok := box.OpenAfterPrecomputation([]byte{}, sealed, nonce(prefix, counter), &b.shared)
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
	plain := append(append(arena.Grow(b.plain, 1+len(body)), inner), body...)
	b.sent++
	binary.BigEndian.PutUint64(b.sealNonce[16:], b.sent)
	dst = arena.Grow(dst, len(body)+curveOverhead) // else the box would make dst grow by itself only
	dst = append(dst, curveMessage...)
	dst = append(dst, b.sealNonce[16:]...)
	dst = box.SealAfterPrecomputation(dst, plain, &b.sealNonce, &b.shared)
	if b.plain = plain[:0]; cap(plain) > keepBuf {
		arena.Put(plain)
		b.plain = nil
	}
	return dst
}

// Open implements Sealer.
func (b *curveBox) Open(dst, command []byte) (out []byte, flags byte, err error) {
	if len(command) < curveOverhead || string(command[:len(curveMessage)]) != curveMessage {
		return dst, 0, fmt.Errorf("%w: %d bytes are no MESSAGE", ErrProtocol, len(command))
	}
	counter, sealed := command[len(curveMessage):len(curveMessage)+shortNonce], command[len(curveMessage)+shortNonce:]
	if err := b.count(counter); err != nil {
		return dst, 0, err
	}
	copy(b.openNonce[16:], counter)
	// The flags come out before the body, and are not wanted there: they take the place of dst's last byte for
	// a moment, so that the body need not be moved.
	at := len(dst)
	dst = arena.Grow(dst, len(command))
	if at == 0 {
		out, ok := box.OpenAfterPrecomputation(dst, sealed, &b.openNonce, &b.shared)
		if !ok {
			return dst, 0, noBox("MESSAGE", "the box")
		}
		flags, err = outerFlags(out[0])
		return out[:copy(out, out[1:])], flags, err
	}
	last := dst[at-1]
	out, ok := box.OpenAfterPrecomputation(dst[:at-1], sealed, &b.openNonce, &b.shared)
	if !ok {
		return dst, 0, noBox("MESSAGE", "the box")
	}
	flags, err = outerFlags(out[at-1])
	out[at-1] = last
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
