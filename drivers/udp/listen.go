package udp

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// Limits of one listener.
const (
	// maxPeerings bounds what forged source addresses can make it remember.
	maxPeerings = 1 << 16
	// defaultBacklog is the number of peers that may wait to be accepted.
	defaultBacklog = 100
)

// restartAfter is how long after a peer's last OHAI another one means that a new program has got the old
// one's address, once messages have crossed: a copy of an OHAI is not under way for that long. A new program must not
// be given the replies of the old one.
const restartAfter = 250 * time.Millisecond

// listener is one bound endpoint: a socket, a timer for silence, and
// the links of its peers by address.
//
// Lock order: listener.mu, requester.mu, link.mu.
type listener struct {
	cfg  *vtx.Config
	set  *settings
	sock *socket
	addr string

	waiting chan *link
	closing chan struct{}

	mu     sync.Mutex
	closed bool
	links  map[netip.AddrPort]*link
	orphan vtx.Message // a request whose peering ended before the answer (REQ only)
	beat   *time.Timer
	round  []*link // scratch of tick, which runs once at a time
}

func listen(cfg *vtx.Config, set *settings, resolve resolver) (*listener, error) {
	network, address, err := bindAddr(cfg, resolve)
	if err != nil {
		return nil, err
	}
	conn, err := openConn(network, address, cfg.Options)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", cfg.Endpoint, err)
	}
	sock, err := newSocket(conn, cfg.Poller)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", cfg.Endpoint, err)
	}
	backlog := cfg.Options.Backlog
	if backlog < 1 {
		backlog = defaultBacklog
	}
	ln := &listener{
		cfg: cfg, set: set, sock: sock,
		addr:    cfg.Endpoint.Scheme + "://" + sock.local().String(),
		waiting: make(chan *link, min(backlog, maxPeerings)),
		closing: make(chan struct{}),
		links:   make(map[netip.AddrPort]*link),
	}
	ln.mu.Lock()
	ln.beat = time.AfterFunc(set.tick(), ln.tick)
	ln.mu.Unlock()
	if err := sock.watch(ln.ready); err != nil {
		ln.Close()
		return nil, fmt.Errorf("endpoint %s: %w", cfg.Endpoint, err)
	}
	return ln, nil
}

// Addr is the endpoint actually bound.
func (ln *listener) Addr() string { return ln.addr }

// Accept returns the next peer that said OHAI.
func (ln *listener) Accept() (vtx.Link, error) {
	select {
	case <-ln.closing:
		return nil, net.ErrClosed
	default:
	}
	select {
	case l := <-ln.waiting:
		return l, nil
	case <-ln.closing:
		return nil, net.ErrClosed
	}
}

// Close ends every peering, since all of them live on the address that it releases.
func (ln *listener) Close() error {
	ln.mu.Lock()
	if ln.closed {
		ln.mu.Unlock()
		return nil
	}
	ln.closed = true
	ln.beat.Stop()
	links := ln.snapshot(nil)
	ln.mu.Unlock()
	close(ln.closing)
	for _, l := range links {
		if l.open() != nil {
			l.farewell(nil)
		}
		l.end(errClosed)
	}
	ln.sock.close()
	return nil
}

// snapshot appends the links to list. ln.mu is held.
func (ln *listener) snapshot(list []*link) []*link {
	for _, l := range ln.links {
		list = append(list, l)
	}
	return list
}

// ready is called when there is something to receive.
func (ln *listener) ready() {
	r := batchReaders.Get().(*reader)
	got, broken := ln.sock.receive(r.arrivals)
	ln.dropped(vtx.DropTooBig, broken)
	ln.arrive(got, &r.in)
	batchReaders.Put(r)
}

// arrive handles what one receive call brought, peer by peer, so that each is looked up once and
// its messages reach the engine together.
func (ln *listener) arrive(got []datagram, in *inbox) {
	now := clock()
	for i := range got {
		from := got[i].from
		if !from.IsValid() {
			continue // handled with an earlier one of the same peer
		}
		l := ln.find(from)
		for j := i; j < len(got); j++ {
			if got[j].from == from {
				l = ln.handle(l, from, got[j].data, in, now)
				got[j].from = netip.AddrPort{}
			}
		}
		if l != nil {
			in.flush(l)
		}
	}
}

func (ln *listener) find(from netip.AddrPort) *link {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.links[from]
}

// handle takes one datagram from an address that has the link l, or none, and returns the one that it
// has afterwards.
func (ln *listener) handle(l *link, from netip.AddrPort, data []byte, in *inbox, now int64) *link {
	h, body, err := nom.ParseHeader(data)
	if err != nil || h.Command == nom.OHAI && len(data) > nom.MaxDatagram {
		ln.dropped(vtx.DropMalformed, 1)
		return l
	}
	started := l != nil && l.open() != nil
	if l != nil {
		l.heard.Store(now)
	}
	if h.Command == nom.OHAI {
		return ln.greet(l, started, from, body, in, now)
	}
	switch {
	case started:
		l.handle(h, body, in)
	case h.Command == nom.NOM, h.Command == nom.HUGZ:
		if h.Command == nom.NOM {
			ln.dropped(vtx.DropStray, 1)
		}
		if l == nil {
			ln.disown(from)
		}
	}
	return l
}

// greet takes an OHAI.
func (ln *listener) greet(l *link, started bool, from netip.AddrPort, body []byte, in *inbox, now int64) *link {
	if started && l.begun.Load() && time.Duration(now-l.greeted.Load()) > restartAfter {
		in.flush(l)
		l.end(fmt.Errorf("peer %s began anew", from))
		l = nil
	}
	if l == nil {
		return ln.admit(from, body)
	}
	l.greeted.Store(now)
	l.greet(body)
	if started {
		l.welcome() // the answer before was lost
	}
	return l
}

// admit makes a link for a new peer and queues it for Accept. Where there is no room the peer is not
// answered, and calls again.
func (ln *listener) admit(from netip.AddrPort, body []byte) *link {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.closed || len(ln.links) >= maxPeerings || len(ln.waiting) == cap(ln.waiting) {
		return nil
	}
	var r role
	if ln.cfg.Type == vtx.Req {
		r = &requester{listener: ln}
	} else {
		r = newRole(ln.cfg.Type)
	}
	l := newLink(ln.cfg, ln.set, ln.sock, from, r)
	l.listener = ln
	l.greet(body)
	ln.links[from] = l
	ln.waiting <- l // only admit sends, and there is room
	return l
}

// disown tells an address that it has no peering here, so that the client of a server that was started
// again looks for it at once. It is no longer than what it answers.
func (ln *listener) disown(to netip.AddrPort) {
	var b [nom.HeaderSize]byte
	_ = ln.sock.send(nom.AppendHeader(b[:0], nom.Header{Command: nom.ROTFL}), to)
}

// forget takes a link that has ended out of the table.
func (ln *listener) forget(l *link) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.links[l.peer] == l {
		delete(ln.links, l.peer)
	}
}

// tick measures every peer's silence.
func (ln *listener) tick() {
	ln.mu.Lock()
	ln.round = ln.snapshot(ln.round[:0])
	ln.mu.Unlock()
	now := clock()
	for i, l := range ln.round {
		if l.open() != nil {
			l.pulse(now)
		}
		ln.round[i] = nil
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if !ln.closed {
		ln.beat.Reset(ln.set.tick())
	}
}

// adopt finds another peer for a request whose peering ended before the answer: an idle one now, or the
// next one accepted.
func (ln *listener) adopt(m vtx.Message) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for _, l := range ln.links {
		if l.role.(*requester).take(m) {
			ln.orphan = nil
			return
		}
	}
	ln.orphan = m
}

// takeOrphan gives the request that waits for a peer, or nil.
func (ln *listener) takeOrphan() vtx.Message {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	m := ln.orphan
	ln.orphan = nil
	return m
}

func (ln *listener) dropped(why vtx.DropReason, n int) {
	if n > 0 {
		ln.cfg.Report.Drop(why, n)
	}
}
