// Package app is the application in the tests of Go packages: plain libzmq contexts and sockets, as a C
// program would use them, with time limits so that a test fails instead of hanging. Nothing but tests imports it.
package app

/*
#cgo pkg-config: libzmq
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <zmq.h>

static long long allocated (void)
{
#if defined __GLIBC_PREREQ
#if __GLIBC_PREREQ (2, 33)
    struct mallinfo2 info = mallinfo2 ();
    return (long long) (info.uordblks + info.hblkhd);
#endif
#endif
    return -1;
}
*/
import "C"

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// Patience is how long a call waits before the test is said to hang.
const Patience = 30 * time.Second

// Errors of libzmq that tests ask for.
const (
	ETERM  = syscall.Errno(C.ETERM)
	EAGAIN = syscall.EAGAIN
)

// Context is a libzmq context.
type Context struct{ P unsafe.Pointer }

// NewContext makes a context that is terminated at the end of the test, after its sockets.
func NewContext(t testing.TB) *Context {
	c := &Context{C.zmq_ctx_new()}
	t.Cleanup(c.Term)
	return c
}

// Term terminates the context once; it waits for the sockets.
func (c *Context) Term() {
	if c.P != nil {
		for {
			if rc, err := C.zmq_ctx_term(c.P); rc == 0 || err != syscall.EINTR {
				break
			}
		}
		c.P = nil
	}
}

// SetMaxSockets sets ZMQ_MAX_SOCKETS.
func (c *Context) SetMaxSockets(n int) { C.zmq_ctx_set(c.P, C.ZMQ_MAX_SOCKETS, C.int(n)) }

// Socket is an application's socket. One goroutine at a time.
type Socket struct {
	P    unsafe.Pointer
	t    testing.TB
	once sync.Once
}

// Socket opens a socket with LINGER 0 that is closed at the end of the test.
func (c *Context) Socket(t testing.TB, typ int) *Socket {
	t.Helper()
	p, err := C.zmq_socket(c.P, C.int(typ))
	if p == nil {
		t.Fatalf("zmq_socket: %v", err)
	}
	s := Wrap(t, p)
	s.Set(C.ZMQ_LINGER, 0)
	t.Cleanup(s.Close)
	return s
}

// Wrap uses a socket that somebody else made and closes.
func Wrap(t testing.TB, p unsafe.Pointer) *Socket { return &Socket{P: p, t: t} }

// Close closes the socket, once.
func (s *Socket) Close() { s.once.Do(func() { C.zmq_close(s.P) }) }

// Forget leaves the closing to somebody else.
func (s *Socket) Forget() { s.once.Do(func() {}) }

// Set sets an option of type int.
func (s *Socket) Set(option, value int) {
	s.t.Helper()
	v := C.int(value)
	if rc, err := C.zmq_setsockopt(s.P, C.int(option), unsafe.Pointer(&v), C.size_t(unsafe.Sizeof(v))); rc != 0 {
		s.t.Fatalf("setting option %d to %d: %v", option, value, err)
	}
}

// Set64 sets an option of type int64_t.
func (s *Socket) Set64(option int, value int64) {
	s.t.Helper()
	v := C.int64_t(value)
	if rc, err := C.zmq_setsockopt(s.P, C.int(option), unsafe.Pointer(&v), C.size_t(unsafe.Sizeof(v))); rc != 0 {
		s.t.Fatalf("setting option %d to %d: %v", option, value, err)
	}
}

// SetString sets an option of variable length.
func (s *Socket) SetString(option int, value string) {
	s.t.Helper()
	p := C.CString(value)
	defer C.free(unsafe.Pointer(p))
	if rc, err := C.zmq_setsockopt(s.P, C.int(option), unsafe.Pointer(p), C.size_t(len(value))); rc != 0 {
		s.t.Fatalf("setting option %d to %q: %v", option, value, err)
	}
}

// Native binds or connects without VTX.
func (s *Socket) Native(bind bool, endpoint string) {
	s.t.Helper()
	e := C.CString(endpoint)
	defer C.free(unsafe.Pointer(e))
	var rc C.int
	var err error
	if bind {
		rc, err = C.zmq_bind(s.P, e)
	} else {
		rc, err = C.zmq_connect(s.P, e)
	}
	if rc != 0 {
		s.t.Fatalf("native %s: %v", endpoint, err)
	}
}

// LastEndpoint is ZMQ_LAST_ENDPOINT.
func (s *Socket) LastEndpoint() string {
	var v [256]C.char
	n := C.size_t(len(v))
	C.zmq_getsockopt(s.P, C.ZMQ_LAST_ENDPOINT, unsafe.Pointer(&v), &n)
	return C.GoString(&v[0])
}

// TrySend sends one message and gives libzmq's errno; block decides about DONTWAIT.
func (s *Socket) TrySend(block bool, frames ...string) error {
	for i, f := range frames {
		flags := C.int(0)
		if !block {
			flags = C.ZMQ_DONTWAIT
		}
		if i < len(frames)-1 {
			flags |= C.ZMQ_SNDMORE
		}
		for {
			rc, err := C.zmq_send(s.P, unsafe.Pointer(unsafe.StringData(f)), C.size_t(len(f)), flags)
			if rc >= 0 {
				break
			}
			if err != syscall.EINTR {
				return err
			}
		}
	}
	return nil
}

// SendPart sends a frame of a message that goes on.
func (s *Socket) SendPart(frame string) {
	s.t.Helper()
	if rc, err := C.zmq_send(s.P, unsafe.Pointer(unsafe.StringData(frame)), C.size_t(len(frame)), C.ZMQ_SNDMORE); rc < 0 {
		s.t.Fatalf("sending %.60q: %v", frame, err)
	}
}

// Send sends one message and fails the test if that takes too long.
func (s *Socket) Send(frames ...string) {
	s.t.Helper()
	s.Set(C.ZMQ_SNDTIMEO, int(Patience.Milliseconds()))
	if err := s.TrySend(true, frames...); err != nil {
		s.t.Fatalf("sending %.60q: %v", frames, err)
	}
}

// RecvWithin receives one message; EAGAIN if none comes in time. 0: do not wait.
func (s *Socket) RecvWithin(d time.Duration) ([]string, error) {
	s.Set(C.ZMQ_RCVTIMEO, int(d.Milliseconds()))
	var frames []string
	for {
		var m C.zmq_msg_t
		C.zmq_msg_init(&m)
		rc, err := C.zmq_msg_recv(&m, s.P, 0)
		if rc < 0 {
			C.zmq_msg_close(&m)
			if err == syscall.EINTR {
				continue
			}
			return frames, err
		}
		frames = append(frames, string(C.GoBytes(C.zmq_msg_data(&m), C.int(C.zmq_msg_size(&m)))))
		more := C.zmq_msg_more(&m) != 0
		C.zmq_msg_close(&m)
		if !more {
			return frames, nil
		}
	}
}

// Recv receives one message and fails the test if none comes.
func (s *Socket) Recv() []string {
	s.t.Helper()
	frames, err := s.RecvWithin(Patience)
	if err != nil {
		s.t.Fatalf("receiving: %v", err)
	}
	return frames
}

// Allocated is what this process has taken from malloc and not given back, in bytes; a system may not tell.
func Allocated() (bytes int, told bool) {
	n := int(C.allocated())
	return n, n >= 0
}

// Held is a frame that stays in libzmq's memory until it is closed, by any thread.
type Held struct{ m *C.zmq_msg_t }

// Hold receives one frame, which must be there, without copying it.
func (s *Socket) Hold() Held {
	s.t.Helper()
	h := Held{(*C.zmq_msg_t)(C.malloc(C.sizeof_zmq_msg_t))}
	C.zmq_msg_init(h.m)
	for {
		rc, err := C.zmq_msg_recv(h.m, s.P, C.ZMQ_DONTWAIT)
		if rc >= 0 {
			return h
		}
		if err != syscall.EINTR {
			s.t.Fatalf("receiving: %v", err)
		}
	}
}

func (h Held) String() string {
	return C.GoStringN((*C.char)(C.zmq_msg_data(h.m)), C.int(C.zmq_msg_size(h.m)))
}

// Close gives the frame's memory back.
func (h Held) Close() {
	C.zmq_msg_close(h.m)
	C.free(unsafe.Pointer(h.m))
}

// Want receives one message and compares it.
func (s *Socket) Want(frames ...string) {
	s.t.Helper()
	if got := s.Recv(); fmt.Sprint(len(got), got) != fmt.Sprint(len(frames), frames) {
		s.t.Fatalf("received %.100q, want %.100q", got, frames)
	}
}

// Eventually polls a condition that nothing signals to the application.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not true: %s", what)
		}
	}
}
