// Package tcp is the driver of tcp://: byte streams over TCP, on which the engine speaks ZMTP as libzmq does.
//
// One file per phase: address reads endpoints, listen and dial make connections, and tune
// gives them the application's options.
package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/libvtx/libvtx/drivers/internal/sockets"
	"github.com/libvtx/libvtx/vtx"
)

// Driver is the tcp driver. The zero value is ready to use.
type Driver struct {
	// lookup stands for the system's resolver in tests.
	lookup resolver
}

type resolver func(ctx context.Context, network, host string) ([]netip.Addr, error)

// optAcceptFilter stands for ZMQ_TCP_ACCEPT_FILTER, which libzmq does not let anybody read back.
const optAcceptFilter = "tcp.accept_filter"

var optionSpecs = []vtx.OptionSpec{{
	Name:  optAcceptFilter,
	Check: func(value string) error { _, err := parseFilter(value); return err },
}}

// Scheme is the endpoint prefix.
func (*Driver) Scheme() string { return "tcp" }

// Options are the driver's VTX options.
func (*Driver) Options() []vtx.OptionSpec { return optionSpecs }

// Listen binds cfg.Endpoint.
func (*Driver) Listen(cfg *vtx.Config) (net.Listener, error) {
	var only filter
	if value, given := cfg.Options.Named[optAcceptFilter]; given {
		var err error
		if only, err = parseFilter(value); err != nil {
			return nil, fmt.Errorf("endpoint %s: option %s: %w: %w", cfg.Endpoint, optAcceptFilter, err, vtx.ErrInvalid)
		}
	}
	return listen(cfg, only)
}

// Dialer checks cfg.Endpoint.
func (d *Driver) Dialer(cfg *vtx.Config) (vtx.StreamDialer, error) {
	if err := sockets.BindOnly(cfg.Endpoint, optionSpecs); err != nil {
		return nil, err
	}
	t, err := newTarget(cfg)
	if err != nil {
		return nil, err
	}
	if t.resolve = d.lookup; t.resolve == nil {
		t.resolve = sockets.LookupNetIP
	}
	return t.dial, nil
}

// filter lists who may connect; nil means everybody.
type filter []netip.Prefix

func parseFilter(value string) (filter, error) {
	var f filter
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		p, err := netip.ParsePrefix(part)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(part); err == nil && a.Zone() == "" {
				p = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if !p.IsValid() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is not a comma-separated list of addresses and networks such as 10.0.0.0/8", sockets.Shorten(value))
		}
		f = append(f, p)
	}
	return f, nil
}

// errFiltered is the reason why a peer is turned away.
var errFiltered = errors.New("the address is not in " + optAcceptFilter)

func (f filter) admits(a net.Addr) bool {
	if f == nil {
		return true
	}
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return false
	}
	from := t.AddrPort().Addr().Unmap().WithZone("")
	for _, p := range f {
		if p.Contains(from) {
			return true
		}
	}
	return false
}
