package vtx

import (
	"fmt"
	"maps"
	"slices"
	"syscall"

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
	p.invited, p.cut = false, true
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
