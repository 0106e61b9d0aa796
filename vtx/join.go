package vtx

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/libvtx/libvtx/internal/zmq"
)

// join connects a pipe to the private endpoint at which the application's socket is bound.
func (p *peering) join(peer Peer) error {
	if p.cfg.Type == Pair {
		return p.joinPair()
	}
	if p.fanout != nil {
		return p.joinFanout()
	}
	o := p.cfg.Options
	kind := newPipeKind(p.cfg.Type, o)
	if o.Conflate && kind.app.subscribes() {
		// XPUB knows no ZMQ_CONFLATE; PUB does, and shows no subscriptions: the publisher is to send everything.
		kind.typ = zmq.TypePub
		p.subs.add(nil)
	}
	if kind.app == Router {
		p.id = p.routingID(peer)
		p.s.m.freeName(p.s, p.id)
	}
	pipe, err := p.s.m.joinedPipe(kind, p.inproc, o, p.traits.Subscriptions, o.Conflate, p.id)
	if err != nil {
		p.s.gone(err)
		return err
	}
	p.pipe, p.ours, p.greedily = pipe, true, false
	return nil
}

// unjoin parts the pipe from the application. What the application was sent, it can still read; what it had
// sent is in carry if it is to be kept.
func (p *peering) unjoin(keep bool) {
	if b, ok := p.pipe.(*branch); ok {
		p.pipe = nil
		p.s.stats.drop(DropUnsent, b.leave())
		return
	}
	pipe := p.pipe.(*pipe)
	p.pipe = nil
	lost := 0
	switch {
	case p.cfg.Type == Pair:
		p.s.leavePair(p, pipe)
	case !p.ours:
		lost = pipe.Drop()
		p.s.m.closePipe(pipe)
	default:
		p.s.undrained.Add(1)
		p.s.seeOff(pipe)
		if !keep && !p.cfg.Type.subscribes() {
			lost = pipe.Drop()
		}
		p.carry.borrow()
		buf, n, err := pipe.Disconnect(p.inproc, p.carry.buf)
		p.carry.buf, p.carry.n = buf, p.carry.n+n
		if err != nil { // the application's end is gone
			p.s.m.closePipe(pipe)
			break
		}
		var left topics
		if pipe.kind.typ == zmq.TypeXPub {
			left = p.takeSubscribed()
		}
		p.s.m.returnPipe(pipe, p.s, p.id, left)
	}
	if p.cfg.Type.subscribes() {
		p.carry.Reset()
		return
	}
	p.s.stats.drop(DropUnsent, lost)
}

// takeSubscribed takes the topics to which the application has subscribed over the pipe that is parting, what is in carry
// included: it repeats them to the next pipe.
func (p *peering) takeSubscribed() topics {
	for m := p.carry.Pop(); m != nil; m = p.carry.Pop() {
		p.subs.fromApplication(m)
	}
	subs := p.subs
	p.subs = make(topics)
	return subs
}

// seeOff has a pipe that is parting answer when the application's end does its part, which is when the application next
// uses its socket: only then is that end gone, and for a ROUTER the peer's name free again.
func (s *Socket) seeOff(pipe *pipe) {
	pipe.Prompt(func() {
		s.undrained.Store(0)
		s.m.pool.stirred(pipe)
		pipe.Check()
		pipe.Stir() // another peer may have the pipe by now, and is not to miss that it woke
	})
}

// joinFanout shares the pipe of the binding's other subscribers.
func (p *peering) joinFanout() error {
	b, err := p.fanout.join()
	if err != nil {
		p.s.gone(err)
		return err
	}
	p.pipe, p.ours = b, true
	return nil
}

// routingID is what a ROUTER application calls the peer: what the application said at connect, else what
// the peer says it is, else an address with a number that never comes again. (An id in use twice would make
// the second peer vanish without a word inside libzmq.)
func (p *peering) routingID(peer Peer) string {
	if id := p.cfg.Options.Named[optConnectRoutingID]; id != "" && p.dialer != nil {
		return id
	}
	id := string(peer.RoutingID)
	if id != "" && id[0] != 0 && len(id) <= 255 && !strings.Contains(id, "://") {
		return id
	}
	return fmt.Sprintf("%s#%d", p.address(peer), p.s.m.serial.Add(1))
}

// joinedPipe takes a pipe, configures it and joins it to the application's socket. Errors: as takePipe; errGone.
func (m *Manager) joinedPipe(kind pipeKind, inproc string, o *Options, carriesSubscriptions, conflate bool, routingID string) (*pipe, error) {
	pipe, err := m.takePipe(kind)
	if err != nil {
		return nil, err
	}
	if err = pipe.configure(o, carriesSubscriptions, conflate, routingID); err == nil {
		err = m.connect(pipe, inproc)
	}
	if err != nil {
		m.closePipe(pipe)
		return nil, err
	}
	return pipe, nil
}

// gone has a look at the socket if err says that the application's end is not there.
func (s *Socket) gone(err error) {
	if errors.Is(err, errGone) {
		s.checkAlive()
	}
}

// connect joins a pipe to an inproc endpoint that must be bound. Connecting to one that is gone would
// succeed too, and swallow messages.
func (m *Manager) connect(p *pipe, inproc string) error {
	if err := p.Connect(inproc); err != nil {
		return err
	}
	bound, err := m.bound(inproc)
	if err != nil {
		return err
	}
	if !bound {
		return errGone
	}
	return nil
}

// errGone: the application's end of the pipe is not there.
var errGone = fmt.Errorf("the application has closed its socket: %w", syscall.ENOTSOCK)

// ring makes the ZMQ_FD of the socket with that tag readable: it is given a connection, and its end, to look at.
func (m *Manager) ring(tag string) {
	m.mu.Lock()
	guard := m.guard
	m.mu.Unlock()
	if guard.Connect(tag) == nil {
		guard.Disconnect(tag, nil)
	}
}

// bound says whether a socket of the context is bound to an inproc endpoint of this manager's.
func (m *Manager) bound(inproc string) (bool, error) {
	m.probing.Lock()
	defer m.probing.Unlock()
	if m.stopped() {
		return false, ErrTerminated
	}
	if m.probe == nil {
		s, err := zmq.Open(m.ctx, zmq.TypePair, m.poller)
		if err != nil {
			m.failed(err)
			return false, err
		}
		m.probe = s
	}
	bound, err := m.probe.Bound(inproc)
	if !bound {
		// It may have received a pipe that was waiting for the endpoint; closing it sends that away.
		m.probe.Close()
		m.probe = nil
	}
	m.failed(err)
	return bound, err
}
