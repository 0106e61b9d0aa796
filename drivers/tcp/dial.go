package tcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/drivers/internal/sockets"
)

// headStart is how long each address of a name is tried alone before the next one is tried beside it (RFC 8305,
// section 5): an address that swallows packets does not keep us from one that works.
const headStart = 300 * time.Millisecond

// dial connects to the first address that answers.
func (t *target) dial(ctx context.Context) (net.Conn, error) {
	addrs, err := t.addrs(ctx)
	if err != nil {
		return nil, err
	}
	return race(ctx, addrs, t.dialAddr)
}

// addrs are the addresses to try, IPv6 ones first, as libzmq prefers them.
func (t *target) addrs(ctx context.Context) ([]netip.Addr, error) {
	if t.name == "" {
		return []netip.Addr{t.addr}, checkZone(t.addr)
	}
	found, err := t.resolve(ctx, sockets.LookupNetwork(t.cfg.Options.IPv6), t.name)
	if err != nil {
		return nil, err
	}
	var four, six []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	list := slices.Concat(six, four)
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no address", t.name)
	}
	return list, nil
}

// dialAddr connects to one address.
func (t *target) dialAddr(ctx context.Context, to netip.Addr) (net.Conn, error) {
	from, err := t.from(to)
	if err != nil {
		return nil, err
	}
	set := prepare(t.cfg.Options)
	d := net.Dialer{LocalAddr: from, KeepAlive: -1, Control: func(network, address string, c syscall.RawConn) error {
		if from != nil { // one source port may have several destinations, as in libzmq
			if err := sockets.Control(c, func(fd int) error {
				return sockets.Set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, "SO_REUSEADDR")
			}); err != nil {
				return err
			}
		}
		return set(network, address, c)
	}}
	d.SetMultipathTCP(false)
	conn, err := d.DialContext(ctx, family(to), netip.AddrPortFrom(to, t.port).String())
	if err != nil {
		return nil, err
	}
	if err := tune(conn.(*net.TCPConn), t.cfg.Options); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// race dials one address after the other, each with a head start, and keeps the first connection. It returns the
// first error when all have failed. All attempts are over when it returns.
func race(ctx context.Context, addrs []netip.Addr, dial func(context.Context, netip.Addr) (net.Conn, error)) (net.Conn, error) {
	if len(addrs) == 1 {
		return dial(ctx, addrs[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	timer := time.NewTimer(headStart)
	defer timer.Stop()
	var (
		running int
		won     net.Conn
		first   error
	)
	next := func() {
		if won != nil || len(addrs) == 0 || ctx.Err() != nil {
			return
		}
		to := addrs[0]
		addrs = addrs[1:]
		running++
		timer.Reset(headStart)
		go func() {
			conn, err := dial(ctx, to)
			results <- result{conn, err}
		}()
	}
	for next(); running > 0; {
		select {
		case <-timer.C:
			next()
		case r := <-results:
			running--
			switch {
			case r.err == nil && won == nil:
				won = r.conn
				cancel()
			case r.err == nil:
				_ = r.conn.Close()
			default:
				if first == nil {
					first = r.err
				}
				next()
			}
		}
	}
	switch {
	case won != nil:
		return won, nil
	case first != nil:
		return nil, first
	default:
		return nil, ctx.Err()
	}
}
