package udp

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
)

// envBroadcast takes the place of the interfaces' broadcast addresses, so that tests and
// demonstrations never reach a network that is not theirs.
const envBroadcast = "VTX_UDP_BROADCAST"

// loopbackBroadcast reaches every wildcard listener of this host.
var loopbackBroadcast = netip.AddrFrom4([4]byte{127, 255, 255, 255})

// broadcastAddrs are the addresses to call when looking for anyone: the option's, else the
// environment's, else this host's. Loopback comes first: a peer on this host is then
// found before its second address is called, and gets one peering, not two.
func (s *settings) broadcastAddrs() ([]netip.Addr, error) {
	if s.broadcast != nil {
		return s.broadcast, nil
	}
	if value := os.Getenv(envBroadcast); value != "" {
		list, err := parseBroadcast(value)
		if err != nil {
			return nil, fmt.Errorf("environment %s: %w", envBroadcast, err)
		}
		return list, nil
	}
	list := []netip.Addr{loopbackBroadcast}
	for _, name := range s.interfaces {
		if _, err := interfaceNamed(name); err != nil {
			return nil, err
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("reading the network interfaces: %w", err)
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagBroadcast == 0 || s.interfaces != nil && !slices.Contains(s.interfaces, i.Name) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // the interface went away
		}
		for _, a := range addrs {
			if b, ok := broadcastOf(a); ok && !slices.Contains(list, b) {
				list = append(list, b)
			}
		}
	}
	return list, nil
}

// interfaceNamed finds an interface. Errors: ENODEV.
func interfaceNamed(name string) (*net.Interface, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w: %w", name, err, syscall.ENODEV)
	}
	return i, nil
}

// broadcastOf is the last address of an IPv4 network, if the network is large enough to have one.
func broadcastOf(a net.Addr) (netip.Addr, bool) {
	n, ok := a.(*net.IPNet)
	if !ok {
		return netip.Addr{}, false
	}
	ip := n.IP.To4()
	ones, bits := n.Mask.Size()
	if ip == nil || bits != 32 || ones > 30 {
		return netip.Addr{}, false
	}
	var b [4]byte
	for i := range b {
		b[i] = ip[i] | ^n.Mask[i]
	}
	return netip.AddrFrom4(b), true
}
