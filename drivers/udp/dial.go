package udp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// The pace of looking for a peer.
const (
	callEvery   = 100 * time.Millisecond // each target is called so often
	refusedWait = time.Second            // and so often once one has refused
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
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // makes search return
	peer, err := d.search(conn, targets)
	if !stop() || err != nil || !peer.IsValid() {
		_ = conn.Close()
		return nil, err
	}
	sock, err := newSocket(conn, d.cfg.Poller)
	if err != nil {
		return nil, err
	}
	var r role = d.keeper
	if d.keeper == nil {
		r = newRole(d.cfg.Type)
	}
	return newLink(d.cfg, d.set, sock, peer, r), nil
}

// search calls one target after the other until one answers, and returns the address that the answer
// came from. It returns an invalid address when it is time to look names up again or the socket
// was closed, and an error when no target can be called at all.
func (d *dialer) search(conn *net.UDPConn, targets []netip.AddrPort) (netip.AddrPort, error) {
	ohai := nom.AppendGreeting(nom.AppendHeader(nil, nom.Header{Command: nom.OHAI}), nom.Greeting{Address: []byte(d.dest.body)})
	buf := make([]byte, maxPayload)
	pace, until := callEvery, time.Now().Add(lookAgain)
	failed := 0
	for i := 0; time.Now().Before(until); i++ {
		_, err := conn.WriteToUDPAddrPort(ohai, targets[i%len(targets)])
		switch {
		case errors.Is(err, net.ErrClosed):
			return netip.AddrPort{}, nil
		case err == nil:
			failed = 0
		default:
			if failed++; failed == len(targets) {
				return netip.AddrPort{}, err
			}
		}
		// Targets are called in turn, not all at once: a peer with several of these addresses
		// has answered before it is called a second time.
		_ = conn.SetReadDeadline(time.Now().Add(pace / time.Duration(len(targets))))
		peer, refused, ended := d.await(conn, buf)
		if ended || peer.IsValid() {
			return peer, nil
		}
		if refused {
			pace = refusedWait
		}
	}
	return netip.AddrPort{}, nil
}

// await reads until the answer comes, or the read deadline. Datagrams are read one by one: what
// follows the answer is for the link.
func (d *dialer) await(conn *net.UDPConn, buf []byte) (peer netip.AddrPort, refused, ended bool) {
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return netip.AddrPort{}, refused, false
		case errors.Is(err, net.ErrClosed):
			return netip.AddrPort{}, refused, true
		case err != nil:
			time.Sleep(time.Millisecond) // whatever it was, it must not become a spinning loop
			continue
		}
		h, body, err := nom.ParseHeader(buf[:n])
		if err != nil {
			d.cfg.Report.Drop(vtx.DropMalformed, 1)
			continue
		}
		switch h.Command {
		case nom.OHAIOK:
			if bytes.Equal(nom.ParseGreeting(body).Address, []byte(d.dest.body)) {
				return unmapped(from), false, false
			}
		case nom.ROTFL:
			if !refused { // one event for each call: anybody can send us these
				d.refused(unmapped(from), body)
			}
			refused = true
		case nom.NOM:
			d.cfg.Report.Drop(vtx.DropStray, 1)
		}
	}
}

func (d *dialer) refused(from netip.AddrPort, reason []byte) {
	d.cfg.Report.Event(vtx.Event{
		Kind:     vtx.EventHandshakeFailed,
		Value:    uint32(syscall.ECONNREFUSED),
		Endpoint: d.cfg.Endpoint.Scheme + "://" + from.String(),
		Reason:   fmt.Sprintf("peer %s refused the peering: %s", from, quoteReason(reason)),
	})
}
