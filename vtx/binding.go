package vtx

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
)

// binding is one vtx_bind: a listener, and the private endpoint where the pipes of its peers join the
// application's socket.
type binding struct {
	s        *Socket
	cfg      *Config
	traits   Traits
	endpoint string // as the application wrote it
	inproc   string
	listener Listener
	fanout   *fanout // nil unless its peers share a pipe
	once     sync.Once
	closing  chan struct{} // closed when nobody is to be accepted any more
	done     chan struct{} // the accept loop has ended
}

// An application that does not touch its socket while peers come and go makes libzmq keep what it has
// not yet seen of each, some tens of KiB. Beyond maxUndrained of them new peers come in slowly.
var (
	maxUndrained   int64 = 1000
	undrainedPause       = time.Second
)

// bind runs on the application's thread.
func (s *Socket) bind(endpoint string) error {
	cfg, driver, err := s.config(endpoint)
	if err != nil {
		return err
	}
	listener, err := driver.Listen(cfg)
	if errors.Is(err, syscall.EADDRINUSE) {
		s.m.sweep() // it may be a socket's that the application has closed
		listener, err = driver.Listen(cfg)
	}
	if err != nil {
		s.monitor.send(failure(EventBindFailed, cfg.Endpoint.String(), err))
		return err
	}
	b := &binding{
		s: s, cfg: cfg, traits: traitsAt(driver, listener), endpoint: endpoint,
		inproc: newInproc(), listener: listener,
		closing: make(chan struct{}), done: make(chan struct{}),
	}
	if b.fanout, err = newFanout(b); err != nil {
		listener.Close()
		return err
	}
	if err := zmq.Bind(s.handle, b.inproc); err != nil {
		listener.Close()
		return fmt.Errorf("binding the socket inside the process: %w", err)
	}
	s.mu.Lock()
	if s.ending {
		s.mu.Unlock()
		zmq.Unbind(s.handle, b.inproc)
		listener.Close()
		return fmt.Errorf("endpoint %s: the socket is closing: %w", shown(endpoint), ErrNotSocket)
	}
	s.bindings = append(s.bindings, b)
	s.endpoint = listener.Addr()
	s.mu.Unlock()
	s.monitor.send(Event{Kind: EventListening, Endpoint: listener.Addr()})
	go b.accept()
	return nil
}

func (b *binding) accept() {
	defer close(b.done)
	for {
		link, err := b.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if outOfDescriptors(err) {
				b.s.m.pool.shed() // for when the listener tries again
			}
			news{b.s}.refused(b.listener.Addr(), err)
			continue
		}
		p := newPeering(b.s, b.cfg, b.traits, b.endpoint, b.inproc)
		p.fanout = b.fanout
		if !b.s.add(p) {
			link.Close(errClosing)
			continue
		}
		go p.run(link)
		b.pace()
	}
}

// pace waits for a while if the application lets ended peerings pile up.
func (b *binding) pace() {
	if b.s.undrained.Load() < maxUndrained {
		return
	}
	b.s.monitor.send(Event{
		Kind: EventConnectDelayed, Endpoint: b.listener.Addr(),
		Reason: fmt.Sprintf("%d peers have left since the application last used its socket: new ones have to wait", maxUndrained),
	})
	pause := time.NewTimer(undrainedPause)
	defer pause.Stop()
	look := time.NewTicker(min(undrainedPause, 20*time.Millisecond))
	defer look.Stop()
	for b.s.undrained.Load() >= maxUndrained {
		select {
		case <-look.C:
		case <-pause.C:
			return
		case <-b.closing:
			return
		}
	}
}

// close ends the listener; the peerings must have ended before, since some transports have one descriptor for both.
func (b *binding) close() {
	b.once.Do(func() { // vtx_unbind, and the end of the socket, may come together
		close(b.closing)
		b.listener.Close()
		<-b.done
		if b.fanout != nil {
			b.fanout.close()
		}
		b.s.mu.Lock()
		b.s.bindings = slices.DeleteFunc(b.s.bindings, func(o *binding) bool { return o == b })
		b.s.mu.Unlock()
		b.s.monitor.send(Event{Kind: EventClosed, Endpoint: b.listener.Addr()})
	})
}

// unbind runs on the application's thread. The endpoint is the one given to bind, or the one it became.
func (s *Socket) unbind(endpoint string) error {
	if err := s.halfReceived(endpoint); err != nil {
		return err
	}
	s.mu.Lock()
	i := slices.IndexFunc(s.bindings, func(b *binding) bool { return b.endpoint == endpoint || b.listener.Addr() == endpoint })
	if i < 0 {
		s.mu.Unlock()
		return fmt.Errorf("endpoint %s: the socket is not bound to it: %w", shown(endpoint), ErrNotFound)
	}
	b := s.bindings[i]
	s.mu.Unlock()
	zmq.Unbind(s.handle, b.inproc)
	s.finishAll(func(p *peering) bool { return p.inproc == b.inproc }, s.refreshLinger())
	b.close()
	return nil
}

// finishAll ends the chosen peerings and waits for them.
func (s *Socket) finishAll(choose func(*peering) bool, linger time.Duration) {
	list := s.current(choose)
	for _, p := range list {
		p.finish(linger)
	}
	for _, p := range list {
		<-p.done
	}
}
