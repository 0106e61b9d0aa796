package vtx

import (
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/libvtx/libvtx/internal/zmq"
)

// How a manager's work ends: at the application's word (vtx_destroy, zctx_destroy), with the context
// (zmq_ctx_term from any thread), with the process, or for a socket that was closed behind our back.

// CloseContext ends what all managers do for the sockets of a libzmq context that is about to be
// terminated, each within its LINGER. The managers remain, to be destroyed.
func CloseContext(ctx unsafe.Pointer) {
	closeManagers(func(m *Manager) bool { return m.ctx == ctx }, (*Socket).lastLinger)
}

// CloseAll does the same for every context, at process exit. With LINGER -1 a peer that is not there is not waited for:
// nobody could end the wait.
func CloseAll() {
	closeManagers(func(*Manager) bool { return true }, func(s *Socket, p *peering) time.Duration {
		linger := s.lastLinger(p)
		if linger < 0 {
			go p.cancelWhenAlone()
		}
		return linger
	})
}

func closeManagers(choose func(*Manager) bool, linger func(*Socket, *peering) time.Duration) {
	managers.Lock()
	var list []*Manager
	for m := range managers.all {
		if choose(m) {
			list = append(list, m)
		}
	}
	managers.Unlock()
	var all sync.WaitGroup
	for _, m := range list {
		all.Go(func() {
			m.endAll(linger)
			m.shutdown()
		})
	}
	all.Wait()
}

// watchContext starts what notices the end of the context, at the first use of a socket: before that, the
// application may still want to set ZMQ_MAX_SOCKETS, which has no effect once there is a socket.
func (m *Manager) watchContext() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped() {
		return ErrTerminated
	}
	if m.guard != nil {
		return nil
	}
	guard, err := zmq.Open(m.ctx, zmq.TypeDealer, m.poller)
	if err != nil {
		return fmt.Errorf("opening a socket in the context: %w", err)
	}
	m.guard = guard
	go m.watch(guard)
	return nil
}

// sweepInterval is how often sockets that nothing else would notice are looked after: those that the
// application closed without telling, and that have no peer: a listener, a monitor, or a peering that is still looking
// for its peer and has no pipe yet.
const sweepInterval = time.Second

func (m *Manager) watch(guard *zmq.Socket) {
	defer close(m.watched)
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-tick.C:
			m.sweep()
			m.pool.tidy(time.Now())
		case <-guard.Readable():
			if err := guard.Check(); err != nil {
				m.failed(err)
				return
			}
		}
	}
}

// endSocket ends what the engine does for a socket that the application has closed by itself.
func (m *Manager) endSocket(s *Socket) {
	s.end(s.lastLinger)
	m.remove(s)
}

// sweep ends what is left of closed sockets that have nothing more to send.
func (m *Manager) sweep() {
	for _, s := range m.list() {
		if s.stats.peerings.Load() > 0 {
			continue // a pipe would wake
		}
		if alive, err := m.bound(s.tag); err == nil && !alive {
			m.endSocket(s)
		}
	}
}

// failed looks at an error of libzmq's: when the context is being terminated, everything ends, because
// zmq_ctx_term waits for the pipes.
func (m *Manager) failed(err error) {
	if !errors.Is(err, zmq.ETERM) {
		return
	}
	m.terminate.Do(func() {
		go func() {
			m.endAll((*Socket).lastLinger)
			m.shutdown()
		}()
	})
}

// stopped says that the manager, or its context, is at its end: the context must not be touched any more.
func (m *Manager) stopped() bool {
	select {
	case <-m.stop:
		return true
	default:
		return false
	}
}

// endAll ends all sockets, together. Those that the manager made remain known until they are closed.
func (m *Manager) endAll(linger func(*Socket, *peering) time.Duration) {
	var all sync.WaitGroup
	for _, s := range m.list() {
		all.Go(func() {
			s.end(func(p *peering) time.Duration { return linger(s, p) })
			if !s.made {
				m.remove(s)
			}
		})
	}
	all.Wait()
}

// shutdown ends the drivers that serve the manager alone, and closes its own sockets. Idempotent.
func (m *Manager) shutdown() {
	m.closeOwn()
	m.closePool()
	m.zap.close()
	m.mu.Lock()
	if !m.stopped() {
		close(m.stop)
	}
	guard := m.guard
	m.mu.Unlock()
	if guard != nil {
		guard.Close()
		<-m.watched
	}
	m.probing.Lock()
	defer m.probing.Unlock()
	if m.probe != nil {
		m.probe.Close()
		m.probe = nil
	}
}
