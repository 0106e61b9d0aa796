package interop

import (
	"bytes"
	"net"
	"sync"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
)

// proxy stands between a connecting and a listening end, sees what they say to each other, and can silence them.
type proxy struct {
	t      testing.TB
	at     string // where to connect
	target string

	mu     sync.Mutex
	pairs  []*pair
	ending bool
}

// pair is one connection through the proxy. What the connecting end says is heard[0], the other's heard[1].
type pair struct {
	ends   [2]net.Conn
	mu     sync.Mutex
	silent bool
	heard  [2]heard
	closed [2]bool // that end closed first
}

// heard counts the commands in one direction.
type heard struct {
	ping, pong int
	tail       []byte
}

func newProxy(t testing.TB, transport, target string) *proxy {
	t.Helper()
	p := &proxy{t: t, at: endpoint(t, transport), target: target}
	l := listen(t, p.at)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		p.ending = true
		for _, c := range p.pairs {
			c.ends[0].Close()
			c.ends[1].Close()
		}
		p.mu.Unlock()
		all.Wait()
	})
	return p
}

func (p *proxy) serve(conn net.Conn) {
	network, at := address(p.target)
	other, err := net.Dial(network, at)
	if err != nil {
		conn.Close() // it will try again
		return
	}
	c := &pair{ends: [2]net.Conn{conn, other}}
	p.mu.Lock()
	if p.ending {
		conn.Close()
		other.Close()
	}
	p.pairs = append(p.pairs, c)
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { c.pass(0) })
	both.Go(func() { c.pass(1) })
	both.Wait()
}

// pass hands on what one end says.
func (c *pair) pass(from int) {
	b := make([]byte, 64<<10)
	for {
		n, err := c.ends[from].Read(b)
		c.mu.Lock()
		c.heard[from].add(b[:n])
		silent := c.silent
		if err != nil && !c.closed[1-from] {
			c.closed[from] = true
		}
		c.mu.Unlock()
		if err != nil {
			c.ends[1-from].Close()
			return
		}
		if !silent {
			c.ends[1-from].Write(b[:n])
		}
	}
}

func (h *heard) add(b []byte) {
	all := append(h.tail, b...)
	h.ping += bytes.Count(all, []byte("\x04PING"))
	h.pong += bytes.Count(all, []byte("\x04PONG"))
	// Too short to be counted again
	h.tail = bytes.Clone(all[max(0, len(all)-4):])
}

// connections is how many there have been.
func (p *proxy) connections() []*pair {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*pair(nil), p.pairs...)
}

// awaitPongs waits until n PONGs have come from one end of the only connection.
func (p *proxy) awaitPongs(from, n int) {
	p.t.Helper()
	app.Eventually(p.t, "heartbeats answered", func() bool {
		all := p.connections()
		if len(all) != 1 {
			p.t.Fatalf("%d connections", len(all))
		}
		all[0].mu.Lock()
		defer all[0].mu.Unlock()
		return all[0].heard[from].pong >= n
	})
}

// silence swallows, from now on, what is said on the connections that there are.
func (p *proxy) silence() *pair {
	p.t.Helper()
	all := p.connections()
	if len(all) != 1 {
		p.t.Fatalf("%d connections", len(all))
	}
	all[0].mu.Lock()
	defer all[0].mu.Unlock()
	all[0].silent = true
	return all[0]
}

// awaitHangup waits until one of the ends closes the connection, and fails if it was the other one.
func (c *pair) awaitHangup(t testing.TB, by int) {
	t.Helper()
	var closed [2]bool
	app.Eventually(t, "the connection is closed", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		closed = c.closed
		return closed[0] || closed[1]
	})
	if !closed[by] {
		t.Fatal("the other end closed the connection")
	}
}
