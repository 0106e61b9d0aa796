// Package udprelay is a bad network for tests: a UDP relay on loopback that loses, doubles and
// reorders datagrams in both directions, by a seeded source of chance.
package udprelay

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Config says how bad the network is. The zero value of each rate is never.
type Config struct {
	Target netip.AddrPort // where the clients' datagrams go
	Seed   uint64

	Drop      float64 // share of datagrams lost, 0 to 1
	Duplicate float64 // share that arrives twice
	Delay     float64 // share of what arrives that is held back
	MTU       int     // datagrams that need a larger one, in IPv4, vanish; 0: none do

	// A datagram is held back until at most HoldFor others of its direction and client, lost ones
	// included, have overtaken it, or for HoldTime, whichever ends first. Both have to be small: four-bit numbers
	// cannot tell copies that are more than fifteen requests old. Defaults: 3 and 20 ms.
	HoldFor  int
	HoldTime time.Duration
}

// Stats counts what was done to datagrams.
type Stats struct{ Passed, Dropped, Duplicated, Delayed int }

// Relay is a running relay. Each client reaches the target from a socket of its own, so that
// the target sees as many addresses as there are clients.
type Relay struct {
	cfg  Config
	down *net.UDPConn // the clients' side
	all  sync.WaitGroup

	mu      sync.Mutex
	chance  *rand.Rand
	closed  bool
	clients map[netip.AddrPort]*client
	stats   Stats
}

// client is one client's two directions.
type client struct {
	up             *net.UDPConn
	toPeer, toBack lane
}

// lane is one direction: how to send, and what is held back.
type lane struct {
	send func([]byte)
	held []*held
}

type held struct {
	data []byte
	wait int // datagrams that may still overtake it
}

// Start opens a relay on a free port of 127.0.0.1.
func Start(cfg Config) (*Relay, error) {
	if cfg.HoldFor == 0 {
		cfg.HoldFor = 3
	}
	if cfg.HoldTime == 0 {
		cfg.HoldTime = 20 * time.Millisecond
	}
	down, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		return nil, err
	}
	_ = down.SetReadBuffer(4 << 20)
	r := &Relay{
		cfg: cfg, down: down,
		chance:  rand.New(rand.NewPCG(cfg.Seed, 0)),
		clients: make(map[netip.AddrPort]*client),
	}
	r.all.Go(r.serve)
	return r, nil
}

// Addr is where clients connect to.
func (r *Relay) Addr() netip.AddrPort { return r.down.LocalAddr().(*net.UDPAddr).AddrPort() }

// Stats gives the counts so far.
func (r *Relay) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// SetTarget sends the datagrams of clients not yet seen elsewhere.
func (r *Relay) SetTarget(to netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cfg.Target = to
}

// Close ends the relay and waits for its goroutines.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	_ = r.down.Close()
	for _, c := range r.clients {
		_ = c.up.Close()
	}
	r.mu.Unlock()
	r.all.Wait()
}

func (r *Relay) serve() {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := r.down.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if c := r.client(from); c != nil {
			r.pass(&c.toPeer, buf[:n])
		}
	}
}

// client finds a client's record or makes one.
func (r *Relay) client(from netip.AddrPort) *client {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.clients[from]; c != nil || r.closed {
		return c
	}
	up, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		return nil
	}
	_ = up.SetReadBuffer(4 << 20)
	target := r.cfg.Target
	c := &client{up: up}
	c.toPeer.send = func(b []byte) { _, _ = c.up.WriteToUDPAddrPort(b, target) }
	c.toBack.send = func(b []byte) { _, _ = r.down.WriteToUDPAddrPort(b, from) }
	r.clients[from] = c
	r.listen(c)
	return c
}

// listen passes on what comes back for a client. r.mu is held.
func (r *Relay) listen(c *client) {
	up := c.up
	r.all.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			n, _, err := up.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			r.pass(&c.toBack, buf[:n])
		}
	})
}

// Move has every client come from another address from now on, as when an address translator forgets. What is sent to
// the old one is lost.
func (r *Relay) Move() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.clients {
		up, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
		if err != nil {
			return err
		}
		_ = up.SetReadBuffer(4 << 20)
		_ = c.up.Close()
		c.up = up
		r.listen(c)
	}
	return nil
}

// SetMTU changes the MTU.
func (r *Relay) SetMTU(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cfg.MTU = n
}

// headers is what IPv4 and UDP add to a datagram, in bytes.
const headers = 28

// pass decides on one datagram.
func (r *Relay) pass(l *lane, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.cfg.MTU > 0 && len(b)+headers > r.cfg.MTU {
		return
	}
	copies := 1
	switch c := r.chance.Float64(); {
	case c < r.cfg.Drop:
		r.stats.Dropped++
		copies = 0
	case c < r.cfg.Drop+r.cfg.Duplicate:
		r.stats.Duplicated++
		copies = 2
	default:
		r.stats.Passed++
	}
	for range copies {
		if r.chance.Float64() < r.cfg.Delay {
			r.stats.Delayed++
			r.hold(l, b)
		} else {
			l.send(b)
		}
	}
	r.overtake(l)
}

// hold keeps a copy back. r.mu is held.
func (r *Relay) hold(l *lane, b []byte) {
	h := &held{data: append([]byte(nil), b...), wait: 1 + r.chance.IntN(r.cfg.HoldFor)}
	l.held = append(l.held, h)
	time.AfterFunc(r.cfg.HoldTime, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i := range l.held {
			if l.held[i] == h && !r.closed {
				l.held = append(l.held[:i:i], l.held[i+1:]...)
				l.send(h.data)
				return
			}
		}
	})
}

// overtake lets go what has been held back for long enough. r.mu is held.
func (r *Relay) overtake(l *lane) {
	keep := l.held[:0]
	for _, h := range l.held {
		if h.wait--; h.wait < 0 {
			l.send(h.data)
		} else {
			keep = append(keep, h)
		}
	}
	l.held = keep
}
