// Package udp is the driver of udp://: NOM-1 datagrams, unicast or to whoever answers a
// broadcast. README.md beside this file says what it guarantees and what it may lose.
//
// One file per phase: address and broadcast find out where datagrams go, listen and dial
// make peerings, link keeps one alive, request, reply, talk and oneway give messages the
// numbers that each pattern needs, and io moves datagrams in batches.
package udp

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/libvtx/libvtx/vtx"
)

// Driver is the udp driver. The zero value is ready to use.
type Driver struct {
	// lookup stands for the system's resolver in tests.
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Scheme is the endpoint prefix.
func (*Driver) Scheme() string { return "udp" }

// Traits are NOM-1's: it has no subscription commands, so publishers send everything.
func (*Driver) Traits() vtx.Traits { return vtx.Traits{Prompt: true, Options: optionSpecs} }

// Listen binds cfg.Endpoint.
func (d *Driver) Listen(cfg *vtx.Config) (vtx.Listener, error) {
	set, err := newSettings(cfg)
	if err != nil {
		return nil, err
	}
	return listen(cfg, set, d.resolve)
}

// Dialer checks cfg.Endpoint.
func (d *Driver) Dialer(cfg *vtx.Config) (vtx.Dialer, error) {
	set, err := newSettings(cfg)
	if err != nil {
		return nil, err
	}
	return newDialer(cfg, set, d.resolve)
}

type resolver func(ctx context.Context, network, host string) ([]netip.Addr, error)

func (d *Driver) resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if d.lookup != nil {
		return d.lookup(ctx, network, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, network, host)
}

// checkType refuses socket types that NOM-1 was never spoken by.
func checkType(cfg *vtx.Config) error {
	if cfg.Type < vtx.Pair || cfg.Type > vtx.XSub {
		return fmt.Errorf("endpoint %s: a %v socket cannot use it: %w", cfg.Endpoint, cfg.Type, vtx.ErrNotSupported)
	}
	return nil
}
