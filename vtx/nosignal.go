package vtx

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// NoSignal returns conn with a Write that raises no SIGPIPE when the peer has gone. Go's own does, and in a C program, where
// Go leaves that signal alone, it ends the process. The engine writes so to every net.Conn that it gets; a stream driver
// needs it for what it writes by itself, as to a proxy, and underneath what hides the descriptor, as in
// tls.Client(vtx.NoSignal(conn), config). Deadlines act as before. A conn that is no syscall.Conn is returned as it is.
func NoSignal(conn net.Conn) net.Conn {
	if _, done := conn.(noSignalConn); done {
		return conn
	}
	c, ok := conn.(syscall.Conn)
	if !ok {
		return conn
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return conn
	}
	return noSignalConn{conn, raw}
}

// noSignalConn is what NoSignal returns.
type noSignalConn struct {
	net.Conn
	raw syscall.RawConn
}

// Write implements net.Conn.
func (c noSignalConn) Write(p []byte) (n int, err error) {
	var failed error
	err = c.raw.Write(func(fd uintptr) bool {
		for n < len(p) {
			moved, _, e := writeNow(int(fd), p[n:], nil)
			n += moved
			if e == unix.EAGAIN {
				return false
			}
			if e != nil {
				failed = os.NewSyscallError("sendmsg", e)
				break
			}
		}
		return true
	})
	if failed != nil {
		local := c.LocalAddr()
		err = &net.OpError{Op: "write", Net: local.Network(), Source: local, Addr: c.RemoteAddr(), Err: failed}
	}
	return n, err
}

// SyscallConn implements syscall.Conn.
func (c noSignalConn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// CloseWrite ends the writing. Errors: errors.ErrUnsupported where the connection underneath cannot.
func (c noSignalConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
