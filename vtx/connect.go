package vtx

import (
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
)

// connect runs on the application's thread.
func (s *Socket) connect(endpoint string) error {
	cfg, driver, err := s.config(endpoint)
	if err != nil {
		return err
	}
	if s.typ.connectsOnce() && s.connectedTo(endpoint) {
		return nil
	}
	dialer, err := driver.Dialer(cfg)
	if err != nil {
		return err
	}
	p := newPeering(s, cfg, traitsAt(driver, dialer), endpoint, newInproc())
	p.dialer = dialer
	if err := s.meet(p); err != nil {
		dialer.Close()
		return err
	}
	if !s.add(p) {
		if p.pipe != nil {
			p.unjoin(false)
		}
		s.part(p)
		dialer.Close()
		return fmt.Errorf("endpoint %s: the socket is closing: %w", shown(endpoint), ErrNotSocket)
	}
	s.mu.Lock()
	s.endpoint = cfg.Endpoint.String()
	s.mu.Unlock()
	s.monitor.send(Event{Kind: EventConnectDelayed, Value: uint32(syscall.EINPROGRESS), Endpoint: cfg.Endpoint.String()})
	go p.run(nil)
	return nil
}

// connectsOnce: a second connection to the same endpoint would get half of what is sent, to a peer that may not listen to
// it, or everything twice. libzmq says yes to it and does nothing.
func (t SocketType) connectsOnce() bool { return t == Dealer || t == Sub || t == Pub || t == Req }

func (s *Socket) connectedTo(endpoint string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.outgoing[endpoint]) > 0
}

// meet prepares where the application's socket and the peering's pipe come together. As a rule the pipe binds
// and the application connects, now: the application can send at once, as on a native connection. Two
// kinds of peering have their pipe join when there is a peer: a socket with ZMQ_IMMEDIATE, which must not
// queue for one that is away, and a ROUTER that does not know the peer's name before the peer says it.
func (s *Socket) meet(p *peering) error {
	o := p.cfg.Options
	unnamed := s.typ == Router && o.Named[optConnectRoutingID] == ""
	switch {
	case s.typ == Pair:
		return s.meetPair(p)
	case o.Immediate || unnamed:
		return s.invite(p)
	}
	return s.meetNow(p)
}

// invite has the pipe join later.
func (s *Socket) invite(p *peering) error {
	p.invited = true
	return zmq.Bind(s.handle, p.inproc)
}

// pairPatience is how long vtx_connect waits for libzmq to be done with the connection that a PAIR had before.
const pairPatience = 10 * time.Second

// meetPair is for a PAIR, which has one connection: libzmq does not take a second before the first has been read to its end,
// and does not say so to the application.
func (s *Socket) meetPair(p *peering) (err error) {
	taken := fmt.Errorf("endpoint %s: a PAIR socket has one peer, and this one has it: %w", p.cfg.Endpoint, syscall.EISCONN)
	s.mu.Lock()
	if s.pairUser != nil {
		s.mu.Unlock()
		return taken
	}
	if p.cfg.Options.Immediate || s.pairPipe != nil {
		s.mu.Unlock()
		return s.invite(p)
	}
	s.pairUser = p
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.pairUser = nil
		} else {
			s.pairPipe, s.pairLeft = p.pipe.(*pipe), false
		}
	}()
	var unread Batch // goes through the new pipe
	for end := time.Now().Add(pairPatience); ; time.Sleep(time.Millisecond) {
		if err := s.meetNow(p); err != nil {
			return err
		}
		pipe := p.pipe.(*pipe)
		if pipe.CanSend() {
			if unread.Len() > 0 {
				unread.Offer(pipe.Send)
				s.stats.drop(DropFull, unread.Len())
			}
			return nil
		}
		p.pipe = nil
		s.m.closePipe(pipe)
		if !s.pairLeft || time.Now().After(end) {
			return taken
		}
		if err := s.halfReceived(p.endpoint); err != nil {
			return err
		}
		if events, err := zmq.Events(s.handle); err == nil && events&zmq.PollOut == 0 { // it is the old one's
			buf, n := zmq.Drain(s.handle)
			unread.buf, unread.n = append(unread.buf, buf...), unread.n+n
		}
	}
}

// meetNow has the pipe bind and the application connect.
func (s *Socket) meetNow(p *peering) error {
	o, kind := p.cfg.Options, newPipeKind(s.typ, p.cfg.Options)
	pipe, err := s.m.takePipe(kind)
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", p.cfg.Endpoint, err)
	}
	p.id = o.Named[optConnectRoutingID]
	// The connecting end decides on ZMQ_CONFLATE, and that is the application.
	err = pipe.configure(o, p.traits.Subscriptions, false, p.id)
	if err == nil {
		err = pipe.Bind(p.inproc)
	}
	if err == nil {
		err = zmq.Connect(s.handle, p.inproc)
		// They are joined; and whenever a socket is closed libzmq looks at all endpoints that the context has.
		pipe.Unbind(p.inproc)
	}
	if err != nil {
		s.m.closePipe(pipe)
		return fmt.Errorf("joining the socket inside the process: %w", err)
	}
	p.pipe = pipe
	return nil
}

// disconnect runs on the application's thread. What is on its way is still sent, within LINGER.
func (s *Socket) disconnect(endpoint string) error {
	if err := s.halfReceived(endpoint); err != nil {
		return err
	}
	s.mu.Lock()
	list := slices.Collect(maps.Keys(s.outgoing[endpoint]))
	for _, p := range list {
		s.disconnected(p)
	}
	s.mu.Unlock()
	if len(list) == 0 {
		return fmt.Errorf("endpoint %s: the socket is not connected to it: %w", shown(endpoint), ErrNotFound)
	}
	linger := s.refreshLinger()
	for _, p := range list {
		s.part(p)
		p.finish(linger)
	}
	return nil
}

// part undoes meet on the application's side, unless that has to read on: then the pipe's end is the end.
func (s *Socket) part(p *peering) {
	s.mu.Lock()
	invited := p.invited
	p.invited = false
	s.mu.Unlock()
	switch {
	case invited:
		zmq.Unbind(s.handle, p.inproc)
	case !s.reading():
		zmq.Disconnect(s.handle, p.inproc)
	}
}

// reading says whether libzmq may have taken a part of a message out of a connection, to see whether there is something to
// receive; the application may not have begun to receive it. libzmq aborts when that connection is then cut.
func (s *Socket) reading() bool {
	switch s.typ {
	case Sub, XSub, Router, Rep:
		events, err := zmq.Events(s.handle)
		return err == nil && events&zmq.PollIn != 0
	}
	return false
}
