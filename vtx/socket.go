package vtx

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
)

// Socket is what the engine knows of one of the application's sockets. Its handle is touched only inside the
// application's own calls; everything else may happen on any goroutine.
type Socket struct {
	m      *Manager
	handle zmq.Handle
	typ    SocketType
	made   bool // by vtx_socket, so that vtx_destroy closes it
	// tag is a private endpoint that the socket is bound to and nobody connects to. It tells a socket from a
	// later one at the same address, and an open one from a closed one.
	tag string

	monitor monitor
	stats   stats
	// undrained counts the peerings that ended since the application last used the socket. Until it does,
	// libzmq keeps each one's queues.
	undrained atomic.Int64
	checking  atomic.Bool // checkSoon is under way

	mu       sync.Mutex
	linger   time.Duration     // as last read
	named    map[string]string // VTX options
	bindings []*binding
	peerings map[*peering]struct{}
	outgoing index    // those that are connected, by endpoint: as the application wrote it, and as it is
	called   index    // a ROUTER's that have a link, by routing id
	endpoint string   // the last one bound or connected
	spent    []string // where the socket is bound for connections that have ended by themselves
	pairUser *peering // PAIR only: who has the pipe
	pairPipe *pipe
	// What follows is for the application's thread while it connects.
	pairLeft   *leftPair // nil: libzmq is done with it
	pairUnread Batch     // taken out of it, for the next one

	removed bool        // under the manager's lock
	closed  atomic.Bool // the handle, by VTX

	ending bool
	ended  chan struct{} // closed when nothing of the engine's is left
}

// news counts and tells what a driver has to say about one binding or connection.
type news struct {
	s *Socket
}

func (n news) Drop(reason DropReason, count int) { n.s.stats.drop(reason, count) }
func (n news) Retry(count int)                   { n.s.stats.retries.Add(int64(count)) }

// Peers implements PeerCounter.
func (n news) Peers(count int) {
	n.s.stats.peerings.Add(int64(count))
	n.s.stats.peeringsSoFar.Add(int64(max(count, 0)))
}

func (n news) Event(e Event) {
	if e.Kind == EventAcceptFailed {
		n.s.stats.refusals.Add(1)
	}
	n.s.monitor.send(e)
}

// refused counts and tells of somebody who wanted to be a peer at a binding.
func (n news) refused(endpoint string, err error) {
	n.s.stats.refusals.Add(1)
	n.s.monitor.send(failure(EventAcceptFailed, endpoint, err))
}

// config reads what one bind or connect call needs. It runs on the application's thread.
func (s *Socket) config(endpoint string) (*Config, Driver, error) {
	e, err := ParseEndpoint(endpoint)
	if err != nil {
		return nil, nil, err
	}
	driver, err := s.m.driver(e.Scheme)
	if err != nil {
		return nil, nil, fmt.Errorf("endpoint %s: %w", shown(endpoint), err)
	}
	if err := refuseOptions(s.handle); err != nil {
		return nil, nil, fmt.Errorf("endpoint %s: %w", shown(endpoint), err)
	}
	o, err := readOptions(s.handle)
	if err != nil {
		return nil, nil, err
	}
	if o.Security.Mechanism != MechanismNull && !driver.Traits().Security {
		return nil, nil, fmt.Errorf("endpoint %s: the socket asks for PLAIN or CURVE, which %s:// does not have: %w",
			shown(endpoint), driver.Scheme(), ErrNotSupported)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.linger = o.Linger
	if o.Named, err = namedOptions(driver, s.m.namedOptions(), s.named, e); err != nil {
		return nil, nil, fmt.Errorf("endpoint %s: %w", shown(endpoint), err)
	}
	return &Config{Endpoint: e, Type: s.typ, Options: o, Report: news{s}, Poller: s.m.poller, m: s.m}, driver, nil
}

// add makes a peering known, unless the socket is ending.
func (s *Socket) add(p *peering) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return false
	}
	s.peerings[p] = struct{}{}
	if p.dialer != nil {
		s.outgoing.add(p.endpoint, p)
		s.outgoing.add(p.cfg.Endpoint.String(), p)
	}
	return true
}

func (s *Socket) forget(p *peering) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.peerings, p)
	s.disconnected(p)
}

// disconnected makes an outgoing peering one that cannot be disconnected any more. The lock is held.
func (s *Socket) disconnected(p *peering) {
	if p.dialer != nil {
		s.outgoing.remove(p.endpoint, p)
		s.outgoing.remove(p.cfg.Endpoint.String(), p)
	}
}

// lost makes a peering that has ended by itself one that is as good as disconnected: the application may connect again
// as soon as it is told.
func (s *Socket) lost(p *peering) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disconnected(p)
	if p.invited {
		p.invited = false
		s.spent = append(s.spent, p.inproc)
	}
}

// unbindSpent does on the application's thread what remains of lost.
func (s *Socket) unbindSpent() {
	s.mu.Lock()
	spent := s.spent
	s.spent = nil
	s.mu.Unlock()
	for _, inproc := range spent {
		zmq.Unbind(s.handle, inproc)
	}
}

// show makes l what metadata tells of a peering, nil for nothing, and returns what that was before.
func (s *Socket) show(p *peering, l *liveLink) *liveLink {
	before := p.live.Swap(l)
	if s.typ != Router {
		return before
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if before != nil {
		s.called.remove(before.id, p)
	}
	if l != nil {
		s.called.add(l.id, p)
	}
	return before
}

// current lists the peerings that choose selects.
func (s *Socket) current(choose func(*peering) bool) []*peering {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*peering
	for p := range s.peerings {
		if choose(p) {
			list = append(list, p)
		}
	}
	return list
}

// checkAlive notices that the application has closed its socket without telling VTX.
func (s *Socket) checkAlive() {
	if alive, err := s.m.bound(s.tag); !alive && err == nil {
		go s.m.endSocket(s)
	}
}

// checkSoon does so a moment later, for callers that come often.
func (s *Socket) checkSoon() {
	if !s.checking.Swap(true) {
		time.AfterFunc(10*time.Millisecond, func() {
			s.checking.Store(false)
			s.checkAlive()
		})
	}
}

func (s *Socket) lastLinger(*peering) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.linger
}

// end finishes all that the engine does for the socket and returns when it is done, which is within the
// time that linger gives each peering. The handle is not touched.
func (s *Socket) end(linger func(*peering) time.Duration) {
	s.mu.Lock()
	already := s.ending
	s.ending = true
	s.mu.Unlock()
	all := s.current(func(*peering) bool { return true })
	for _, p := range all {
		p.finish(linger(p)) // if somebody else has begun, he may be more patient
	}
	if already {
		<-s.ended
		return
	}
	for _, p := range all {
		<-p.done
	}
	s.mu.Lock()
	bindings := slices.Clone(s.bindings)
	pair := s.pairPipe
	s.pairPipe = nil
	s.mu.Unlock()
	for _, b := range bindings {
		b.close()
	}
	if pair != nil {
		s.m.closePipe(pair)
	}
	s.monitor.end()
	close(s.ended)
}

// same says whether the handle is still the socket that it was when it was first seen, and open. It runs on
// the application's thread, and leaves the handle alone, which may be closed and gone, and would not tell again what it
// has told, if there is a socket to look with.
func (s *Socket) same() bool {
	if alive, err := s.m.bound(s.tag); err == nil {
		return alive || s.closed.Load() // by us, and not to be touched
	}
	defer s.rearm()
	s.m.probing.Lock()
	defer s.m.probing.Unlock()
	if s.closed.Load() {
		return true
	}
	err := zmq.Unbind(s.handle, s.tag)
	if err == nil {
		err = zmq.Bind(s.handle, s.tag)
	}
	return err == nil || errors.Is(err, zmq.ETERM)
}

// rearm makes ZMQ_FD tell the application of what there is and of what comes. It runs on the application's thread, after
// what made libzmq process the socket's commands: for those the descriptor does not become readable any more, and a new
// connection tells of a message only when it has been found empty before. So it is looked into; and where there is something
// already, the guard's coming and going makes the descriptor readable, as a native zmq_bind or zmq_connect does.
func (s *Socket) rearm() {
	if s.closed.Load() {
		return
	}
	news := zmq.PollIn
	if s.typ.waitsToSend() {
		news |= zmq.PollOut
	}
	if events, err := zmq.Events(s.handle); err == nil && events&news != 0 {
		s.m.ring(s.tag)
	}
}

// halfReceived refuses what could end the connection that the rest of a message is to come from: libzmq aborts then.
func (s *Socket) halfReceived(endpoint string) error {
	if zmq.HalfReceived(s.handle) {
		return fmt.Errorf("endpoint %s: receive the rest of the message first (ZMQ_RCVMORE): %w", shown(endpoint), ErrBusy)
	}
	return nil
}

// closeHandle closes the application's socket for it, unless that is being done.
func (s *Socket) closeHandle() error {
	s.m.probing.Lock() // nobody is looking at it
	defer s.m.probing.Unlock()
	if s.closed.Swap(true) {
		return nil
	}
	return zmq.CloseHandle(s.handle)
}

// refreshLinger reads ZMQ_LINGER, which the application may have changed since. It runs on the application's thread.
func (s *Socket) refreshLinger() time.Duration {
	d, fresh := s.readLinger()
	s.mu.Lock() // not with probing held: who has this may want that
	defer s.mu.Unlock()
	if fresh {
		s.linger = d
	}
	return s.linger
}

func (s *Socket) readLinger() (d time.Duration, ok bool) {
	s.m.probing.Lock()
	defer s.m.probing.Unlock()
	if s.closed.Load() {
		return 0, false
	}
	r := optionReader{h: s.handle}
	d = r.duration(zmq.Linger)
	return d, r.err == nil
}

// errnoOf is the operating system's number in an error, or 0.
func errnoOf(err error) syscall.Errno {
	var n syscall.Errno
	if !errors.As(err, &n) && errors.Is(err, ErrTooMany) {
		n = syscall.EMFILE
	}
	return n
}
