package udp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

// The pace of looking for a peer.
const (
	callEvery   = 100 * time.Millisecond // each target is called so often
	refusedWait = time.Second            // and so often once one has refused
	callChosen  = 20                     // calls to one that has given us a cookie
	othersFirst = 5 * time.Second        // so long one that refused, or did not answer those, is passed over for others
	lookAgain   = 10 * time.Second       // then names and interfaces are looked up anew
	firstRetry  = 500 * time.Millisecond // after a failed look-up; doubled each time
	lastRetry   = 10 * time.Second
)

// dialer finds the peers of one connected endpoint, one after the other.
type dialer struct {
	cfg     *vtx.Config
	set     *settings
	dest    *destination
	resolve resolver
	// keeper is the role of every link where it has to outlive a link: a request that
	// was not answered goes to the next peer.
	keeper *requester
}

func newDialer(cfg *vtx.Config, set *settings, resolve resolver) (*dialer, error) {
	dest, err := newDestination(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	if dest.anyone() {
		if _, err := set.broadcastAddrs(); err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", cfg.Endpoint, err)
		}
	}
	d := &dialer{cfg: cfg, set: set, dest: dest, resolve: resolve}
	if cfg.Type == vtx.Req {
		d.keeper = &requester{}
	}
	return d, nil
}

// Close has nothing to release: sockets and timers belong to the links.
func (d *dialer) Close() error { return nil }

// Dial looks until somebody answers or ctx ends.
func (d *dialer) Dial(ctx context.Context) (vtx.Link, error) {
	for wait := firstRetry; ; {
		l, err := d.attempt(ctx)
		switch {
		case ctx.Err() != nil:
			if l != nil {
				l.end(ctx.Err())
			}
			return nil, ctx.Err()
		case l != nil:
			return l, nil
		case err == nil: // nobody answered
			wait = firstRetry
			continue
		}
		d.retried(wait, err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}

func (d *dialer) retried(wait time.Duration, err error) {
	d.cfg.Report.Event(vtx.Event{
		Kind:     vtx.EventConnectRetried,
		Value:    uint32(wait.Milliseconds()),
		Endpoint: d.cfg.Endpoint.String(),
		Reason:   err.Error(),
	})
}

// attempt looks for a while, on a fresh socket: a new peering is to come from a new address. It
// returns neither link nor error when nobody answered.
func (d *dialer) attempt(ctx context.Context) (*link, error) {
	targets, err := d.dest.targets(ctx, d.set, d.cfg.Options.IPv6, d.resolve)
	if err != nil {
		return nil, err
	}
	network, host := "udp4", "0.0.0.0"
	if slices.ContainsFunc(targets, func(t netip.AddrPort) bool { return t.Addr().Is6() }) {
		network, host = "udp", ""
	}
	conn, err := openFresh(network, host, d.cfg.Options)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // makes look return
	found, err := newCaller(d, conn, targets).look()
	if !stop() || err != nil || !found.at.IsValid() {
		_ = conn.Close()
		return nil, err
	}
	sock, err := newSocket(conn, d.cfg.Poller)
	if err != nil {
		return nil, err
	}
	var r role = d.keeper
	if d.keeper == nil {
		r = newRole(d.cfg.Type, found.session)
	}
	return newLink(d.cfg, d.set, sock, found.at, r, found.session), nil
}

func (d *dialer) refused(kind vtx.EventKind, from netip.AddrPort, reason []byte) {
	d.cfg.Report.Event(vtx.Event{
		Kind:     kind,
		Value:    uint32(syscall.ECONNREFUSED),
		Endpoint: d.cfg.Endpoint.Scheme + "://" + from.String(),
		Reason:   fmt.Sprintf("peer %s refused the peering: %s", from, quoteReason(reason)),
	})
}
