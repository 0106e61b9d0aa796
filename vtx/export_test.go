package vtx

import (
	"time"
	"unsafe"

	"github.com/libvtx/libvtx/internal/zmq"
)

// SetPace changes when and how long new peers have to wait, until the function it returns is called.
func SetPace(peers int64, pause time.Duration) (restore func()) {
	n, p := maxUndrained, undrainedPause
	maxUndrained, undrainedPause = peers, pause
	return func() { maxUndrained, undrainedPause = n, p }
}

// Tidy closes idle pipes as if it were so much later.
func (m *Manager) Tidy(later time.Duration) { m.pool.tidy(time.Now().Add(later)) }

// IdlePipes counts them.
func (m *Manager) IdlePipes() (count int) {
	m.pool.mu.Lock()
	defer m.pool.mu.Unlock()
	for _, idle := range m.pool.idle {
		count += len(idle)
	}
	return count
}

// HasLooked says whether a socket has seen the end of all peers that have gone.
func (m *Manager) HasLooked(socket unsafe.Pointer) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sockets[zmq.Handle(socket)].hasLooked()
}

// Holding calls do while nobody else learns or changes what the engine knows of a socket.
func (m *Manager) Holding(socket unsafe.Pointer, do func()) {
	s := m.known(zmq.Handle(socket))
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}
