package tcp

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/drivers/internal/sockets"
	"github.com/libvtx/libvtx/vtx"
)

// Go sets TCP_NODELAY on every connection, as libzmq does, and SO_REUSEADDR on what listens.

// prepare applies the options that have to be there before a socket is bound or connected. What is set
// on a listening socket its connections inherit.
func prepare(o *vtx.Options) func(network, address string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error {
		return sockets.Control(c, func(fd int) error {
			if o.BindDevice != "" {
				if err := unix.BindToDevice(fd, o.BindDevice); err != nil {
					return fmt.Errorf("device %q: %w", o.BindDevice, err)
				}
			}
			if err := sockets.SetBuffers(fd, o); err != nil {
				return err
			}
			return setTOS(fd, o.TOS, strings.HasSuffix(network, "6"))
		})
	}
}

// setTOS sets both options on an IPv6 socket, since its peers may be IPv4 ones.
func setTOS(fd, tos int, six bool) error {
	if tos == 0 {
		return nil
	}
	if err := sockets.Set(fd, unix.IPPROTO_IP, unix.IP_TOS, tos, "IP_TOS"); err != nil || !six {
		return err
	}
	return sockets.Set(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, tos, "IPV6_TCLASS")
}

// tune applies the options of a connection that is there. ZMQ_TCP_MAXRT is among them because, set
// earlier, it would also limit the attempt to connect, which has an option of its own.
func tune(conn *net.TCPConn, o *vtx.Options) error {
	type option struct {
		level, name, value int
		what               string
	}
	var list []option
	if o.TCPKeepalive >= 0 {
		list = append(list, option{unix.SOL_SOCKET, unix.SO_KEEPALIVE, o.TCPKeepalive, "SO_KEEPALIVE"})
		for _, k := range []option{
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, o.TCPKeepaliveCnt, "TCP_KEEPCNT"},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, o.TCPKeepaliveIdle, "TCP_KEEPIDLE"},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, o.TCPKeepaliveIntvl, "TCP_KEEPINTVL"},
		} {
			if k.value >= 0 {
				list = append(list, k)
			}
		}
	}
	if o.TCPMaxRT > 0 {
		list = append(list, option{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(o.TCPMaxRT / time.Millisecond), "TCP_USER_TIMEOUT"})
	}
	if len(list) == 0 {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return sockets.Control(raw, func(fd int) error {
		for _, s := range list {
			if err := sockets.Set(fd, s.level, s.name, s.value, s.what); err != nil {
				return err
			}
		}
		return nil
	})
}
