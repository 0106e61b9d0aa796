package zmq

/*
#include <stdlib.h>
#include "batch.h"
*/
import "C"

import (
	"net"
	"unsafe"

	"github.com/libvtx/libvtx/internal/arena"
)

// LargeBody is from how many bytes on a body is worth not being copied.
const LargeBody = C.VTXZ_LARGE

// Large holds a large message body in C's memory, on its way between a socket and a stream. The zero value is empty. It
// belongs to one goroutine at a time.
type Large struct {
	msg *C.zmq_msg_t // where it is libzmq's

	block  arena.Block // where it comes from a stream
	front  int         // bytes before the body
	size   int         // with those
	filled int         // of size
}

// atOnce is how much memory is taken for a body when only its size is known, in bytes. More is taken as it arrives.
const atOnce = 4 << 20

// Begin makes l, which is empty, a body of size bytes, with front bytes before it, that is yet to come. Errors: ENOMEM.
func (l *Large) Begin(front, size int) error {
	block, err := arena.Take(min(front+size, atOnce))
	if err != nil {
		return err
	}
	*l = Large{block: block, front: front, size: front + size}
	return nil
}

// Lacks is how many bytes are yet to come.
func (l *Large) Lacks() int { return l.size - l.filled }

// Room is where the next bytes belong; none where all have come. It doubles: it grows with what has arrived. Errors: ENOMEM.
func (l *Large) Room() ([]byte, error) {
	if have := len(l.block.Bytes()); l.filled == have && l.Lacks() > 0 {
		if err := l.block.Grow(l.filled, min(2*have, l.size)); err != nil {
			return nil, err
		}
	}
	room := l.block.Bytes()
	return room[l.filled:min(len(room), l.size)], nil
}

// Add says that n bytes have come into the room.
func (l *Large) Add(n int) { l.filled += n }

// Fill takes as much of b as belongs to the body. Errors: ENOMEM.
func (l *Large) Fill(b []byte) error {
	for len(b) > 0 && l.Lacks() > 0 {
		room, err := l.Room()
		if err != nil {
			return err
		}
		n := copy(room, b)
		l.Add(n)
		b = b[n:]
	}
	return nil
}

// Full says whether there is a body, be it that it is yet to come.
func (l *Large) Full() bool { return l.msg != nil || l.size > 0 }

// Bytes is the body. It is not to be used after Free or SendLarge.
func (l *Large) Bytes() []byte {
	if l.msg == nil {
		return l.Memory()[l.front:]
	}
	return unsafe.Slice((*byte)(C.zmq_msg_data(l.msg)), int(C.zmq_msg_size(l.msg)))
}

// Memory is a body from a stream, when it has come, with what Begin was to leave before it.
func (l *Large) Memory() []byte { return l.block.Bytes()[:l.filled] }

// Free gives everything back. Idempotent.
func (l *Large) Free() {
	l.block.Free()
	if l.msg != nil {
		C.zmq_msg_close(l.msg)
		C.free(unsafe.Pointer(l.msg))
	}
	*l = Large{}
}

// take takes the body in from over.
func (l *Large) take(from *C.zmq_msg_t) {
	l.block.Free()
	*l = Large{msg: l.message()}
	C.zmq_msg_move(l.msg, from)
}

// Copy makes l, which is empty, share the body of from, which is not; neither may change it any more. Errors: ENOMEM; EFAULT:
// what is in from is no message.
func (l *Large) Copy(from *Large) error {
	if err := from.settle(); err != nil {
		return err
	}
	msg := l.message()
	if rc, err := C.zmq_msg_copy(msg, from.msg); rc == -1 {
		return failed(err)
	}
	l.msg = msg
	return nil
}

// message is where a body is put.
func (l *Large) message() *C.zmq_msg_t {
	if l.msg != nil {
		return l.msg
	}
	msg := (*C.zmq_msg_t)(C.malloc(C.sizeof_zmq_msg_t))
	C.zmq_msg_init(msg)
	return msg
}

// settle makes a body that has come libzmq's. Errors: ENOMEM.
func (l *Large) settle() error {
	if l.msg != nil {
		return nil
	}
	msg := l.message()
	memory := l.block.Yield()
	rc, err := C.vtxz_large_init(msg, memory, C.size_t(l.front), C.size_t(l.size-l.front), (*C.zmq_free_fn)(arena.Freed()))
	*l = Large{msg: msg}
	if rc == -1 {
		return failed(err)
	}
	return nil
}

// SendLarge gives libzmq one message: the whole frames in prefix, and large as the last, which is empty then. false: it
// took none of it; wait for Writable.
func (s *Socket) SendLarge(prefix []byte, large *Large) (bool, error) {
	if err := large.settle(); err != nil {
		return false, err
	}
	s.mu.Lock()
	if s.pipe == nil {
		s.mu.Unlock()
		return false, net.ErrClosed
	}
	attempt := func(look C.int) C.vtxz_moved_t {
		return C.vtxz_send_large(s.pipe, (*C.uchar)(unsafe.SliceData(prefix)), C.size_t(len(prefix)), large.msg, look)
	}
	moved := attempt(1)
	if s.typ == TypeXPub && moved.messages == 0 && moved.error == 0 { // as in send
		again := attempt(0)
		again.events |= moved.events & C.ZMQ_POLLIN
		again.events &^= C.ZMQ_POLLOUT
		moved = again
	}
	s.blocked = moved.messages == 0
	err := s.settle(moved)
	s.mu.Unlock()
	if moved.messages > 0 {
		large.Free()
	}
	if moved.events&C.ZMQ_POLLIN != 0 {
		s.notify()
	}
	return moved.messages > 0, err
}
