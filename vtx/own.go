package vtx

import (
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/libvtx/libvtx/internal/zmq"
)

// What a driver of the program's own needs of its manager: one that was not there when the process began, serves
// this manager alone, and is reached over inproc inside the application's context (drivers/attached).

// OwnDriver is a driver that serves one manager, which closes it.
type OwnDriver interface {
	Driver
	// Close ends the driver. It comes after every listener and dialer is closed, possibly more than once.
	Close()
}

// Context is the libzmq context that the manager serves.
func (m *Manager) Context() unsafe.Pointer { return m.ctx }

// RegisterOwn makes a driver answer to scheme in this manager; start makes it when the scheme is known to be
// good and free. Errors: those of Register, those of start, ErrTerminated.
func (m *Manager) RegisterOwn(scheme string, start func() (OwnDriver, error)) error {
	return m.register(scheme, func() (Driver, error) {
		d, err := start()
		if err != nil {
			return nil, err
		}
		m.mu.Lock()
		over := m.closed || m.ownOver || m.stopped()
		if !over {
			m.own = append(m.own, d)
		}
		m.mu.Unlock()
		if over {
			d.Close()
			return nil, ErrTerminated
		}
		return d, nil
	})
}

// closeOwn ends the drivers that serve this manager, together: one that hangs must not cost the others time. It takes no
// more of them.
func (m *Manager) closeOwn() {
	m.mu.Lock()
	own := m.own
	m.ownOver = true
	m.mu.Unlock()
	var all sync.WaitGroup
	for _, d := range own {
		all.Go(d.Close)
	}
	all.Wait()
}

// bridgeSockets is how many of the context's sockets a bridge takes: ours, and the driver's.
const bridgeSockets = 2

// OpenBridge opens a socket of the engine's in the manager's context and binds it to an inproc endpoint, where
// a driver is to connect one of its own. Both count with the pipes, so that drivers leave the application its
// share of ZMQ_MAX_SOCKETS. hwm is for each direction, in messages. Errors: ErrTooMany, ErrTerminated.
func (m *Manager) OpenBridge(typ int, inproc string, hwm int) (*zmq.Socket, error) {
	m.pool.mu.Lock()
	defer m.pool.mu.Unlock()
	if m.pool.closed {
		return nil, ErrTerminated
	}
	s, err := m.openCounted(typ, bridgeSockets)
	if err != nil {
		return nil, err
	}
	err = errors.Join(s.SetInt(zmq.SndHWM, hwm), s.SetInt(zmq.RcvHWM, hwm), s.Bind(inproc))
	if err != nil {
		m.pool.open -= bridgeSockets
		s.Close()
		return nil, fmt.Errorf("opening %s: %w", inproc, err)
	}
	return s, nil
}

// CloseBridge closes what OpenBridge opened. The driver's end is the driver's to close.
func (m *Manager) CloseBridge(s *zmq.Socket) {
	s.Close()
	m.pool.mu.Lock()
	m.pool.open -= bridgeSockets
	m.pool.mu.Unlock()
}

// ReleaseBridge leaves the closing to the caller, who may do it after the manager is gone.
func (m *Manager) ReleaseBridge(s *zmq.Socket) zmq.Handle {
	h := s.Release()
	m.pool.mu.Lock()
	m.pool.open -= bridgeSockets
	m.pool.mu.Unlock()
	return h
}

// OpenFarEnd opens the driver's end of a bridge, which the caller's thread then owns.
func (m *Manager) OpenFarEnd(typ int, inproc string, hwm int) (zmq.Handle, error) {
	h, err := zmq.NewHandle(m.ctx, typ)
	if err != nil {
		return nil, noRoom(err)
	}
	err = errors.Join(zmq.SetInt(h, zmq.Linger, 0), zmq.SetInt(h, zmq.SndHWM, hwm), zmq.SetInt(h, zmq.RcvHWM, hwm),
		zmq.Connect(h, inproc))
	if err == nil {
		_, err = zmq.Events(h) // found empty, it tells by ZMQ_FD what comes: see rearm
	}
	if err != nil {
		zmq.CloseHandle(h)
		return nil, err
	}
	return h, nil
}

// openCounted opens a socket that counts as count towards what drivers and peerings may take. Pipes that nobody uses make
// room. The pool's lock is held.
func (m *Manager) openCounted(typ, count int) (*zmq.Socket, error) {
	if limit := m.maxPipes(); !m.pool.makeRoom(count, limit) {
		return nil, fmt.Errorf("%d peerings are the most that ZMQ_MAX_SOCKETS leaves room for: %w", limit, ErrTooMany)
	}
	s, err := zmq.Open(m.ctx, typ, m.poller)
	if outOfDescriptors(err) && m.pool.closeIdle(func(*pipe) bool { return true }) > 0 {
		s, err = m.openSoon(typ)
	}
	if err != nil {
		return nil, noRoom(err)
	}
	m.pool.open += count
	return s, nil
}

// freeing bounds how long libzmq's own thread may take to give back what sockets had that are closed.
const freeing = 100 * time.Millisecond

// openSoon opens a socket as soon as libzmq has given back what others had.
func (m *Manager) openSoon(typ int) (s *zmq.Socket, err error) {
	for end := time.Now().Add(freeing); ; time.Sleep(time.Millisecond) {
		s, err = zmq.Open(m.ctx, typ, m.poller)
		if !outOfDescriptors(err) || time.Now().After(end) {
			return s, err
		}
	}
}

// noRoom tells an error for what it is where the process or the context is full.
func noRoom(err error) error {
	if outOfDescriptors(err) {
		return fmt.Errorf("no socket or descriptor is left (ZMQ_MAX_SOCKETS, ulimit -n): %w", ErrTooMany)
	}
	return err
}
