package zmq

/*
#include "batch.h"
*/
import "C"

import "unsafe"

// Reaches says whether what h, a ROUTER of the caller's thread, sends to a peer of that name comes to s, to which nothing
// has been sent yet. It sends an empty message, which s takes. Nobody else is to have the name.
func Reaches(h Handle, name string, s *Socket) bool {
	p := unsafe.Pointer(h)
	if rc, _ := C.zmq_send(p, unsafe.Pointer(unsafe.StringData(name)), C.size_t(len(name)), C.ZMQ_DONTWAIT|C.ZMQ_SNDMORE); rc < 0 {
		return false
	}
	C.zmq_send(p, nil, 0, C.ZMQ_DONTWAIT)
	_, messages, _, err := s.Recv(nil)
	return err == nil && messages > 0
}
