package drivertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/libvtx/libvtx/vtx"
)

// Mem is a message driver inside the process: reliable, ordered, with back-pressure, told the
// socket types and routing ids. It makes the engine's rules testable without a network's losses, and
// is the smallest complete example of the contract. Addresses are names; a bound name is in use.
type Mem struct {
	// Name is the scheme.
	Name string
	// Filters: subscriptions travel to the publisher.
	Filters bool
	// Mixed: but on every second connection they do not.
	Mixed bool

	mu    sync.Mutex
	bound map[string]*memListener
	pairs int // made so far
}

// memWindow is how many messages are under way in one direction before Send blocks.
const memWindow = 4

// Scheme implements vtx.Driver.
func (d *Mem) Scheme() string { return d.Name }

// Traits implements vtx.Driver.
func (d *Mem) Traits() vtx.Traits { return vtx.Traits{Subscriptions: d.Filters} }

// Listen implements vtx.Driver.
func (d *Mem) Listen(cfg *vtx.Config) (vtx.Listener, error) {
	name := cfg.Endpoint.Address
	if name == "" {
		return nil, fmt.Errorf("endpoint %s: no name: %w", cfg.Endpoint, vtx.ErrInvalid)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bound[name] != nil {
		return nil, fmt.Errorf("endpoint %s: %w", cfg.Endpoint, syscall.EADDRINUSE)
	}
	l := &memListener{d: d, cfg: cfg, accept: make(chan *memLink), closed: make(chan struct{})}
	if d.bound == nil {
		d.bound = make(map[string]*memListener)
	}
	d.bound[name] = l
	return l, nil
}

// Dialer implements vtx.Driver.
func (d *Mem) Dialer(cfg *vtx.Config) (vtx.Dialer, error) {
	if cfg.Endpoint.Address == "" {
		return nil, fmt.Errorf("endpoint %s: no name: %w", cfg.Endpoint, vtx.ErrInvalid)
	}
	return memDialer{d, cfg}, nil
}

type memListener struct {
	d      *Mem
	cfg    *vtx.Config
	accept chan *memLink
	once   sync.Once
	closed chan struct{}
}

func (l *memListener) Addr() string { return l.cfg.Endpoint.String() }

func (l *memListener) Accept() (vtx.Link, error) {
	select {
	case k := <-l.accept:
		return k, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.d.mu.Lock()
		delete(l.d.bound, l.cfg.Endpoint.Address)
		l.d.mu.Unlock()
	})
	return nil
}

type memDialer struct {
	d   *Mem
	cfg *vtx.Config
}

func (x memDialer) Close() error { return nil }

func (x memDialer) Dial(ctx context.Context) (vtx.Link, error) {
	x.d.mu.Lock()
	l := x.d.bound[x.cfg.Endpoint.Address]
	x.d.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("endpoint %s: %w", x.cfg.Endpoint, syscall.ECONNREFUSED)
	}
	here, there := newMemPair(x.cfg, l.cfg)
	x.d.mu.Lock()
	x.d.pairs++
	here.peer.Unfiltered = x.d.Mixed && x.d.pairs%2 == 0
	x.d.mu.Unlock()
	there.peer.Unfiltered = here.peer.Unfiltered
	select {
	case l.accept <- there:
	case <-l.closed:
		return nil, fmt.Errorf("endpoint %s: %w", x.cfg.Endpoint, syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-there.started:
		return here, nil
	case <-there.wire.cut:
		return nil, there.Err()
	case <-ctx.Done():
		there.Close(ctx.Err())
		return nil, ctx.Err()
	}
}

// memWire is the fate that both ends of a connection share.
type memWire struct {
	once sync.Once
	cut  chan struct{}
	err  error
}

// memLink is one end: it sends into out and delivers what comes through in.
type memLink struct {
	peer    vtx.Peer
	in, out chan vtx.Message
	started chan struct{}
	wire    *memWire
	done    chan struct{} // closed after what came before the cut was delivered
}

func newMemPair(a, b *vtx.Config) (here, there *memLink) {
	ab, ba := make(chan vtx.Message, memWindow), make(chan vtx.Message, memWindow)
	wire := &memWire{cut: make(chan struct{})}
	end := func(peer *vtx.Config, in, out chan vtx.Message) *memLink {
		return &memLink{
			peer: vtx.Peer{Address: peer.Endpoint.Address, Type: peer.Type, RoutingID: peer.Options.RoutingID},
			in:   in, out: out, wire: wire, started: make(chan struct{}), done: make(chan struct{}),
		}
	}
	return end(b, ba, ab), end(a, ab, ba)
}

func (k *memLink) Peer() vtx.Peer        { return k.peer }
func (k *memLink) Done() <-chan struct{} { return k.done }

func (k *memLink) Err() error {
	select {
	case <-k.wire.cut:
		return k.wire.err
	default:
		return nil
	}
}

func (k *memLink) Start(sink vtx.Sink) {
	close(k.started)
	go func() {
		defer close(k.done)
		for {
			select {
			case m := <-k.in:
				k.deliver(sink, m)
			case <-k.wire.cut:
				for len(k.in) > 0 {
					k.deliver(sink, <-k.in)
				}
				return
			}
		}
	}()
}

func (k *memLink) deliver(sink vtx.Sink, m vtx.Message) {
	var b vtx.Batch
	b.AppendMessage(m, 0, false)
	sink.Deliver(&b) // an error means that the engine is about to close the link
}

func (k *memLink) Send(b *vtx.Batch) error {
	for b.Len() > 0 {
		m := append(vtx.Message(nil), b.Front()...)
		select {
		case k.out <- m:
			b.Pop()
		case <-k.wire.cut:
			return k.wire.err
		}
	}
	return nil
}

func (k *memLink) Close(reason error) {
	k.wire.once.Do(func() {
		if reason == nil {
			reason = errors.New("the peer closed")
		}
		k.wire.err = reason
		close(k.wire.cut)
	})
}
