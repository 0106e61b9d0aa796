package vtx

import "time"

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
