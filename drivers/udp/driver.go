// Package udp is the driver of udp://: NOM datagrams, unicast or to whoever answers a
// broadcast. README.md beside this file says what it guarantees and what it may lose, NOM.md
// what is on the wire.
//
// One file per phase: address and broadcast find out where datagrams go; listen, dial and cookie
// make peerings, plain those of callers that may be nobody; link is one, and life keeps it alive. With a plain NOM-1 peer
// request, reply, talk and oneway give messages the numbers that each pattern needs. With an extended peer session takes the
// place of some of that: flow
// numbers messages and puts them together, window knows them again, parts completes large ones, subscribe
// is for subscriptions, mtu for the size of datagrams and rtt for the time to wait. io moves datagrams in batches, segment in runs.
package udp

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/libvtx/libvtx/drivers/internal/sockets"
	"github.com/libvtx/libvtx/vtx"
)

// Driver is the udp driver. The zero value is ready to use.
type Driver struct {
	// lookup stands for the system's resolver in tests.
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Scheme is the endpoint prefix.
func (*Driver) Scheme() string { return "udp" }

// Traits are those of extended peers; a link with another says so (vtx.Peer, Unfiltered).
func (*Driver) Traits() vtx.Traits {
	return vtx.Traits{Subscriptions: true, Prompt: true, Options: optionSpecs}
}

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
	if group, multicast, err := groupOf(cfg, false); err != nil {
		return nil, err
	} else if multicast {
		return &groupDialer{cfg, set, group}, nil
	}
	return newDialer(cfg, set, d.resolve)
}

type resolver func(ctx context.Context, network, host string) ([]netip.Addr, error)

func (d *Driver) resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if d.lookup != nil {
		return d.lookup(ctx, network, host)
	}
	return sockets.LookupNetIP(ctx, network, host)
}

// checkType refuses socket types that NOM-1 was never spoken by.
func checkType(cfg *vtx.Config) error {
	if cfg.Type < vtx.Pair || cfg.Type > vtx.XSub {
		return fmt.Errorf("endpoint %s: a %v socket cannot use it: %w", cfg.Endpoint, cfg.Type, vtx.ErrNotSupported)
	}
	return nil
}
