package vtx

import "github.com/libvtx/libvtx/internal/arena"

// inbox is what has arrived on a stream and not yet been understood. While there is nothing it need hold no
// memory: a thousand idle peerings wait with little or none.
type inbox struct {
	buf []byte
	off int // start of what is not taken yet
}

// inboxSize is the room for one read, in bytes; larger messages make more as they arrive.
const inboxSize = 128 << 10

// begin starts with what somebody else has read already.
func (in *inbox) begin(rest []byte) {
	if len(rest) > 0 {
		in.buf = append(firstRoom(), rest...)
	}
}

// firstRoom is the memory of one read, of which there is always some.
func firstRoom() []byte {
	b, err := arena.Get(inboxSize)
	if err != nil {
		panic(err)
	}
	return b
}

func (in *inbox) bytes() []byte { return in.buf[in.off:] }
func (in *inbox) size() int     { return len(in.buf) - in.off }
func (in *inbox) take(n int)    { in.off += n }

// add says that n bytes have been read into the room.
func (in *inbox) add(n int) { in.buf = in.buf[:len(in.buf)+n] }

// release gives the memory back. What was in it is forgotten.
func (in *inbox) release() {
	arena.Put(in.buf)
	in.buf, in.off = nil, 0
}

// room is where to read to. If nothing is there and the last read did not fill what it had, it is small bytes, for a
// reader that waits; 0: for one that knows that something has come. It doubles for a message that does not fit: it
// grows with what has arrived, not with what a length field promises. Errors: ENOMEM.
func (in *inbox) room(small int) ([]byte, error) {
	left := in.size()
	full := len(in.buf) == cap(in.buf)
	switch {
	case in.buf == nil, left == 0 && !full && small > 0 && cap(in.buf) != small:
		in.release()
		if small > 0 {
			in.buf = make([]byte, 0, small)
		} else {
			in.buf = firstRoom()
		}
	case cap(in.buf) < inboxSize && full:
		in.buf, in.off = append(firstRoom(), in.bytes()...), 0
	case left > cap(in.buf)/2:
		in.compact()
		var err error
		if in.buf, err = arena.Grow(in.buf, cap(in.buf)); err != nil {
			return nil, err
		}
	case in.off > 0:
		in.compact()
	}
	return in.buf[len(in.buf):cap(in.buf)], nil
}

// compact moves what is left to the front.
func (in *inbox) compact() {
	if in.off > 0 {
		in.buf, in.off = in.buf[:copy(in.buf, in.bytes())], 0
	}
}
