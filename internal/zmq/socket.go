package zmq

/*
#include <stdlib.h>
#include "batch.h"
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/internal/arena"
)

// Socket is a libzmq socket of the engine's own. It is safe for use by several goroutines, one of which
// typically receives and another sends: a lock gives each call the socket for its duration, and what one of
// them learns of the socket's state is passed on to the other. No call blocks.
type Socket struct {
	typ    int
	poller *Poller
	fd     int // ZMQ_FD

	mu       sync.Mutex
	pipe     *C.vtxz_pipe_t // nil once closed
	blocked  bool           // Send left something over and waits for Writable
	most     int            // messages that come at a time; 0 = no limit
	readable chan struct{}
	writable chan struct{}

	prompt atomic.Pointer[func()] // called instead of signalling readable
	room   atomic.Pointer[func()] // called instead of signalling writable
}

const (
	// softBatch ends a batch at the first message that reaches it, in bytes.
	softBatch = 256 << 10
	// firstBatch is the room a batch starts with; most never need more.
	firstBatch = 64 << 10
)

// Open makes a socket of the given type in ctx and watches it with poller.
func Open(ctx unsafe.Pointer, typ int, poller *Poller) (*Socket, error) {
	h, err := NewHandle(ctx, typ)
	if err != nil {
		return nil, err
	}
	fd, err := GetInt(h, C.ZMQ_FD)
	if err == nil {
		// Closing must never wait: what libzmq has been given, the other end can read.
		err = SetInt(h, Linger, 0)
	}
	if err != nil {
		CloseHandle(h)
		return nil, err
	}
	s := &Socket{
		typ:      typ,
		poller:   poller,
		fd:       fd,
		pipe:     C.vtxz_pipe_new(unsafe.Pointer(h)),
		readable: make(chan struct{}, 1),
		writable: make(chan struct{}, 1),
	}
	// Edge-triggered, since what makes the descriptor readable is for another goroutine to take.
	if err := poller.watch(fd, unix.EPOLLIN|unix.EPOLLET, func(uint32) { s.stirred() }); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Readable is signalled when there may be something to receive, and whenever else libzmq stirs: the
// receiver then calls Recv until it gives nothing.
func (s *Socket) Readable() <-chan struct{} { return s.readable }

// Prompt has the poller call f, on its own goroutine, where it would signal Readable: for a receiver that
// never blocks, and saves the switch to another thread. Send calls it too when it finds something to receive.
// nil ends that; a call may still be running then.
func (s *Socket) Prompt(f func()) {
	if f == nil {
		s.prompt.Store(nil)
	} else {
		s.prompt.Store(&f)
	}
}

// Room has the poller call f, on its own goroutine, where it would signal Writable. nil ends that; a call may still
// be running then.
func (s *Socket) Room(f func()) {
	if f == nil {
		s.room.Store(nil)
	} else {
		s.room.Store(&f)
	}
}

// stirred is called by the poller.
func (s *Socket) stirred() {
	if f := s.room.Load(); f != nil {
		(*f)()
	} else {
		signal(s.writable)
	}
	s.notify()
}

// freed tells the sender that it may try again. The lock may be held, and the sender may be the poller.
func (s *Socket) freed() {
	if f := s.room.Load(); f != nil {
		s.poller.Post(*f)
	} else {
		signal(s.writable)
	}
}

// notify tells the receiver that there may be something for it.
func (s *Socket) notify() {
	if f := s.prompt.Load(); f != nil {
		(*f)()
		return
	}
	signal(s.readable)
}

// Stir signals Readable, for a prompt receiver that leaves the rest to a goroutine.
func (s *Socket) Stir() { signal(s.readable) }

// Writable is signalled when a Send that left something over may be tried again.
func (s *Socket) Writable() <-chan struct{} { return s.writable }

// Recv appends the waiting messages to buf, framed as on a ZMTP connection, and returns it with their
// number. None is not an error. At most about 256 KiB, or one message, come at a time; then more says that there
// may be others, for which nothing will signal Readable.
func (s *Socket) Recv(buf []byte) (_ []byte, messages int, more bool, err error) {
	return s.RecvLarge(buf, nil)
}

// Limit bounds how many messages come at a time; 0 = no limit.
func (s *Socket) Limit(messages int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most = messages
}

// RecvLarge does so, but for a large body that ends the last message: large, which is empty, takes that over,
// and buf ends with the head of its frame. Errors: ENOMEM: the next message was too large for the memory that there is, and
// is lost; ETERM.
func (s *Socket) RecvLarge(buf []byte, large *Large) (_ []byte, messages int, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipe == nil {
		return buf, 0, false, net.ErrClosed
	}
	look := C.int(0)
	if s.blocked { // receiving may make room for the sender
		look = 1
	}
	for {
		buf, messages, more, err = s.recv(buf, softBatch, look, large)
		if messages > 0 {
			s.poller.moved.Add(int64(messages))
			if !errors.Is(err, syscall.ENOMEM) { // another will be there again at the next call
				err = nil
			}
			return buf, messages, more, err
		}
		if err != nil || !more {
			return buf, 0, false, err
		}
	}
}

// recv is one receiving call into libzmq, with as much room as it turns out to need. Where there is no memory for a message,
// that message is lost; what came before it is there even then. The lock is held.
func (s *Socket) recv(buf []byte, soft int, look C.int, large *Large) (_ []byte, messages int, more bool, err error) {
	if cap(buf) == 0 {
		buf = make([]byte, 0, firstBatch)
	}
	start, apart := len(buf), C.int(0)
	if large != nil {
		apart = 1
	}
	for {
		room := buf[:cap(buf)]
		moved := C.vtxz_recv(s.pipe, (*C.uchar)(unsafe.SliceData(room)), C.size_t(len(buf)), C.size_t(len(room)),
			C.size_t(soft), C.size_t(max(s.most-messages, 0)), look, apart)
		if moved.large != 0 {
			large.take(&s.pipe.large)
		}
		buf = room[:moved.bytes]
		messages += int(moved.messages)
		if moved.want == 0 {
			return buf, messages, moved.events&C.ZMQ_POLLIN != 0, s.settle(moved)
		}
		if buf, err = arena.GrowOwn(buf, max(cap(buf), int(moved.want))); err != nil {
			C.vtxz_skip(s.pipe)
			return buf[:start+sizeOf(buf[start:], messages)], messages, true, err
		}
	}
}

// sizeOf is the size of the first messages in framed.
func sizeOf(framed []byte, messages int) (size int) {
	for messages > 0 {
		head, body := 2, int(framed[size+1])
		if framed[size]&2 != 0 {
			head, body = 9, int(binary.BigEndian.Uint64(framed[size+1:]))
		}
		if framed[size]&1 == 0 {
			messages--
		}
		size += head + body
	}
	return size
}

// Send gives the whole messages in buf to libzmq until it takes no more, and returns how many bytes and
// messages it took. Less than all is not an error: wait for Writable. If libzmq has something to receive then,
// a Prompt receiver is called before Send returns.
func (s *Socket) Send(buf []byte) (taken, messages int, err error) {
	moved, err := s.send(buf)
	if moved.events&C.ZMQ_POLLIN != 0 {
		s.notify()
	}
	return int(moved.bytes), int(moved.messages), err
}

func (s *Socket) send(buf []byte) (C.vtxz_moved_t, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipe == nil {
		return C.vtxz_moved_t{}, net.ErrClosed
	}
	moved := C.vtxz_send(s.pipe, (*C.uchar)(unsafe.SliceData(buf)), C.size_t(len(buf)), 1)
	if s.typ == TypeXPub && int(moved.bytes) < len(buf) && moved.error == 0 {
		// An XPUB shows POLLOUT even while it refuses, so that only the descriptor can tell when to try
		// again; and looking at the events may just have swallowed that. So the last thing done is an attempt
		// with no look behind it: what makes room later wakes the descriptor.
		rest := buf[moved.bytes:]
		again := C.vtxz_send(s.pipe, (*C.uchar)(unsafe.SliceData(rest)), C.size_t(len(rest)), 0)
		again.events |= moved.events & C.ZMQ_POLLIN
		again.bytes += moved.bytes
		again.messages += moved.messages
		moved = again
		moved.events &^= C.ZMQ_POLLOUT
	}
	s.blocked = int(moved.bytes) < len(buf)
	s.poller.moved.Add(int64(moved.messages))
	return moved, s.settle(moved)
}

// Check lets libzmq process what is waiting, for a receiver that has been woken and does not want to
// receive yet. ETERM: the context has been terminated. It does not signal Readable: the caller knows.
func (s *Socket) Check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipe == nil {
		return net.ErrClosed
	}
	return s.settle(C.vtxz_events(s.pipe))
}

// CanSend says whether libzmq would take a message now. Not for an XPUB, which always says so. A ROUTER with
// ZMQ_ROUTER_MANDATORY says whether it has a peer whose high-water mark is not reached, be that peer gone or not.
func (s *Socket) CanSend() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipe == nil {
		return false
	}
	moved := C.vtxz_events(s.pipe)
	if moved.events&C.ZMQ_POLLIN != 0 {
		signal(s.readable)
	}
	return moved.events&C.ZMQ_POLLOUT != 0 && s.settle(moved) == nil
}

// settle passes on to the sender what a call learned, since the descriptor will not wake for it again, and
// gives the call's error. Whether there is something to receive is for the caller to pass on.
func (s *Socket) settle(moved C.vtxz_moved_t) error {
	if s.blocked && moved.events&C.ZMQ_POLLOUT != 0 {
		s.freed()
	}
	if moved.error != 0 {
		return syscall.Errno(moved.error)
	}
	return nil
}

// SetInt sets an option of type int.
func (s *Socket) SetInt(option, value int) error {
	return s.do(func(h Handle) error { return SetInt(h, option, value) })
}

// SetBytes sets an option of variable length.
func (s *Socket) SetBytes(option int, value []byte) error {
	return s.do(func(h Handle) error { return SetBytes(h, option, value) })
}

// Bind binds the socket.
func (s *Socket) Bind(endpoint string) error {
	return s.do(func(h Handle) error { return Bind(h, endpoint) })
}

// Unbind undoes Bind.
func (s *Socket) Unbind(endpoint string) error {
	return s.do(func(h Handle) error { return Unbind(h, endpoint) })
}

// Connect connects the socket.
func (s *Socket) Connect(endpoint string) error {
	return s.do(func(h Handle) error { return Connect(h, endpoint) })
}

// Disconnect undoes Connect. What was sent stays readable at the other end. What the other end had sent is
// received to the last message and appended to buf, as by Recv.
func (s *Socket) Disconnect(endpoint string, buf []byte) ([]byte, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipe == nil {
		return buf, 0, net.ErrClosed
	}
	total := 0
	for {
		var messages int
		var err error
		buf, messages, _, err = s.recv(buf, len(buf)+softBatch, 0, nil)
		if total += messages; err != nil && !errors.Is(err, syscall.ENOMEM) || err == nil && messages == 0 {
			break
		}
	}
	err := Disconnect(Handle(s.pipe.socket), endpoint)
	s.look()
	return buf, total, err
}

// look signals what there is to do now. The lock is held.
func (s *Socket) look() {
	moved := C.vtxz_events(s.pipe)
	if moved.events&C.ZMQ_POLLIN != 0 {
		signal(s.readable)
	}
	s.settle(moved)
}

func (s *Socket) do(call func(Handle) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipe == nil {
		return net.ErrClosed
	}
	err := call(Handle(s.pipe.socket))
	s.look() // the call may have swallowed a wake-up
	return err
}

// Bound says whether some open socket of the context is bound to an inproc endpoint. It binds to the
// endpoint itself, for a moment, and so must not run while somebody else binds there.
func (s *Socket) Bound(endpoint string) (bool, error) {
	err := s.Bind(endpoint)
	if errors.Is(err, syscall.EADDRINUSE) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, s.Unbind(endpoint)
}

// Close closes the socket. What was sent stays readable at the other end. Idempotent.
func (s *Socket) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipe == nil {
		return
	}
	s.poller.Unwatch(s.fd)
	CloseHandle(Handle(s.pipe.socket))
	C.vtxz_pipe_destroy(s.pipe)
	s.pipe = nil
	signal(s.readable)
	signal(s.writable)
}

// signal leaves a token in c unless one is there.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
