package vtx

import (
	"io"
	"net"
	"sync"
	"syscall"
)

// inbox is what has arrived on a stream and not yet been understood. While there is nothing, it holds no memory: a
// thousand idle peerings wait without any.
type inbox struct {
	conn net.Conn
	raw  syscall.RawConn // nil if conn has no descriptor
	buf  []byte
	off  int // start of what is not taken yet

	arrived int // by the last try, which is made by
	failed  error
	try     func(fd uintptr) bool
}

// inboxSize is the room for one read, in bytes; larger messages make more as they arrive.
const inboxSize = 128 << 10

var inboxes = sync.Pool{New: func() any { b := make([]byte, 0, inboxSize); return &b }}

// init begins with what somebody else has read already.
func (in *inbox) init(conn net.Conn, rest []byte) {
	in.conn = conn
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			in.raw = raw
			in.try = in.tryRead
		}
	}
	if len(rest) > 0 {
		in.borrow()
		in.buf = append(in.buf, rest...)
	}
}

func (in *inbox) bytes() []byte { return in.buf[in.off:] }
func (in *inbox) size() int     { return len(in.buf) - in.off }
func (in *inbox) take(n int)    { in.off += n }

func (in *inbox) borrow() {
	if in.buf == nil {
		in.buf = *inboxes.Get().(*[]byte)
	}
}

// release gives the memory back.
func (in *inbox) release() {
	if cap(in.buf) == inboxSize {
		b := in.buf[:0]
		inboxes.Put(&b)
	}
	in.buf, in.off = nil, 0
}

// fill reads more, waiting for it. Errors: the stream's.
func (in *inbox) fill() error {
	in.makeRoom()
	if in.raw == nil {
		in.borrow()
		n, err := in.conn.Read(in.buf[len(in.buf):cap(in.buf)])
		in.buf = in.buf[:len(in.buf)+n]
		if n > 0 {
			return nil
		}
		return err
	}
	if err := in.raw.Read(in.try); err != nil {
		return err
	}
	if in.failed != nil {
		return in.failed
	}
	if in.arrived == 0 {
		return io.EOF
	}
	in.buf = in.buf[:len(in.buf)+in.arrived]
	return nil
}

// tryRead reads without waiting; false: nothing is there yet.
func (in *inbox) tryRead(fd uintptr) bool {
	in.borrow()
	for {
		n, err := syscall.Read(int(fd), in.buf[len(in.buf):cap(in.buf)])
		switch err {
		case syscall.EINTR:
		case syscall.EAGAIN:
			if in.size() == 0 {
				in.release()
			}
			return false
		default:
			in.arrived, in.failed = n, err
			return true
		}
	}
}

// makeRoom moves what is left to the front, and doubles the room for a message that does not fit: it grows with
// what has arrived, not with what a length field promises.
func (in *inbox) makeRoom() {
	if in.buf == nil {
		return
	}
	left := in.size()
	switch {
	case left > cap(in.buf)/2:
		if in.off > 0 && cap(in.buf) > inboxSize && left < cap(in.buf)-inboxSize {
			break
		}
		bigger := make([]byte, left, 2*cap(in.buf))
		copy(bigger, in.buf[in.off:])
		in.release()
		in.buf = bigger
		return
	case left == 0 && cap(in.buf) > keptArena:
		in.release()
		return
	}
	copy(in.buf, in.buf[in.off:])
	in.buf, in.off = in.buf[:left], 0
}
