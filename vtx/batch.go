package vtx

import (
	"encoding/binary"
	"iter"

	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/internal/zmq"
)

// Batch is a run of whole messages in one piece of memory, framed as on a ZMTP
// connection (RFC 23, framing): the form in which messages cross from libzmq to a link
// and back without a call per message.
//
//	+-------+-----------------+------ … ------+
//	| flags | size: 1 or 8 B  | body          |   one frame
//	+-------+-----------------+------ … ------+
//	flags: bit 0 MORE, bit 1 LONG (size is 8 bytes, big-endian)
//
// The zero Batch is empty and ready to use. A Batch belongs to one goroutine at a time.
type Batch struct {
	buf  []byte
	off  int // start of the first message not yet taken
	n    int // messages from off to the end of buf
	part int // bytes of the first message that a stream has already written, see wrote

	// large, where full, is the last body of the last message, whose head ends buf. Only a batch for a link
	// that knows of it has one.
	large zmq.Large
}

// Frame flags of RFC 23.
const (
	frameMore = 1
	frameLong = 2
)

// Message is one whole message inside a Batch, in its framed form. It is valid as long
// as the Batch is not appended to, reset or handed on.
type Message []byte

// Framed makes a batch of n messages that are framed already, and takes their memory over.
func Framed(buf []byte, n int) Batch { return Batch{buf: buf, n: n} }

// Receive makes b, which is empty, the messages that wait on a socket of the engine's own, and says how many there are.
// Errors: as zmq.Socket.RecvLarge.
func (b *Batch) Receive(s *zmq.Socket) (messages int, err error) {
	b.Reset()
	b.buf, b.n, _, err = s.Recv(trim(b.buf))
	return b.n, err
}

// Offer hands the messages that are left, framed, to take and takes off what that says it took.
func (b *Batch) Offer(take func(framed []byte) (bytes, messages int, err error)) error {
	bytes, messages, err := take(b.buf[b.off:])
	b.off += bytes
	b.n -= messages
	return err
}

// Len is the number of messages left.
func (b *Batch) Len() int { return b.n }

// Size is the number of bytes left, framing included.
func (b *Batch) Size() int { return len(b.buf) - b.off + len(b.large.Bytes()) }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.buf, b.off, b.n, b.part = b.buf[:0], 0, 0, 0
	b.large.Free()
}

// Release empties the batch and gives its memory back, which may be C's. Nobody may use it any more.
func (b *Batch) Release() {
	b.large.Free()
	arena.Put(b.buf)
	*b = Batch{}
}

// Append adds one message of the given frames, copying them. A message has at least one frame.
func (b *Batch) Append(frames ...[]byte) {
	for i, f := range frames {
		b.appendFrame(f, i < len(frames)-1)
	}
	b.n++
}

// AppendFramed adds a copy of n whole messages that stand back to back in their framed form. That they are well formed
// is for the caller to know.
func (b *Batch) AppendFramed(messages []byte, n int) {
	b.buf = arena.Append(b.buf, messages...)
	b.n += n
}

// AppendMessage adds a copy of m, leaving out its first skip frames, and after
// one empty frame if delimiter is set. It is how envelopes are put on and taken off.
// A message with no frames left is not added.
func (b *Batch) AppendMessage(m Message, skip int, delimiter bool) {
	for ; skip > 0 && len(m) > 0; skip-- {
		_, _, m = m.cut()
	}
	if len(m) == 0 {
		return
	}
	if delimiter {
		b.appendFrame(nil, true)
	}
	b.buf = arena.Append(b.buf, m...)
	b.n++
}

func (b *Batch) appendFrame(f []byte, more bool) {
	var flags byte
	if more {
		flags = frameMore
	}
	head := [9]byte{flags, byte(len(f))}
	size := 2
	if len(f) >= 256 {
		head[0] |= frameLong
		binary.BigEndian.PutUint64(head[1:], uint64(len(f)))
		size = len(head)
	}
	b.buf = arena.Append(b.buf, head[:size]...)
	b.buf = arena.Append(b.buf, f...)
}

// Front returns the first message without taking it, or nil.
func (b *Batch) Front() Message {
	if b.n == 0 {
		return nil
	}
	rest := Message(b.buf[b.off:])
	tail := rest
	for more := true; more; {
		more, _, tail = tail.cut()
	}
	return rest[:len(rest)-len(tail)]
}

// Pop takes the first message off and returns it, or nil.
func (b *Batch) Pop() Message {
	m := b.Front()
	if m != nil {
		b.off += len(m)
		b.n--
	}
	return m
}

// take takes messages off the front, at least one and not many more than size bytes. It leaves a last one with a large
// body to the next time, when it is alone: then large is that, and framed ends with its head. Both are valid until the
// batch is reset.
func (b *Batch) take(size int) (framed, large []byte) {
	start, whole := b.off, b.n
	if b.large.Full() {
		whole--
	}
	if whole == 0 {
		b.off, b.n = len(b.buf), 0
		return b.buf[start:], b.large.Bytes()
	}
	for ; whole > 0 && b.off-start < size; whole-- {
		b.Pop()
	}
	return b.buf[start:b.off], nil
}

// unwritten is what is left to be written, in two pieces: all of it, without what has gone of the first message.
func (b *Batch) unwritten() (framed, large []byte) {
	framed, large = b.buf[b.off:], b.large.Bytes()
	if b.part > len(framed) {
		return nil, large[b.part-len(framed):]
	}
	return framed[b.part:], large
}

// wrote takes off the messages that the first n bytes of unwritten complete. A message of which only a part has been
// written stays in front, for the same stream to go on with.
func (b *Batch) wrote(n int) {
	if n += b.part; n == b.Size() {
		b.Reset()
		return
	}
	for b.n > 1 || !b.large.Full() {
		m := b.Front()
		if len(m) > n {
			break
		}
		n -= len(m)
		b.Pop()
	}
	b.part = n
}

// abandon takes the first message off if a part of it has been written: its other half must not follow on another
// connection. What is left is in one piece then, for any link. lost is how many messages there is no memory for.
func (b *Batch) abandon() (lost int) {
	switch {
	case b.part > 0 && b.n == 1:
		b.Reset()
	case b.part > 0:
		b.part = 0
		b.Pop()
	}
	if !b.large.Full() {
		return 0
	}
	defer b.large.Free()
	buf, err := arena.GrowOwn(b.buf, len(b.large.Bytes()))
	if err != nil {
		b.dropLast()
		return 1
	}
	b.buf = append(buf, b.large.Bytes()...)
	return 0
}

// dropLast takes off the last message, of which there is but the beginning: its large body stands apart.
func (b *Batch) dropLast() {
	rest := Batch{buf: b.buf, off: b.off, n: b.n - 1}
	for rest.Pop() != nil {
	}
	b.buf, b.n = b.buf[:rest.off], b.n-1
}

// Frames yields the bodies of the message's frames.
func (m Message) Frames() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(m) > 0 {
			var body []byte
			_, body, m = m.cut()
			if !yield(body) {
				return
			}
		}
	}
}

// Delimited says whether the first of several frames is empty, as in the messages of
// REQ and REP (RFC 28).
func (m Message) Delimited() bool { return len(m) >= 2 && m[0] == frameMore && m[1] == 0 }

// cut splits the first frame off. The framing is the engine's own, so it is well formed.
func (m Message) cut() (more bool, body []byte, rest Message) {
	head, size := 2, uint64(m[1])
	if m[0]&frameLong != 0 {
		head, size = 9, binary.BigEndian.Uint64(m[1:])
	}
	end := uint64(head) + size
	return m[0]&frameMore != 0, m[head:end], m[end:]
}
