package udp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// Multicast: NOM.md, section 8. A subscriber's listener has a link for each publisher that it hears, a publisher's dialer
// one link for the group. Neither end of these answers anything.

// maxSources is the number of publishers that one subscriber hears at a time: anybody can claim to be one.
const maxSources = 256

// groupOf gives the multicast group that an endpoint names; ok is false for any other address.
// Errors: ErrNotSupported where the pattern, or the direction, cannot use a group, ErrInvalid for an address without a port.
func groupOf(cfg *vtx.Config, binds bool) (group netip.AddrPort, ok bool, err error) {
	host, port, err := cfg.Endpoint.HostPort()
	if err != nil {
		return netip.AddrPort{}, false, nil // said by whoever reads the address for another purpose
	}
	a, err := netip.ParseAddr(host)
	if err != nil || !a.Unmap().IsMulticast() {
		return netip.AddrPort{}, false, nil
	}
	bad := func(why string, err error) (netip.AddrPort, bool, error) {
		return netip.AddrPort{}, true, fmt.Errorf("endpoint %s: %s: %w", cfg.Endpoint, why, err)
	}
	hears, speaks := cfg.Type == vtx.Sub || cfg.Type == vtx.XSub, cfg.Type == vtx.Pub || cfg.Type == vtx.XPub
	switch {
	case !hears && !speaks:
		return bad(fmt.Sprintf("a multicast group is for PUB and SUB, not for a %v socket", cfg.Type), vtx.ErrNotSupported)
	case binds && speaks:
		return bad(fmt.Sprintf("a %v socket connects to a multicast group", cfg.Type), vtx.ErrNotSupported)
	case !binds && hears:
		return bad(fmt.Sprintf("a %v socket binds a multicast group", cfg.Type), vtx.ErrNotSupported)
	case port == 0:
		return bad("a multicast group needs a port", vtx.ErrInvalid)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(port)), true, nil
}

// groupInterfaces are the interfaces to join a group on: those of the option, or the one in the address, or all that
// are up and can multicast.
func (s *settings) groupInterfaces(group netip.Addr) ([]net.Interface, error) {
	names := s.interfaces
	if names == nil && group.Zone() != "" {
		names = []string{zoneName(zoneID(group.Zone()))}
	}
	var list []net.Interface
	for _, name := range names {
		i, err := interfaceNamed(name)
		if err != nil {
			return nil, err
		}
		list = append(list, *i)
	}
	if names != nil {
		return list, nil
	}
	all, err := net.Interfaces()
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagMulticast != 0 {
			list = append(list, i)
		}
	}
	return list, err
}

// openGroup binds a socket to a group and joins it. Several sockets of a host may.
func openGroup(cfg *vtx.Config, set *settings, group netip.AddrPort) (*net.UDPConn, error) {
	interfaces, err := set.groupInterfaces(group.Addr())
	if err != nil {
		return nil, err
	}
	four := group.Addr().Is4()
	family := unix.AF_INET6
	if four {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "group")
	defer file.Close()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, err
	}
	if err := confine(fd, four, cfg.Options); err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, new(address).set(group, four)); err != nil {
		return nil, err
	}
	if err := joinGroup(fd, group.Addr(), interfaces); err != nil {
		return nil, err
	}
	pc, err := net.FilePacketConn(file)
	if err != nil {
		return nil, err
	}
	conn := pc.(*net.UDPConn)
	if err := configure(conn, cfg.Options); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// joinGroup joins a group on each interface, or where there is none on the one that the system chooses.
func joinGroup(fd int, group netip.Addr, interfaces []net.Interface) error {
	if len(interfaces) == 0 {
		interfaces = []net.Interface{{}}
	}
	var errs []error
	for _, i := range interfaces {
		var err error
		if group.Is4() {
			err = unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP,
				&unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(i.Index)})
		} else {
			err = unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP,
				&unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(i.Index)})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("joining %v on interface %q: %w", group, i.Name, err))
		}
	}
	if len(errs) == len(interfaces) {
		return errors.Join(errs...)
	}
	return nil // an interface without an address, say: the others are what can be had
}

// hearGroup takes one datagram that came to a group, from a source that has the link l, or none, and returns the one that
// it has afterwards.
func (ln *listener) hearGroup(l *link, d datagram, in *inbox, now int64) *link {
	h, body, err := nom.ParseHeader(d.data)
	if err != nil || !h.Extended || h.Token == 0 {
		ln.dropped(vtx.DropMalformed, 1)
		return l
	}
	switch h.Command {
	case nom.NOM, nom.PART, nom.HUGZ:
		if l == nil {
			l = ln.newSource(h, d.from, now)
		}
	}
	if l != nil {
		l.ext.receive(l, h, body, d, in, now)
		if h.Command == nom.ROTFL {
			ln.noteGone(h.Token, now)
		}
	}
	return l
}

// noteGone has copies of what a source has sent, which come late over another interface, not be taken for a new source's.
func (ln *listener) noteGone(source nom.Token, now int64) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.gone == nil {
		ln.gone = make(map[nom.Token]int64)
	}
	maps.DeleteFunc(ln.gone, func(_ nom.Token, when int64) bool { return time.Duration(now-when) >= ln.set.timeout })
	if len(ln.gone) < maxSources {
		ln.gone[source] = now
	}
}

// newSource makes a link for a publisher.
func (ln *listener) newSource(h nom.Header, from netip.AddrPort, now int64) *link {
	ln.mu.Lock()
	full := len(ln.sessions) >= maxSources
	when, gone := ln.gone[h.Token]
	ln.mu.Unlock()
	if full || gone && time.Duration(now-when) < ln.set.timeout {
		return nil
	}
	s := newSession(ln.set, h.Token, nom.Hello{Token: h.Token, Type: byte(vtx.Pub)})
	s.deaf = true
	s.window.next = h.Number
	return ln.admit(from, nil, s)
}

// groupDialer is a publisher's.
type groupDialer struct {
	cfg   *vtx.Config
	set   *settings
	group netip.AddrPort
}

// Close has nothing to release.
func (d *groupDialer) Close() error { return nil }

// Dial finds the group at once: nobody has to answer.
func (d *groupDialer) Dial(context.Context) (vtx.Link, error) {
	network, host := "udp4", "0.0.0.0"
	if d.group.Addr().Is6() {
		network, host = "udp6", "[::]"
	}
	conn, err := openFresh(network, host, d.cfg.Options)
	if err != nil {
		return nil, err
	}
	r, mtu, err := d.prepare(conn)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("endpoint %s: %w", d.cfg.Endpoint, err)
	}
	sock, err := newSocket(conn, d.cfg.Poller)
	if err != nil {
		return nil, err
	}
	token := newToken()
	s := newSession(d.set, token, nom.Hello{Token: token, Type: byte(vtx.Sub), MaxMessage: uint32(d.set.maxMessage)})
	s.mute = true
	l := newLink(d.cfg, d.set, sock, d.group, &flow{}, s)
	l.route.Store(r)
	s.size.Store(int32(max(sizeFor(min(mtu, largestMTU), d.group.Addr()), leastSize(d.group.Addr()))))
	return l, nil
}

// prepare sets the options of a socket that sends to the group, and finds the interfaces to send on and their MTU.
func (d *groupDialer) prepare(conn *net.UDPConn) (r *route, mtu int, err error) {
	r = &route{to: d.group, addr: net.UDPAddrFromAddrPort(d.group)}
	var interfaces []net.Interface
	if d.set.interfaces != nil || d.group.Addr().Zone() != "" {
		if interfaces, err = d.set.groupInterfaces(d.group.Addr()); err != nil {
			return nil, 0, err
		}
	}
	four := d.group.Addr().Is4()
	if four {
		p := ipv4.NewPacketConn(conn)
		err = errors.Join(p.SetMulticastTTL(d.set.ttl), p.SetMulticastLoopback(d.set.loop))
	} else {
		p := ipv6.NewPacketConn(conn)
		err = errors.Join(p.SetMulticastHopLimit(d.set.ttl), p.SetMulticastLoopback(d.set.loop))
	}
	mtu = largestMTU
	if len(interfaces) == 0 {
		mtu = pathMTU(d.group)
	}
	for _, i := range interfaces {
		mtu = min(mtu, i.MTU)
		if four {
			r.ways = append(r.ways, (&ipv4.ControlMessage{IfIndex: i.Index}).Marshal())
		} else {
			r.ways = append(r.ways, (&ipv6.ControlMessage{IfIndex: i.Index}).Marshal())
		}
	}
	return r, mtu, err
}

// announce tells a group, now and then, that its publisher is there, and the number of its next message.
func (s *session) announce(l *link, now int64) {
	if time.Duration(now-l.asked) < l.set.hugz {
		return
	}
	l.asked = now
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.ask(l, l.to(), 0, now)
}
