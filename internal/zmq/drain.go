package zmq

/*
#include "batch.h"
*/
import "C"

import (
	"errors"
	"syscall"
	"unsafe"

	"github.com/libvtx/libvtx/internal/arena"
)

// Drain receives all whole messages that wait on a socket of the caller's thread, framed as by Socket.Recv. What is
// left of a message of which the caller has received the first frames is thrown away.
func Drain(h Handle) (buf []byte, messages int) {
	s := Socket{pipe: C.vtxz_pipe_new(unsafe.Pointer(h))}
	defer C.vtxz_pipe_destroy(s.pipe)
	for more, err := GetInt(h, C.ZMQ_RCVMORE); more != 0 && err == nil; more, err = GetInt(h, C.ZMQ_RCVMORE) {
		if rc, err := C.zmq_msg_recv(&s.pipe.frame, s.pipe.socket, C.ZMQ_DONTWAIT); rc == -1 && err != syscall.EINTR {
			break
		}
	}
	for {
		filled, n, _, err := s.recv(buf, len(buf)+softBatch, 0, nil)
		buf, messages = filled, messages+n
		if err != nil && !errors.Is(err, syscall.ENOMEM) || err == nil && n == 0 {
			return buf, messages
		}
	}
}

// Drop receives the whole messages that wait, and lets go of them: what nobody wants any more is not to fill the memory a
// second time. It returns how many. It ends where it has come to the end once: the application may go on sending.
func (s *Socket) Drop() (messages int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipe == nil {
		return 0
	}
	var buf []byte
	var large Large
	for more := true; more; {
		var n int
		var err error
		buf, n, more, err = s.recv(buf[:0], softBatch, 0, &large)
		messages += n
		large.Free()
		more = more && (err == nil || errors.Is(err, syscall.ENOMEM))
	}
	arena.Put(buf)
	return messages
}

// Release gives the libzmq socket up to the caller, who closes it, when the poller must not see it any more. nil: it
// is closed.
func (s *Socket) Release() Handle {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipe == nil {
		return nil
	}
	h := Handle(s.pipe.socket)
	s.poller.Unwatch(s.fd)
	C.vtxz_pipe_destroy(s.pipe)
	s.pipe = nil
	return h
}
