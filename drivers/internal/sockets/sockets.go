// Package sockets holds what the drivers that use the operating system's sockets have in common: the
// addresses of interfaces, socket options, and a listener that turns peers away.
package sockets

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/vtx"
)

// LookupNetwork is the resolver's network: IPv6 addresses are asked for only where the socket wants them.
func LookupNetwork(ipv6 bool) string {
	if ipv6 {
		return "ip"
	}
	return "ip4"
}

// LookupNetIP is the system's resolver. Where it asks over TCP it raises no SIGPIPE.
func LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return resolver.LookupNetIP(ctx, network, host)
}

var resolver = net.Resolver{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := net.DefaultResolver.Dial // a Go program may have its own
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, network, address)
	if _, datagrams := conn.(net.PacketConn); datagrams || err != nil {
		return conn, err
	}
	return vtx.NoSignal(conn), nil
}}

// InterfaceAddrs are an interface's addresses in the system's order, link-local IPv6 ones with their zone.
func InterfaceAddrs(i *net.Interface) ([]netip.Addr, error) {
	addrs, err := i.Addrs()
	if err != nil {
		return nil, err
	}
	var list []netip.Addr
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		if ip = ip.Unmap(); ip.Is6() && ip.IsLinkLocalUnicast() {
			ip = ip.WithZone(i.Name)
		}
		list = append(list, ip)
	}
	return list, nil
}

// Control runs f on a socket's descriptor.
func Control(c syscall.RawConn, f func(fd int) error) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// Set sets a socket option that is a number; what names it in the error.
func Set(fd, level, option, value int, what string) error {
	if err := unix.SetsockoptInt(fd, level, option, value); err != nil {
		return fmt.Errorf("%s %d: %w", what, value, os.NewSyscallError("setsockopt", err))
	}
	return nil
}

// SetBuffers applies ZMQ_SNDBUF and ZMQ_RCVBUF. A connection's window is agreed when it is made, so this
// comes before connect or listen.
func SetBuffers(fd int, o *vtx.Options) error {
	if o.SndBuf >= 0 {
		if err := Set(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, o.SndBuf, "SO_SNDBUF"); err != nil {
			return err
		}
	}
	if o.RcvBuf >= 0 {
		return Set(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, o.RcvBuf, "SO_RCVBUF")
	}
	return nil
}

// SetBacklog applies ZMQ_BACKLOG to a socket that listens already. The net package takes the system's highest
// value and has no way to say another; listening again changes it.
func SetBacklog(c syscall.RawConn, n int) error {
	return Control(c, func(fd int) error { return os.NewSyscallError("listen", unix.Listen(fd, n)) })
}

// BindOnly refuses options that mean something only where peers are accepted, when an endpoint to connect to
// has them. (A socket's own options hold for all its endpoints, and each takes what concerns it.)
func BindOnly(e vtx.Endpoint, options []vtx.OptionSpec) error {
	for _, o := range options {
		_, short, _ := strings.Cut(o.Name, ".")
		for _, name := range []string{o.Name, short} {
			if _, given := e.Params[name]; given {
				return fmt.Errorf("endpoint %s: option %s is for endpoints that are bound: %w", e, o.Name, vtx.ErrNotSupported)
			}
		}
	}
	return nil
}

// Shorten keeps a string from outside from filling an error.
func Shorten(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
