package tcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/libvtx/libvtx/drivers/internal/sockets"
	"github.com/libvtx/libvtx/vtx"
)

// hostPort splits host:port. As in libzmq an IPv6 address may go without its brackets.
func hostPort(e vtx.Endpoint, part string) (host string, port uint16, err error) {
	if at := strings.LastIndexByte(part, ':'); at >= 0 {
		if a, err := netip.ParseAddr(part[:at]); err == nil && a.Is6() {
			part = "[" + part[:at] + "]" + part[at:]
		}
	}
	host, n, err := vtx.Endpoint{Scheme: e.Scheme, Address: part}.HostPort()
	if err != nil {
		return "", 0, err
	}
	if host == "" {
		return "", 0, fmt.Errorf("endpoint %s: no host: %w", e, vtx.ErrInvalid)
	}
	return host, uint16(n), nil
}

// bindAddr reads an endpoint to listen on: a network and an address for the net package. Names are not
// looked up, as in libzmq: what is no address must be an interface.
func bindAddr(cfg *vtx.Config) (network, address string, err error) {
	ipv6 := cfg.Options.IPv6
	host, port, err := hostPort(cfg.Endpoint, cfg.Endpoint.Address)
	if err != nil {
		return "", "", err
	}
	local, err := localAddr(host, ipv6, ipv6)
	if err != nil {
		return "", "", fmt.Errorf("endpoint %s: %w", cfg.Endpoint, err)
	}
	network = family(local)
	if local == netip.IPv6Unspecified() {
		network = "tcp" // both families on one socket
	}
	return network, netip.AddrPortFrom(local, port).String(), nil
}

// localAddr is the address of this host that stands before a port, in an endpoint to bind or as the source of
// one to connect: *, an address, or an interface's name. prefer6 chooses among an interface's addresses.
func localAddr(host string, ipv6, prefer6 bool) (netip.Addr, error) {
	if host == "*" {
		if prefer6 {
			return netip.IPv6Unspecified(), nil
		}
		return netip.IPv4Unspecified(), nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a = a.Unmap(); a.Is6() && !ipv6 {
			return a, fmt.Errorf("%s: ZMQ_IPV6 is off: %w", a, syscall.ENODEV) // libzmq's number for it
		}
		return a, checkZone(a)
	}
	i, err := net.InterfaceByName(host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is neither an address nor an interface of this host: %w", sockets.Shorten(host), syscall.ENODEV)
	}
	list, err := sockets.InterfaceAddrs(i)
	if err != nil {
		return netip.Addr{}, err
	}
	var other netip.Addr
	for _, a := range list {
		if a.Is6() == prefer6 {
			return a, nil
		}
		if !other.IsValid() {
			other = a
		}
	}
	if !other.IsValid() || other.Is6() && !ipv6 {
		return other, fmt.Errorf("interface %s has no address of a family that the socket may use: %w", i.Name, syscall.ENODEV)
	}
	return other, nil
}

// checkZone refuses a zone that is no interface; the kernel would take it for none.
func checkZone(a netip.Addr) error {
	if a.Zone() == "" {
		return nil
	}
	if _, err := net.InterfaceByName(a.Zone()); err == nil {
		return nil
	}
	if n, err := strconv.Atoi(a.Zone()); err == nil && n > 0 {
		if _, err := net.InterfaceByIndex(n); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s: the zone is not an interface of this host: %w", a, vtx.ErrInvalid)
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// target is an endpoint to connect to. It does not change.
type target struct {
	cfg     *vtx.Config
	resolve resolver

	name string     // to be looked up; "" where addr says it
	addr netip.Addr // where the host is an address
	port uint16

	source     string // host before the semicolon; "" where there is none
	sourcePort uint16
}

// newTarget reads "host:port" or "source:port;host:port". Interfaces may come and go, so what names
// one is looked at by each dial. Errors: ErrInvalid.
func newTarget(cfg *vtx.Config) (*target, error) {
	bad := func(why string) (*target, error) {
		return nil, fmt.Errorf("endpoint %s: %s: %w", cfg.Endpoint, why, vtx.ErrInvalid)
	}
	t := &target{cfg: cfg}
	part := cfg.Endpoint.Address
	if at := strings.LastIndexByte(part, ';'); at >= 0 {
		var err error
		if t.source, t.sourcePort, err = hostPort(cfg.Endpoint, part[:at]); err != nil {
			return nil, err
		}
		if !plausible(t.source) && t.source != "*" {
			return bad("the source is neither an address nor an interface")
		}
		part = part[at+1:]
	}
	host, port, err := hostPort(cfg.Endpoint, part)
	if err != nil {
		return nil, err
	}
	if port == 0 {
		return bad("a port is needed to connect to")
	}
	if host == "*" {
		return bad("* cannot be connected to, only bound")
	}
	if !plausible(host) {
		return bad("the host is neither an address nor a name")
	}
	t.port, t.name = port, host
	if a, err := netip.ParseAddr(host); err == nil {
		t.addr, t.name = a.Unmap(), ""
	}
	if t.addr.Is6() && !cfg.Options.IPv6 {
		return bad("an IPv6 address, and ZMQ_IPV6 is off")
	}
	if s, err := netip.ParseAddr(t.source); err == nil {
		if s = s.Unmap(); s.Is6() && !cfg.Options.IPv6 {
			return bad("the source is an IPv6 address, and ZMQ_IPV6 is off")
		}
		if t.addr.IsValid() && s.Is6() != t.addr.Is6() {
			return bad("the source is not of the destination's family")
		}
	}
	return t, nil
}

// Host is the host that an endpoint to connect to names: an address or a name. Errors: ErrInvalid.
func Host(e vtx.Endpoint) (string, error) {
	host, _, err := hostPort(e, e.Address[strings.LastIndexByte(e.Address, ';')+1:])
	return host, err
}

// plausible says whether a host can be an address or a name at all.
func plausible(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return len(host) <= 253 && !strings.HasPrefix(host, "-") && strings.Trim(host,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == ""
}

var errFamily = errors.New("the source is not of the destination's family")

// from is the address to connect from to the address to, or nil where the system chooses.
func (t *target) from(to netip.Addr) (net.Addr, error) {
	if t.source == "" {
		return nil, nil
	}
	a, err := localAddr(t.source, t.cfg.Options.IPv6, to.Is6())
	if err != nil {
		return nil, err
	}
	if a.Is6() != to.Is6() {
		return nil, errFamily
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, t.sourcePort)), nil
}
