// Package network says which addresses are one peer's to choose from, where peers are counted by address.
package network

import "net/netip"

// Of is whom an address is counted with: with IPv6 it is the whole /64, of which a host has every address. What is no
// address of the Internet's is itself.
func Of(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64)
	return p.String()
}
