package zmtp

import (
	"encoding/binary"

	"github.com/libvtx/libvtx/internal/arena"
)

// largePrefix is how much may stand before a large body, in bytes: an envelope.
const largePrefix = 4 << 10

// largeHead is the length of a frame's head whose size has 8 bytes.
const largeHead = 9

// EncodesLarge says that large bodies may be apart from the rest of a message: EncodeLarge takes them, and if Verbatim,
// they can be written as they are.
func (s *Session) EncodesLarge() bool { return s.Version.Major >= 2 && !s.commandsSubscribe() }

// EncodeLarge is Encode for a message in batch form that ends with the head of its last frame, whose body, of more than
// 255 bytes, is large.
func (s *Session) EncodeLarge(dst, message, large []byte) []byte {
	at := len(message) - largeHead
	return s.appendFrame(s.Encode(dst, message[:at]), message[at]&^flagLong, large)
}

// Large is a frame that the caller of TakeLarge reads. Of the input that begins with its message, Prefix bytes are frames
// before it, and from Begin on there are the first of its Size bytes. Where it is sealed, OpenLarge is next when it is whole,
// and the body will be what comes behind its first Front bytes.
type Large struct {
	Prefix, Begin int
	Size, Front   int
	Sealed        bool
}

// TakeLarge lets the caller read a large body itself, to where it is to stay. in is what Decode has left. ok: that is the
// beginning of a message whose last frame has a body of at least least bytes and has not wholly arrived, or of a sealed frame
// of that size. The caller takes the whole message: Decode goes on behind it.
func (s *Session) TakeLarge(in []byte, least int) (l Large, ok bool) {
	if s.Version.Major < 2 || s.err != nil || len(s.buf) > 0 || s.phantom || s.pos > largePrefix {
		return l, false
	}
	allowed := byte(flagLong)
	if l.Sealed = s.sealer != nil; l.Sealed {
		if s.mistake != nil || s.from+s.pos < len(s.opened) {
			return l, false
		}
		l.Front, allowed = s.sealer.Overhead(), flagLong|flagCommand
	} else {
		l.Prefix = s.pos
	}
	if len(in)-l.Prefix < largeHead {
		return l, false
	}
	head := in[l.Prefix:]
	l.Begin = l.Prefix + largeHead
	l.Size = int(binary.BigEndian.Uint64(head[1:])) // Decode has seen that it is allowed
	if head[0]&^allowed != 0 || head[0]&flagLong == 0 || l.Size-l.Front < least {
		return l, false
	}
	if !l.Sealed {
		s.pos, s.size = 0, 0
	}
	return l, true
}

// OpenLarge opens a sealed frame that TakeLarge gave, where it is. whole: it is the last of a message, whose frames before
// it are prefix, which is valid until the next Decode; otherwise what was in it comes out of that. Errors: as Decode.
func (s *Session) OpenLarge(frame []byte) (prefix []byte, whole bool, err error) {
	flags, body, err := s.sealer.OpenFrame(frame)
	switch {
	case err != nil:
	case flags != 0 || len(s.opened)-s.from > largePrefix:
		if s.opened, err = arena.Grow(s.opened, largeHead+len(body)); err == nil {
			s.opened = appendFrame(s.opened, flags, body)
		}
	case len(body) > s.limit-s.size:
		err = s.tooBig(s.size + len(body))
	default:
		prefix = s.opened[s.from:]
		s.from, s.pos, s.size = len(s.opened), 0, 0
		return prefix, true, nil
	}
	s.err = err
	return nil, false, err
}
