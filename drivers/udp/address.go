package udp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/libvtx/libvtx/drivers/internal/sockets"
	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// anyonePort is called by "udp://", the shortest way to say "whoever answers".
const anyonePort = 32000

// bindAddr reads an endpoint to listen on: a network and an address for the net package.
// Errors: ErrInvalid, or the resolver's.
func bindAddr(cfg *vtx.Config, resolve resolver) (network, address string, err error) {
	host, port, err := cfg.Endpoint.HostPort()
	if err != nil {
		return "", "", err
	}
	bad := func(why string, err error) (string, string, error) {
		return "", "", fmt.Errorf("endpoint %s: %s: %w", cfg.Endpoint, why, err)
	}
	if host == "" {
		return bad("no host, * stands for every address", vtx.ErrInvalid)
	}
	if host == "*" {
		if cfg.Options.IPv6 {
			return "udp", fmt.Sprintf(":%d", port), nil // both families on one socket
		}
		return "udp4", fmt.Sprintf("0.0.0.0:%d", port), nil
	}
	addr, err := bindHost(host, cfg.Options.IPv6, resolve)
	if err != nil {
		return bad("the host is neither an address nor an interface nor a known name", err)
	}
	if addr.IsMulticast() {
		return bad("its name stands for a multicast group: write the address", vtx.ErrInvalid)
	}
	return family(addr), netip.AddrPortFrom(addr, uint16(port)).String(), nil
}

// bindHost finds the local address that a host names: itself, an interface's, or a name's.
func bindHost(host string, ipv6 bool, resolve resolver) (netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap(), nil
	}
	if i, err := net.InterfaceByName(host); err == nil {
		return interfaceAddr(i)
	}
	list, err := resolve(context.Background(), sockets.LookupNetwork(ipv6), host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%w: %w", err, syscall.ENODEV) // libzmq's number for it
	}
	if len(list) == 0 {
		return netip.Addr{}, syscall.ENODEV
	}
	return list[0].Unmap(), nil
}

// interfaceAddr is an interface's first IPv4 address, or else its first IPv6 one.
func interfaceAddr(i *net.Interface) (netip.Addr, error) {
	list, err := sockets.InterfaceAddrs(i)
	if err != nil {
		return netip.Addr{}, err
	}
	if at := slices.IndexFunc(list, netip.Addr.Is4); at >= 0 {
		return list[at], nil
	}
	if len(list) == 0 {
		return netip.Addr{}, fmt.Errorf("interface %s has no address: %w", i.Name, vtx.ErrInvalid)
	}
	return list[0], nil
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "udp4"
	}
	return "udp6"
}

// destination is an endpoint to connect to.
type destination struct {
	body string     // of the OHAI: host:port as the application wrote it
	host string     // a name to look up; "" where addr or anyone says it all
	addr netip.Addr // where the host is an address
	port uint16
}

// anyone says that the destination is whoever answers.
func (d *destination) anyone() bool { return d.host == "" && !d.addr.IsValid() }

// newDestination reads an endpoint to connect to. Errors: ErrInvalid.
func newDestination(e vtx.Endpoint) (*destination, error) {
	if e.Address == "" {
		return &destination{body: fmt.Sprintf("*:%d", anyonePort), port: anyonePort}, nil
	}
	host, port, err := e.HostPort()
	if err != nil {
		return nil, err
	}
	bad := func(why string) (*destination, error) {
		return nil, fmt.Errorf("endpoint %s: %s: %w", e, why, vtx.ErrInvalid)
	}
	if port == 0 {
		return bad("a port is needed to connect to")
	}
	if n := nom.HeaderSize + len(e.Address); n > nom.MaxDatagram {
		return bad(fmt.Sprintf("calling it takes %d bytes, a datagram has %d", n, nom.MaxDatagram))
	}
	d := &destination{body: e.Address, port: uint16(port)}
	if host == "" || host == "*" {
		return d, nil
	}
	if d.addr, err = netip.ParseAddr(host); err != nil {
		d.addr, d.host = netip.Addr{}, host
	}
	d.addr = d.addr.Unmap()
	return d, nil
}

// targets are the addresses to call now.
func (d *destination) targets(ctx context.Context, set *settings, ipv6 bool, resolve resolver) ([]netip.AddrPort, error) {
	list := []netip.Addr{d.addr}
	var err error
	switch {
	case d.anyone():
		list, err = set.broadcastAddrs()
	case d.host != "":
		list, err = resolve(ctx, sockets.LookupNetwork(ipv6), d.host)
	}
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no address for %s", d.body)
	}
	targets := make([]netip.AddrPort, len(list))
	for i, a := range list {
		targets[i] = netip.AddrPortFrom(a.Unmap(), d.port)
	}
	return targets, nil
}
