// Package vtx is the engine: it joins libzmq sockets of the application to peers over transports that
// libzmq does not have, and leaves everything that makes them ZeroMQ sockets to libzmq. Manager is the way
// in; driver.go is the contract with the transports.
package vtx

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/libvtx/libvtx/internal/zmq"
)

// Manager joins the sockets of one libzmq context to VTX endpoints. Its methods may be called from any
// goroutine or thread; those that take a socket use it, and so belong on the thread that may use it.
type Manager struct {
	ctx    unsafe.Pointer
	poller *zmq.Poller
	pool   pipePool
	serial atomic.Uint64 // of generated routing ids
	zap    zap

	probing sync.Mutex  // guards probe, and looks at the application's handles; a Socket's mutex may be held, never taken, with it
	probe   *zmq.Socket // binds where the application's sockets should be bound; nil until needed
	guard   *zmq.Socket // feels the end of the context, and rings

	registering sync.Mutex // one at a time; mu is free meanwhile

	mu      sync.Mutex
	sockets map[zmq.Handle]*Socket
	stale   map[*Socket]struct{} // closed by the application, and not yet ended here
	aliases map[string]Driver    // schemes registered with this manager
	own     []OwnDriver          // those of them that serve it alone
	ownOver bool                 // they are being closed, and no more are taken
	named   map[string]string    // VTX options for all sockets
	past    Stats                // of the sockets that are closed
	closed  bool

	terminate sync.Once
	stop      chan struct{} // closed by Destroy
	watched   chan struct{} // watch has ended
}

// managers are those that exist, for the ends that nobody announces to them.
var managers struct {
	sync.Mutex
	all map[*Manager]struct{}
}

// NewManager makes a manager for the libzmq context ctx. Several may share a context. Errors: ErrInvalid for
// a nil context, ErrTerminated, ErrTooMany.
func NewManager(ctx unsafe.Pointer) (*Manager, error) {
	if ctx == nil {
		return nil, fmt.Errorf("the context is NULL: %w", ErrInvalid)
	}
	poller, err := zmq.NewPoller()
	if err != nil {
		return nil, err
	}
	m := &Manager{
		ctx: ctx, poller: poller,
		sockets: make(map[zmq.Handle]*Socket),
		stale:   make(map[*Socket]struct{}),
		aliases: make(map[string]Driver),
		named:   make(map[string]string),
		past:    new(stats).snapshot(),
		pool:    newPipePool(),
		stop:    make(chan struct{}),
		watched: make(chan struct{}),
	}
	managers.Lock()
	defer managers.Unlock()
	if managers.all == nil {
		managers.all = make(map[*Manager]struct{})
	}
	managers.all[m] = struct{}{}
	return m, nil
}

// Destroy closes every socket that the manager made, and ends what it does for the others, each within its
// LINGER. The manager is of no use afterwards.
func (m *Manager) Destroy() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return fmt.Errorf("the manager is destroyed: %w", ErrInvalid)
	}
	m.closed = true
	m.mu.Unlock()
	var made []*Socket
	for _, s := range m.list() {
		if s.made && s.same() {
			s.refreshLinger()
			made = append(made, s)
		}
	}
	m.endAll((*Socket).lastLinger)
	for _, s := range made {
		s.closeHandle()
		m.remove(s)
	}
	m.shutdown()
	m.poller.Close()
	managers.Lock()
	delete(managers.all, m)
	managers.Unlock()
	return nil
}

// Socket makes a socket of the context that Destroy closes. Errors: ErrNotSupported for a type that VTX does
// not carry, libzmq's own.
func (m *Manager) Socket(t SocketType) (unsafe.Pointer, error) {
	if _, known := complement[t]; !known {
		return nil, fmt.Errorf("%s: VTX carries types 0 (PAIR) to 10 (XSUB): %w", t, ErrNotSupported)
	}
	if m.stopped() {
		return nil, ErrTerminated
	}
	h, err := zmq.NewHandle(m.ctx, int(t))
	if err != nil {
		return nil, fmt.Errorf("zmq_socket: %w", err)
	}
	if _, err := m.adopt(h, true); err != nil {
		zmq.CloseHandle(h)
		return nil, err
	}
	return unsafe.Pointer(h), nil
}

// Bind makes the socket reachable at an endpoint. Errors: ErrInvalid, ErrNoScheme, ErrNotSocket,
// ErrNotSupported, the operating system's.
func (m *Manager) Bind(socket unsafe.Pointer, endpoint string) error {
	return m.touching(socket, func(s *Socket) error { return s.bind(endpoint) })
}

// Unbind undoes Bind; peers that came that way are let go within LINGER. Errors: ErrNotFound; ErrBusy while the
// application has received a message in part.
func (m *Manager) Unbind(socket unsafe.Pointer, endpoint string) error {
	return m.touching(socket, func(s *Socket) error { return s.unbind(endpoint) })
}

// Connect joins the socket to the peer at an endpoint, whenever that can be found. Errors: as Bind.
func (m *Manager) Connect(socket unsafe.Pointer, endpoint string) error {
	return m.touching(socket, func(s *Socket) error { return s.connect(endpoint) })
}

// Disconnect undoes Connect; what is waiting is still sent within LINGER. Errors: as Unbind.
func (m *Manager) Disconnect(socket unsafe.Pointer, endpoint string) error {
	return m.touching(socket, func(s *Socket) error { return s.disconnect(endpoint) })
}

// Close closes a socket, whoever made it, after sending what it was given, within its LINGER.
func (m *Manager) Close(socket unsafe.Pointer) error {
	closeHandle := func() error { return zmq.CloseHandle(zmq.Handle(socket)) }
	if s := m.known(zmq.Handle(socket)); s != nil {
		linger := s.refreshLinger()
		s.end(func(*peering) time.Duration { return linger })
		m.remove(s)
		closeHandle = s.closeHandle
	}
	if err := closeHandle(); err != nil {
		return fmt.Errorf("zmq_close: %w", err)
	}
	return nil
}

// Register makes a driver of the process answer to scheme in this manager. Errors: ErrNotUnique if the scheme
// has been registered with it before, ErrInvalid.
func (m *Manager) Register(scheme, driver string) error {
	return m.register(scheme, func() (Driver, error) {
		if d := driverFor(driver); d != nil {
			return d, nil
		}
		return nil, fmt.Errorf("driver %s: there is no such driver: %w", quoted(driver), ErrInvalid)
	})
}

// register gives a scheme that is free to the driver that find finds.
func (m *Manager) register(scheme string, find func() (Driver, error)) error {
	if !validScheme(scheme) {
		return fmt.Errorf("scheme %s: it must be lower-case letters, digits, +, - and .: %w", quoted(scheme), ErrInvalid)
	}
	m.registering.Lock()
	defer m.registering.Unlock()
	m.mu.Lock()
	_, taken := m.aliases[scheme]
	m.mu.Unlock()
	if taken {
		return fmt.Errorf("scheme %s: it is registered with this manager already: %w", scheme, ErrNotUnique)
	}
	d, err := find()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.aliases[scheme] = d
	return nil
}

// SetOption sets a VTX option for one socket, or with a nil socket for all that are bound or connected from
// now on. Errors: ErrInvalid for an unknown name or a bad value.
func (m *Manager) SetOption(socket unsafe.Pointer, name, value string) error {
	if err := checkOption(name, value); err != nil {
		return err
	}
	if socket == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.named[name] = value
		return nil
	}
	return m.with(socket, func(s *Socket) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.named == nil {
			s.named = make(map[string]string)
		}
		s.named[name] = value
		return nil
	})
}

func (m *Manager) namedOptions() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.named)
}

// Monitor sends the socket's events to a PAIR socket bound at an inproc endpoint, in libzmq's frames. A
// second call ends what the first began. With an empty endpoint or no events that is all. Errors: libzmq's own.
func (m *Manager) Monitor(socket unsafe.Pointer, endpoint string, events int) error {
	return m.with(socket, func(s *Socket) error {
		if endpoint == "" || events == 0 {
			s.monitor.stop()
			return nil
		}
		if !strings.HasPrefix(endpoint, "inproc://") {
			return fmt.Errorf("endpoint %s: a monitor's must be inproc://: %w", quoted(endpoint), ErrInvalid)
		}
		if events&^0xffff != 0 && events != -1 {
			return fmt.Errorf("events %#x: they have 16 bits: %w", events, ErrInvalid)
		}
		s.monitor.stop() // first: its endpoint may be the new one's
		out, err := zmq.Open(m.ctx, zmq.TypePair, m.poller)
		if err != nil {
			return fmt.Errorf("monitor socket: %w", err)
		}
		if err := out.Bind(endpoint); err != nil {
			out.Close()
			return fmt.Errorf("endpoint %s: %w", quoted(endpoint), err)
		}
		return s.monitor.start(out, endpoint, EventKind(events))
	})
}

// with finds the engine's record of a socket, or makes one, and calls do.
func (m *Manager) with(socket unsafe.Pointer, do func(*Socket) error) error {
	h := zmq.Handle(socket)
	if h == nil {
		return fmt.Errorf("the socket is NULL: %w", ErrNotSocket)
	}
	s := m.known(h)
	if s != nil && s.closed.Load() {
		return fmt.Errorf("the socket is closed: %w", ErrNotSocket)
	}
	if s == nil {
		var err error
		if s, err = m.adopt(h, false); err != nil {
			return err
		}
	}
	return do(s)
}

// touching does so for a call that lets libzmq act on the socket.
func (m *Manager) touching(socket unsafe.Pointer, do func(*Socket) error) error {
	return m.with(socket, func(s *Socket) error {
		defer s.rearm()
		s.unbindSpent()
		return do(s)
	})
}

// known finds the record of a socket that is still the one it was recorded as.
func (m *Manager) known(h zmq.Handle) *Socket {
	m.mu.Lock()
	s := m.sockets[h]
	m.mu.Unlock()
	if s == nil || s.same() {
		return s
	}
	m.mu.Lock()
	delete(m.sockets, h)
	m.stale[s] = struct{}{}
	m.mu.Unlock()
	go m.endSocket(s)
	return nil
}

// adopt records a socket, tags it, and makes sure that it is one of this context's.
func (m *Manager) adopt(h zmq.Handle, made bool) (*Socket, error) {
	typ, err := zmq.GetInt(h, zmq.Type)
	if err != nil {
		return nil, fmt.Errorf("not a socket: %w", err)
	}
	if _, known := complement[SocketType(typ)]; !known {
		return nil, fmt.Errorf("%s: VTX carries types 0 (PAIR) to 10 (XSUB): %w", SocketType(typ), ErrNotSupported)
	}
	s := &Socket{
		m: m, handle: h, typ: SocketType(typ), made: made, tag: newInproc(),
		peerings: make(map[*peering]struct{}),
		outgoing: make(index),
		called:   make(index),
		ended:    make(chan struct{}),
	}
	if err := m.watchContext(); err != nil {
		return nil, err
	}
	if err := zmq.Bind(h, s.tag); err != nil {
		return nil, fmt.Errorf("tagging the socket: %w", err)
	}
	s.refreshLinger()
	if err := m.record(s); err != nil {
		zmq.Unbind(h, s.tag)
		zmq.Events(h) // from now on ZMQ_FD tells again
		return nil, err
	}
	s.rearm()
	return s, nil
}

func (m *Manager) record(s *Socket) error {
	switch mine, err := m.bound(s.tag); {
	case err != nil:
		return fmt.Errorf("looking at the socket's context: %w", err)
	case !mine:
		return fmt.Errorf("the socket belongs to another context than the manager: %w", ErrInvalid)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fmt.Errorf("the manager is destroyed: %w", ErrInvalid)
	}
	m.sockets[s.handle] = s
	return nil
}

func (m *Manager) remove(s *Socket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sockets[s.handle] == s {
		delete(m.sockets, s.handle)
	}
	delete(m.stale, s)
	if !s.removed {
		s.removed = true
		m.past.add(s.stats.snapshot())
	}
}

func (m *Manager) list() []*Socket {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []*Socket
	for _, s := range m.sockets {
		list = append(list, s)
	}
	for s := range m.stale {
		list = append(list, s)
	}
	return list
}

// driver finds who answers to a scheme.
func (m *Manager) driver(scheme string) (Driver, error) {
	m.mu.Lock()
	d := m.aliases[scheme]
	m.mu.Unlock()
	if d == nil {
		d = driverFor(scheme)
	}
	if d == nil {
		return nil, fmt.Errorf("scheme %s: no driver has it (there are: %s): %w", scheme, strings.Join(Schemes(), ", "), ErrNoScheme)
	}
	return d, nil
}
