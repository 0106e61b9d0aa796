package zmtp

import (
	"encoding/binary"
	"fmt"

	"github.com/libvtx/libvtx/internal/printable"
)

// The greeting of ZMTP 3 (RFC 37, connection; RFC 23). Peers that are older see in its first ten bytes the header of
// a long identity frame, and answer in their own version; so it leaves in the pieces that libzmq sends, each when the
// peer has shown that it understands what comes.
//
//	offset  0     1 … 8              9     10      11      12 … 31     32          33 … 63
//	      +-----+------------------+-----+-------+-------+-----------+-----------+---------+
//	      | FF  | identity size +1 | 7F  | major | minor | mechanism | as-server | zero    |
//	      +-----+------------------+-----+-------+-------+-----------+-----------+---------+
//
// ZMTP 2.0 (RFC 15) has there: signature, revision (1), socket type, and then the identity in a frame. ZMTP 1.0
// (RFC 13) begins with the identity's frame: a length, which counts the flags, the flags (zero), the identity.
const (
	signatureSize = 10
	majorAt       = 10
	minorAt       = 11 // in ZMTP 2.0: the socket type
	mechanismAt   = 12
	mechanismSize = 20
	asServerAt    = 32
	greetingSize  = 64
)

// socketTypes are the names of ZMTP 2.0's numbers, which are libzmq's.
var socketTypes = [...]string{"PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "XSUB"}

// greet finds out which version the peer speaks, and sends and reads everything up to the first command (3.x), or
// up to the first message (2.0, 1.0).
func (h *handshake) greet() error {
	h.out = append(h.out, 0xFF)
	h.out = binary.BigEndian.AppendUint64(h.out, uint64(len(h.cfg.Identity)+1))
	h.out = append(h.out, 0x7F)

	if err := h.need(1); err != nil {
		return err
	}
	if h.in[0] != 0xFF {
		return h.unversioned()
	}
	if err := h.need(signatureSize); err != nil {
		return err
	}
	if h.in[signatureSize-1]&1 == 0 {
		return h.unversioned()
	}
	h.out = append(h.out, 3)
	if err := h.need(majorAt + 1); err != nil {
		return err
	}
	switch h.in[majorAt] {
	case 0:
		return h.revision(V1)
	case 1:
		return h.revision(V2)
	}
	return h.version3()
}

// version3 finishes a greeting of ZMTP 3 and agrees on the mechanism.
func (h *handshake) version3() error {
	m := h.cfg.Mechanism
	h.out = append(h.out, V31.Minor)
	var rest [greetingSize - mechanismAt]byte
	copy(rest[:mechanismSize], m.Name())
	if m.Server() {
		rest[asServerAt-mechanismAt] = 1
	}
	h.out = append(h.out, rest[:]...)
	if err := h.need(greetingSize); err != nil {
		return err
	}
	theirs := h.take(greetingSize)
	h.s.Version = V31
	if theirs[majorAt] == 3 {
		h.s.Version.Minor = min(V31.Minor, theirs[minorAt])
	}
	if name := theirs[mechanismAt : mechanismAt+mechanismSize]; string(name) != string(rest[:mechanismSize]) {
		return fmt.Errorf("%w: ours is %s, the peer's %s", ErrMechanism, m.Name(), printable.Quote(string(trimZeros(name))))
	}
	// libzmq never sets the bit, so that two clients are known only by their HELLOs, and a server by its silence.
	if m.Server() && theirs[asServerAt]&1 != 0 {
		return fmt.Errorf("%w: both ends are %s servers", ErrMechanism, m.Name())
	}
	return nil
}

// revision finishes a greeting of ZMTP 2.0. Revision 0, of which there is no RFC, has the same greeting and then
// ZMTP 1.0's frames: this is what libzmq makes of it.
func (h *handshake) revision(v Version) error {
	if err := h.onlyNull(v); err != nil {
		return err
	}
	ours, err := socketNumber(h.cfg.SocketType)
	if err != nil {
		return err
	}
	h.out = append(h.out, ours)
	if err := h.need(minorAt + 1); err != nil {
		return err
	}
	theirs := h.take(minorAt + 1)[minorAt]
	if int(theirs) >= len(socketTypes) {
		return fmt.Errorf("%w: socket type %d", ErrProtocol, theirs)
	}
	h.s.Version, h.s.SocketType = v, socketTypes[theirs]
	if v == V1 {
		h.out = appendFrameV1(h.out, 0, h.cfg.Identity)
		return h.identityV1()
	}
	h.out = appendFrame(h.out, 0, h.cfg.Identity)
	return h.identityV2()
}

// unversioned goes on with a peer whose first bytes are the header of its identity. Ours has gone out already: it
// was the signature.
func (h *handshake) unversioned() error {
	if err := h.onlyNull(V1); err != nil {
		return err
	}
	h.s.Version = V1
	h.s.phantom = h.cfg.SocketType == "PUB" || h.cfg.SocketType == "XPUB"
	h.out = append(h.out, h.cfg.Identity...)
	return h.identityV1()
}

// identityV2 reads the frame with the identity of a ZMTP 2.0 peer.
func (h *handshake) identityV2() error {
	flags, body, err := h.frame(maxIdentity)
	if err != nil {
		return err
	}
	if flags != 0 {
		return fmt.Errorf("%w: flags %#02x on the identity's frame", ErrProtocol, flags)
	}
	h.s.Identity = append([]byte(nil), body...)
	return nil
}

// identityV1 reads the frame with the identity of a ZMTP 1.0 peer.
func (h *handshake) identityV1() error {
	for {
		flags, size, body, want, err := headV1(h.in)
		switch {
		case err != nil:
			return err
		case body > maxIdentity:
			return fmt.Errorf("%w: identity of %d bytes", ErrProtocol, body)
		case size > 0 && flags != 0:
			return fmt.Errorf("%w: flags %#02x on the identity's frame", ErrProtocol, flags)
		case size > 0 && len(h.in) >= size+body:
			h.s.Identity = append([]byte(nil), h.take(size + body)[size:]...)
			return h.flush()
		}
		if size > 0 { // else body may be known, but the flags are not, and may be wrong
			want = size + body
		}
		if err := h.need(want); err != nil {
			return err
		}
	}
}

// onlyNull refuses a version that cannot speak of security, as libzmq does also when the NULL mechanism has
// an authentication to ask.
func (h *handshake) onlyNull(v Version) error {
	if m, ok := h.cfg.Mechanism.(*null); h.cfg.Mechanism.Name() != "NULL" || ok && m.auth != nil {
		return fmt.Errorf("%w: ours is %s, with authentication, and the peer speaks ZMTP %v",
			ErrMechanism, h.cfg.Mechanism.Name(), v)
	}
	return nil
}

func socketNumber(name string) (byte, error) {
	for i, t := range socketTypes {
		if t == name {
			return byte(i), nil
		}
	}
	return 0, fmt.Errorf("%w: ZMTP 2.0 has no number for socket type %s", ErrProtocol, name)
}

func trimZeros(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}
