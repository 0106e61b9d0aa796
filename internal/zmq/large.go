package zmq

/*
#include <stdlib.h>
#include "batch.h"
#include "spare.h"
*/
import "C"

import (
	"net"
	"unsafe"
)

// LargeBody is from how many bytes on a body is worth not being copied.
const LargeBody = C.VTXZ_LARGE

// Large holds a large message body in libzmq's memory, on its way between a socket and a stream. The zero value is
// empty. It belongs to one goroutine at a time.
type Large struct {
	msg   *C.zmq_msg_t
	full  bool
	front int
}

// Alloc makes room for a body of size bytes, and for front bytes before it. The system gives the memory as it is written to.
// Errors: ENOMEM.
func (l *Large) Alloc(front, size int) error {
	if rc, err := C.vtxz_large_init(l.message(), C.size_t(front), C.size_t(size)); rc == -1 {
		return failed(err)
	}
	l.full, l.front = true, front
	return nil
}

// Full says whether there is a body.
func (l *Large) Full() bool { return l.full }

// Bytes is the body. It is libzmq's memory: not to be used after Free or SendLarge.
func (l *Large) Bytes() []byte {
	if !l.full {
		return nil
	}
	return unsafe.Slice((*byte)(C.zmq_msg_data(l.msg)), int(C.zmq_msg_size(l.msg)))
}

// Memory is the body with what Alloc was to leave before it, as long as nobody else has seen it.
func (l *Large) Memory() []byte {
	if !l.full {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Add(C.zmq_msg_data(l.msg), -l.front)), l.front+int(C.zmq_msg_size(l.msg)))
}

// Free gives everything back. Idempotent.
func (l *Large) Free() {
	if l.msg != nil {
		C.zmq_msg_close(l.msg)
		C.free(unsafe.Pointer(l.msg))
		*l = Large{}
	}
}

// take takes the body in from over.
func (l *Large) take(from *C.zmq_msg_t) {
	C.zmq_msg_move(l.message(), from)
	l.full, l.front = true, 0
}

// Copy makes l, which is empty, share the body of from, which is not; neither may change it any more. Errors: EFAULT: what
// is in from is no message.
func (l *Large) Copy(from *Large) error {
	if rc, err := C.zmq_msg_copy(l.message(), from.msg); rc == -1 {
		return failed(err)
	}
	l.full, l.front = true, 0
	return nil
}

// message is where a body is put.
func (l *Large) message() *C.zmq_msg_t {
	if l.msg == nil {
		l.msg = (*C.zmq_msg_t)(C.malloc(C.sizeof_zmq_msg_t))
		C.zmq_msg_init(l.msg)
	}
	return l.msg
}

// SendLarge gives libzmq one message: the whole frames in prefix, and large as the last, which is empty then. false: it
// took none of it; wait for Writable.
func (s *Socket) SendLarge(prefix []byte, large *Large) (bool, error) {
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

// kept is how many bytes of memory for bodies wait for the next ones, in this process.
func kept() int { return int(C.vtxz_spare_kept()) }

// mostKept bounds that.
const mostKept = C.VTXZ_SPARE_MOST
