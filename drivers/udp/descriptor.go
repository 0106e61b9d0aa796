package udp

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// descriptor is an open socket that the Go runtime does not watch. Its lock keeps the number from being
// closed, and given to somebody else's file, while a call uses it. No call blocks.
type descriptor struct {
	mu sync.RWMutex
	fd int // -1: closed
}

// takeOver duplicates a connection's descriptor and closes the connection.
func takeOver(conn *net.UDPConn) (*descriptor, error) {
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	d := &descriptor{}
	if cerr := raw.Control(func(fd uintptr) { d.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// use runs one system call.
func (d *descriptor) use(call func(fd int) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.fd < 0 {
		return net.ErrClosed
	}
	return call(d.fd)
}

// end closes the descriptor, once, after telling whoever watches it.
func (d *descriptor) end(unwatch func(fd int)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd >= 0 {
		unwatch(d.fd)
		_ = unix.Close(d.fd)
		d.fd = -1
	}
}

// awaitRoom waits a moment for a full send buffer to drain.
func (d *descriptor) awaitRoom() {
	_ = d.use(func(fd int) error {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 10)
		return err
	})
}

// unpolled gives golang.org/x/net a descriptor in the place of a connection, of which it only
// asks for SyscallConn, and for an address to name in errors.
type unpolled struct {
	*net.UDPConn // nil
	d            *descriptor
	local        net.Addr
}

// LocalAddr is asked for when a call fails.
func (u unpolled) LocalAddr() net.Addr { return u.local }

// RemoteAddr likewise.
func (u unpolled) RemoteAddr() net.Addr { return nil }

// SyscallConn is what x/net works on.
func (u unpolled) SyscallConn() (syscall.RawConn, error) { return u.d, nil }

// Control implements syscall.RawConn.
func (d *descriptor) Control(f func(fd uintptr)) error {
	return d.use(func(fd int) error { f(uintptr(fd)); return nil })
}

// Read implements syscall.RawConn for calls that do not want to wait.
func (d *descriptor) Read(f func(fd uintptr) bool) error {
	return d.use(func(fd int) error { f(uintptr(fd)); return nil })
}

// Write implements syscall.RawConn; it waits for room in the send buffer.
func (d *descriptor) Write(f func(fd uintptr) bool) error {
	for {
		done := false
		err := d.use(func(fd int) error { done = f(uintptr(fd)); return nil })
		if err != nil || done {
			return err
		}
		d.awaitRoom()
	}
}

// address is memory for one address in the form of a system call, which writes into it.
type address struct {
	four unix.SockaddrInet4
	six  unix.SockaddrInet6
}

var addresses = sync.Pool{New: func() any { return new(address) }}

// set makes a the address to, for a socket of the family four, or of both.
func (a *address) set(to netip.AddrPort, four bool) unix.Sockaddr {
	if four {
		a.four.Port, a.four.Addr = int(to.Port()), to.Addr().Unmap().As4()
		return &a.four
	}
	a.six.Port, a.six.Addr, a.six.ZoneId = int(to.Port()), to.Addr().As16(), zoneID(to.Addr().Zone())
	return &a.six
}

func fromSockaddr(sa syscall.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *syscall.SockaddrInet6:
		a := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId != 0 {
			a = a.WithZone(zoneName(sa.ZoneId))
		}
		return unmapped(netip.AddrPortFrom(a, uint16(sa.Port)))
	}
	return netip.AddrPort{}
}

// zoneID is an interface's number, of its name or of the number itself.
func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}

func zoneName(id uint32) string {
	if i, err := net.InterfaceByIndex(int(id)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(id), 10)
}
