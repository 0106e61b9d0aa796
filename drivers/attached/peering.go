package attached

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// bridgeHWM is what fits between engine and driver, in messages for each direction and end: a few, since
// they add to the application's own high-water marks.
const bridgeHWM = 16

// openLimit is how long a driver waits for the engine to take a peer: less than the engine pauses where peers pile up.
const openLimit = 500 * time.Millisecond

// pipeType is the type of the driver's socket for a peering. To the driver it is what docs/api.md's table calls the
// pipe, as far as that is a socket that moves frames and does nothing else. XSUB and XPUB do more: they count
// subscriptions and filter, drop what does not fit, or say that they are writable and are not (docs/pipes.md, 13 to 15).
// In their place it is a DEALER, over which the same frames pass.
func pipeType(app vtx.SocketType) int {
	switch app {
	case vtx.Pair:
		return zmq.TypePair
	case vtx.Push:
		return zmq.TypePull
	case vtx.Pull:
		return zmq.TypePush
	}
	return zmq.TypeDealer
}

// peering is one peer that the driver has opened: the two sockets through which its messages pass. It lives until the
// driver closes it or the endpoint ends. The engine sees it as a link; if it cannot use that now, as another.
type peering struct {
	e      *endpoint
	peer   vtx.Peer
	ours   *zmq.Socket
	theirs zmq.Handle // the driver's thread's

	links   chan *link    // that the engine has started
	refused chan struct{} // closed when the engine has no use for it
	parted  chan struct{} // closed when the driver has closed its end
	cutoff  chan struct{} // closed when the endpoint is gone
	cutting sync.Once

	said    vtx.Batch  // by a driver that had left before there was a link
	sending sync.Mutex // guards leaving, and our end while something is sent
	leaving bool
}

// peerings are those that a driver has open, by the driver's end.
var peerings struct {
	sync.Mutex
	byHandle map[zmq.Handle]*peering
}

// OpenPeering is vtx_peering_open. The caller's thread is the driver's, and owns the socket.
func OpenPeering(vtxname, routingID, address string) (unsafe.Pointer, error) {
	e, err := find(vtxname)
	if err != nil {
		return nil, err
	}
	p, wait, err := e.newPeering(vtx.Peer{Address: address, RoutingID: []byte(routingID), Type: vtx.TypeUnknown})
	if err != nil {
		return nil, fmt.Errorf("vtxname %s, peer %.100q: %w", vtxname, address, err)
	}
	l := newLink(p)
	e.offer(l)
	if !wait {
		return unsafe.Pointer(p.theirs), nil
	}
	if err := l.verdict(); err != nil {
		p.shut()
		p.cut()
		return nil, err
	}
	return unsafe.Pointer(p.theirs), nil
}

// refusal is what a peer is told that the engine does not take, and nothing else.
type refusal struct{ reason *vtx.HandshakeError }

func (r refusal) Error() string { return r.reason.Error() }
func (r refusal) Unwrap() error { return syscall.ECONNREFUSED }

// newPeering opens the sockets. wait: the engine is there to say whether it takes the peer.
func (e *endpoint) newPeering(peer vtx.Peer) (p *peering, wait bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.closed:
		return nil, false, fmt.Errorf("it is being closed: %w", syscall.ENOENT)
	default:
	}
	if e.classic != nil && e.answered {
		return nil, false, fmt.Errorf("it has a data pipe, through which all its messages go: %w", syscall.EINVAL)
	}
	if e.command == cmdConnect {
		for other := range e.peerings {
			if !other.left() {
				return nil, false, fmt.Errorf("what is connected has one peer, and this has one: %w", syscall.EISCONN)
			}
		}
		if e.waits((*peering).left) != nil {
			return nil, false, fmt.Errorf("what the last peer sent has not been taken yet: %w", syscall.EAGAIN)
		}
		if e.dialled && e.cfg.Options.ReconnectIvl <= 0 {
			return nil, false, fmt.Errorf("ZMQ_RECONNECT_IVL says that no peer is looked for any more: %w", syscall.ECONNREFUSED)
		}
	}
	inproc := "inproc://" + newName("peering")
	s, err := e.d.m.OpenBridge(zmq.TypeDealer, inproc, bridgeHWM) // on inproc it talks to any type
	if err != nil {
		return nil, false, err
	}
	h, err := e.d.m.OpenFarEnd(pipeType(e.cfg.Type), inproc, bridgeHWM)
	if err != nil {
		e.d.m.CloseBridge(s)
		return nil, false, err
	}
	p = &peering{
		e: e, peer: peer, ours: s, theirs: h,
		links: make(chan *link), refused: make(chan struct{}), parted: make(chan struct{}), cutoff: make(chan struct{}),
	}
	e.kept.Offer(s.Send) // there is as much room as in the peering that it comes from, unless the driver made more there
	e.cfg.Report.Drop(vtx.DropUnsent, e.kept.Len())
	e.kept = vtx.Batch{}
	e.peerings[p] = struct{}{}
	peerings.Lock()
	if peerings.byHandle == nil {
		peerings.byHandle = make(map[zmq.Handle]*peering)
	}
	peerings.byHandle[h] = p
	peerings.Unlock()
	go p.run()
	return p, e.command == cmdBind && e.answered, nil
}

// ClosePeering is vtx_peering_close, on the thread that opened it.
func ClosePeering(socket unsafe.Pointer) error {
	peerings.Lock()
	p := peerings.byHandle[zmq.Handle(socket)]
	peerings.Unlock()
	if p == nil {
		return fmt.Errorf("%p is not an open peering: %w", socket, syscall.ENOTSOCK)
	}
	p.shut()
	return nil
}

// shut closes the driver's end, on the driver's thread. What the driver has not taken goes to the next peering
// where there can be one; subscriptions are repeated by the engine.
func (p *peering) shut() {
	p.sending.Lock()
	p.leaving = true
	p.sending.Unlock()
	peerings.Lock()
	delete(peerings.byHandle, p.theirs)
	peerings.Unlock()
	rest, n := zmq.Drain(p.theirs)
	zmq.CloseHandle(p.theirs)
	switch {
	case n == 0 || p.e.cfg.Type == vtx.Sub || p.e.cfg.Type == vtx.XSub:
	case p.e.command == cmdConnect:
		p.e.mu.Lock()
		p.e.kept = vtx.Framed(rest, n)
		p.e.mu.Unlock()
	default:
		p.e.cfg.Report.Drop(vtx.DropUnsent, n)
	}
	close(p.parted)
	if p.e.command == cmdConnect {
		p.retire()
	}
}

// retire takes the link of a peering that the driver has left out of the queue, where it would cost the next one an
// interval of reconnecting, unless the driver has sent something.
func (p *peering) retire() {
	p.e.mu.Lock()
	l := p.e.waits(func(other *peering) bool { return other == p })
	p.e.mu.Unlock()
	if l == nil || !p.e.withdraw(l) {
		return // the engine has it
	}
	if p.said.Len() == 0 {
		_, _ = p.said.Receive(p.ours)
	}
	if p.said.Len() > 0 {
		p.e.offer(l)
	} else {
		p.cut()
	}
}

// left says whether the driver has closed its end.
func (p *peering) left() bool {
	p.sending.Lock()
	defer p.sending.Unlock()
	return p.leaving
}

// cut ends the peering whether the driver has closed its end or not.
func (p *peering) cut() { p.cutting.Do(func() { close(p.cutoff) }) }

// run passes on what the driver sends, to one link after the other, until the peering ends. Where no link is to be
// expected, it throws away what comes, so that the driver is not held up.
func (p *peering) run() {
	defer func() {
		p.e.mu.Lock()
		delete(p.e.peerings, p)
		p.e.mu.Unlock()
		p.e.d.m.CloseBridge(p.ours)
	}()
	select {
	case l := <-p.links:
		if l.receive() {
			return
		}
	case <-p.refused:
	case <-p.cutoff:
		return
	}
	var unwanted vtx.Batch
	defer func() { unwanted.Release() }()
	for {
		n, err := unwanted.Receive(p.ours)
		if err != nil && !errors.Is(err, syscall.ENOMEM) {
			return
		}
		if n > 0 || err != nil {
			continue
		}
		select {
		case <-p.ours.Readable():
		case <-p.parted:
			return
		case <-p.e.d.ended:
			return
		case <-p.cutoff:
			return
		}
	}
}

// link is a peering as the engine sees it.
type link struct {
	p    *peering
	sink vtx.Sink

	deciding sync.Once
	decided  chan struct{} // closed when the engine has started or refused it
	refusal  error

	closing   chan struct{} // closed by Close
	closeOnce sync.Once
	flushed   chan struct{}

	ending sync.Once
	done   chan struct{}
	err    error
}

func newLink(p *peering) *link {
	return &link{
		p: p, decided: make(chan struct{}), closing: make(chan struct{}),
		flushed: make(chan struct{}), done: make(chan struct{}),
	}
}

// errClosed is the end of a peering that the driver closed, and errUnused of a link that the engine closed.
var (
	errClosed = errors.New("the driver closed the peering")
	errUnused = errors.New("closed by this end")
)

// verdict waits until the engine has started or refused the link. Errors: EAGAIN if it takes no new
// peers for now, the reason of a refusal.
func (l *link) verdict() error {
	timer := time.NewTimer(openLimit)
	defer timer.Stop()
	select {
	case <-l.decided:
	case <-timer.C:
		if l.p.e.withdraw(l) {
			return fmt.Errorf("the application's socket takes no new peers for now: %w", syscall.EAGAIN)
		}
	case <-l.p.e.closed:
		if l.p.e.withdraw(l) {
			return fmt.Errorf("it is being closed: %w", syscall.ENOENT)
		}
	}
	<-l.decided // the engine is at it
	var h *vtx.HandshakeError
	if errors.As(l.refusal, &h) {
		return refusal{h}
	}
	return l.refusal
}

// decide notes the engine's first word on the link, and says whether this was it.
func (l *link) decide(refusal error) (first bool) {
	l.deciding.Do(func() {
		first = true
		l.refusal = refusal
		close(l.decided)
	})
	return first
}

// Peer implements vtx.Link.
func (l *link) Peer() vtx.Peer { return l.p.peer }

// Start implements vtx.Link.
func (l *link) Start(sink vtx.Sink) {
	l.sink = sink
	l.p.e.started()
	l.decide(nil)
	select {
	case l.p.links <- l:
	case <-l.p.cutoff:
		l.end(errClosed)
	}
}

// receive delivers what the driver sends, until the driver has closed its end and all is delivered, or the
// engine has closed the link. It says whether the peering is over.
func (l *link) receive() bool {
	p := l.p
	if p.said.Len() > 0 {
		l.deliver(&p.said)
		p.said.Release()
	}
	var b vtx.Batch
	defer func() { b.Release() }()
	for last := false; ; {
		n, err := b.Receive(p.ours)
		l.spent(err)
		if err != nil && !errors.Is(err, syscall.ENOMEM) {
			l.end(err)
			return true
		}
		if n > 0 || err != nil {
			l.deliver(&b)
			continue
		}
		if last {
			l.end(errClosed)
			return true
		}
		select {
		case <-p.ours.Readable():
		case <-p.parted:
			last = true
		case <-p.e.d.ended:
			last = true
		case <-l.closing:
			return false
		case <-p.cutoff:
			l.end(errClosed)
			return true
		}
	}
}

// deliver hands over what the driver sent. An error means that the engine is about to close the link, or is to.
func (l *link) deliver(b *vtx.Batch) { l.spent(l.sink.Deliver(b)) }

// spent ends the link where what the driver sent on account of its peer was more than there is memory for.
func (l *link) spent(err error) {
	if errors.Is(err, syscall.ENOMEM) {
		l.p.e.cfg.Report.Drop(vtx.DropTooBig, 1)
		l.end(fmt.Errorf("the peer sent more than there is memory for: %w", err))
	}
}

// Send implements vtx.Link.
func (l *link) Send(b *vtx.Batch) error {
	p := l.p
	for {
		p.sending.Lock()
		var err error
		if p.leaving {
			err = errClosed
		} else {
			err = b.Offer(p.ours.Send)
		}
		p.sending.Unlock()
		if err == errClosed {
			<-p.parted // and what the driver has not taken is kept
		}
		if err != nil || b.Len() == 0 {
			return err
		}
		select {
		case <-p.ours.Writable():
		case <-p.parted:
			return errClosed
		case <-p.e.d.ended:
			return p.e.d.gone()
		case <-l.closing:
			return errUnused
		}
	}
}

// Done implements vtx.Link.
func (l *link) Done() <-chan struct{} { return l.done }

// Err implements vtx.Link.
func (l *link) Err() error {
	select {
	case <-l.done:
		return l.err
	default:
		return nil
	}
}

func (l *link) end(err error) {
	l.ending.Do(func() {
		if !l.p.e.d.alive() {
			err = l.p.e.d.gone()
		}
		l.err = err
		close(l.done)
	})
}

// Flushed implements vtx.Flusher: the driver has closed the peering, or does not ask to be waited for.
func (l *link) Flushed() <-chan struct{} { return l.flushed }

// Close implements vtx.Link. A link that the engine had no use for, and a peer that is waiting for one, meet again at
// the next Dial; of a listener's the driver is told.
func (l *link) Close(reason error) {
	l.closeOnce.Do(func() {
		if reason == nil {
			reason = errUnused
		}
		p := l.p
		close(l.closing)
		switch {
		case !l.decide(reason):
			alive := !p.left() && p.e.d.alive()
			p.e.stopped(alive)
			go func() {
				select {
				case <-p.parted:
				case <-p.e.final:
				case <-p.e.d.ended:
				}
				close(l.flushed)
			}()
		case p.e.command == cmdConnect:
			p.e.offer(newLink(p))
			if p.left() {
				p.retire()
			}
			close(l.flushed)
		default:
			close(p.refused)
			close(l.flushed)
		}
		l.end(reason)
	})
}
