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
// Lock order: listener.ticking, listener.mu, requester.mu, backlog.mu, link.mu.
type listener struct {
	cfg   *vtx.Config
	set   *settings
	sock  *socket
	addr  string
	group netip.AddrPort // multicast, or invalid
	jar   *jar

	waiting chan *link
	closing chan struct{}

	mu       sync.Mutex
	closed   bool
	links    map[netip.AddrPort]*link
	sessions map[nom.Token]*link // of extended peers, by the token that their datagrams carry
	calls    map[nom.Token]*link // and by the one that ours carry
	gone     map[nom.Token]int64 // sources of a group that have said goodbye, and when
	orphan   vtx.Message         // a request whose peering ended before the answer (REQ only)
	plain    int                 // links of plain peers
	lobby    lobby
	told     told
	beat     *time.Timer

	ticking sync.Mutex // held by tick
	pace    stopwatch
	round   []*link // scratch
}

func listen(cfg *vtx.Config, set *settings, resolve resolver) (*listener, error) {
	group, multicast, err := groupOf(cfg, true)
	if err != nil {
		return nil, err
	}
	var conn *net.UDPConn
	if multicast {
		conn, err = openGroup(cfg, set, group)
	} else {
		var network, address string
		if network, address, err = bindAddr(cfg, resolve); err != nil {
			return nil, err
		}
		conn, err = openConn(network, address, cfg.Options)
	}
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
		cfg: cfg, set: set, sock: sock, group: group,
		addr:     cfg.Endpoint.Scheme + "://" + sock.local().String(),
		waiting:  make(chan *link, min(backlog, maxPeerings)),
		closing:  make(chan struct{}),
		jar:      newJar(),
		links:    make(map[netip.AddrPort]*link),
		sessions: make(map[nom.Token]*link),
		calls:    make(map[nom.Token]*link),
	}
	ln.mu.Lock()
	ln.pace.last = clock()
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

// Accept returns the next peer whose address is proved, as far as that can be, or of a group the next publisher.
func (ln *listener) Accept() (vtx.Link, error) {
	select {
	case <-ln.closing:
		return nil, net.ErrClosed
	default:
	}
	for {
		select {
		case l := <-ln.waiting:
			if l.live() { // it may have begun anew meanwhile
				return l, nil
			}
		case <-ln.closing:
			return nil, net.ErrClosed
		}
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
		if l.welcomed() {
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
	for _, l := range ln.sessions {
		if ln.links[l.to()] != l { // another peer has moved to its address
			list = append(list, l)
		}
	}
	return list
}

// ready is called when there is something to receive.
func (ln *listener) ready() {
	r := batchReaders.Get().(*reader)
	ln.arrive(ln.sock.receive(r.arrivals), &r.in)
	batchReaders.Put(r)
}

// maxTogether bounds how far behind a datagram others of the same peer are looked for: one call may bring a thousand, and
// they may all have different senders.
const maxTogether = 64

// arrive handles what one receive call brought, peer by peer, so that each is looked up once and
// its messages reach the engine together.
func (ln *listener) arrive(got []datagram, in *inbox) {
	now := clock()
	for i := range got {
		if !got[i].from.IsValid() {
			continue // handled with an earlier one of the same peer
		}
		who := got[i].sender()
		l := ln.find(who)
		for j := i; j < min(len(got), i+maxTogether); j++ {
			if got[j].from.IsValid() && (j == i || got[j].sender() == who) {
				l = ln.handle(l, got[j], in, now)
				got[j].from = netip.AddrPort{}
			}
		}
		if l != nil {
			in.flush(l)
		}
	}
}

func (ln *listener) find(who sender) *link {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if who.token != 0 { // which is the only way to find a group's publisher: it may have several addresses
		return ln.sessions[who.token]
	}
	return ln.links[who.from]
}

// handle takes one datagram from a sender that has the link l, or none, and returns the one that it
// has afterwards.
func (ln *listener) handle(l *link, d datagram, in *inbox, now int64) *link {
	if ln.group.IsValid() {
		return ln.hearGroup(l, d, in, now)
	}
	h, body, err := nom.ParseHeader(d.data)
	if err != nil || h.Command == nom.OHAI && len(d.data) > nom.MaxDatagram {
		ln.dropped(vtx.DropMalformed, 1)
		return l
	}
	switch {
	case h.Extended && h.Command == nom.GONE:
		ln.left(h.Token)
		return l
	case h.Extended && l != nil && l.open() != nil:
		l.ext.receive(l, h, body, d, in, now)
		return l
	case h.Extended:
		ln.dropped(vtx.DropStray, 1)
		if l == nil {
			ln.sock.disown(h.Token, d.from, now)
		}
		return l
	}
	if h.Command == nom.OHAI {
		hello, err := nom.ParseHello(nom.ParseGreeting(body).Properties)
		if err == nil && hello.Kind == nom.Call && hello.Token != 0 {
			return ln.called(l, d.from, body, hello, in, now)
		}
	}
	if l != nil && l.ext != nil || h.Command == nom.OHAI && !ln.set.plain {
		ln.dropped(vtx.DropStray, 1) // nobody can say that it is the peer's
		return l
	}
	if l != nil {
		l.heard.Store(now)
	}
	if h.Command == nom.OHAI {
		return ln.greet(l, d.from, d.data, in, now)
	}
	if l == nil {
		l = ln.hearPlain(h, d.from, now)
	}
	if l != nil {
		l.handle(h, body, in)
	}
	return l
}

// called takes an extended OHAI from an address that has the link l, or none.
func (ln *listener) called(l *link, from netip.AddrPort, body []byte, hello nom.Hello, in *inbox, now int64) *link {
	if !ln.jar.good(hello.Cookie, from, hello.Token, now) {
		cookie := nom.Hello{Kind: nom.Cookie, Echo: hello.Token, Cookie: ln.jar.bake(from, hello.Token, now)}
		_ = ln.sock.send(greeting(nom.OHAIOK, nom.ParseGreeting(body).Address, &cookie), from)
		return l
	}
	ln.mu.Lock()
	known := ln.calls[hello.Token]
	ln.mu.Unlock()
	if known != nil {
		if known.open() != nil && known.to() == from {
			known.welcome() // the answer before was lost
		}
		return l
	}
	if l != nil {
		in.flush(l)
		l.end(errAnew(from))
	}
	s := newSession(ln.set, newToken(), hello)
	answer := nom.Hello{
		Kind: nom.Welcome, Features: nom.Subscriptions, Token: s.ours, Echo: s.theirs,
		MaxMessage: uint32(ln.set.maxMessage), Type: byte(ln.cfg.Type), RoutingID: ln.cfg.Options.RoutingID,
	}
	return ln.admit(from, greeting(nom.OHAIOK, nom.ParseGreeting(body).Address, &answer)[nom.HeaderSize:], s)
}

func errAnew(peer netip.AddrPort) error { return fmt.Errorf("peer %s began anew", peer) }

// greeting makes an extended OHAI or OHAI-OK.
func greeting(c nom.Command, address []byte, hello *nom.Hello) []byte {
	return nom.AppendGreeting(nom.AppendHeader(nil, nom.Header{Command: c}),
		nom.Greeting{Address: address, Properties: nom.AppendHello(nil, hello)})
}

// left ends the peering of a peer that does not know it any more, if the token is the one that we send.
func (ln *listener) left(theirs nom.Token) {
	ln.mu.Lock()
	l := ln.calls[theirs]
	ln.mu.Unlock()
	if l != nil {
		l.endAfter(errGone)
	}
}

// admit makes a link for a new peer and queues it for Accept; the OHAI of an extended one is to be answered with body. Where
// there is no room the peer is not answered, and calls again.
func (ln *listener) admit(from netip.AddrPort, body []byte, s *session) *link {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.closed || max(len(ln.links), len(ln.sessions)) >= maxPeerings || len(ln.waiting) == cap(ln.waiting) {
		return nil
	}
	var r role
	if ln.cfg.Type == vtx.Req {
		r = &requester{listener: ln}
	} else {
		r = newRole(ln.cfg.Type, s)
	}
	l := newLink(ln.cfg, ln.set, ln.sock, from, r, s)
	l.listener, l.greeting = ln, body
	l.backlog.early = s == nil || s.deaf // who does not wait until the link is started: its first words must not be missed
	ln.lobby.remove(from)
	if s == nil {
		ln.plain++
	}
	if !ln.group.IsValid() { // several of a group's publishers may have one address
		ln.links[from] = l
	}
	if s != nil {
		ln.sessions[s.ours], ln.calls[s.theirs] = l, l
	}
	ln.waiting <- l // only admit sends, and there is room
	return l
}

// forget takes a link that has ended out of the table.
func (ln *listener) forget(l *link) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if to := l.to(); ln.links[to] == l {
		delete(ln.links, to)
	}
	if l.ext != nil {
		delete(ln.sessions, l.ext.ours)
		delete(ln.calls, l.ext.theirs)
	} else {
		ln.plain--
	}
}

// move gives a link another address. A plain peer that was there is no more: nothing of it would be found any more.
func (ln *listener) move(l *link, to netip.AddrPort) {
	ln.mu.Lock()
	if l.Err() != nil {
		ln.mu.Unlock()
		return
	}
	if from := l.to(); ln.links[from] == l {
		delete(ln.links, from)
	}
	old := ln.links[to]
	ln.links[to] = l
	l.setRoute(to) // under the lock, or forget would look at the address before
	ln.mu.Unlock()
	if old != nil && old != l && old.ext == nil {
		old.end(fmt.Errorf("peer %s gave its address to another", to))
	}
}

// tick measures every peer's silence.
func (ln *listener) tick() {
	ln.ticking.Lock()
	defer ln.ticking.Unlock()
	now := ln.pace.now(ln.set.tick())
	ln.mu.Lock()
	ln.round = ln.snapshot(ln.round[:0])
	ask := ln.lobby.tick(now, min(ln.set.timeout, defaultTimeout))
	ln.mu.Unlock()
	for _, at := range ask {
		ln.say(nom.HUGZ, at)
	}
	for i, l := range ln.round {
		if l.welcomed() {
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
