package zmtp

import "encoding/binary"

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

// TakeLarge lets the caller read a large body itself, to where it is to stay. in is what Decode has left; if it is
// the beginning of a message whose last frame has a body of least to most bytes and has not wholly arrived, then in
// holds prefix bytes of frames before that one, the frame's head, and from body on the first of its size bytes. The
// caller takes the whole message: Decode goes on behind it.
func (s *Session) TakeLarge(in []byte, least, most int) (prefix, body, size int, ok bool) {
	if s.sealer != nil || s.Version.Major < 2 || s.err != nil || len(s.buf) > 0 || s.phantom || len(in)-s.pos < largeHead {
		return 0, 0, 0, false
	}
	head := in[s.pos:]
	if head[0] != flagLong {
		return 0, 0, 0, false
	}
	size = int(binary.BigEndian.Uint64(head[1:])) // Decode has seen that it is allowed
	if size < least || size > most {
		return 0, 0, 0, false
	}
	prefix = s.pos
	s.pos, s.size = 0, 0
	return prefix, prefix + largeHead, size, true
}
