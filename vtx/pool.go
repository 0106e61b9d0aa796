package vtx

import (
	"sync"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
)

// heldName is a name that a ROUTER had for a pipe that is idle now. It may still hold it, see seeOff.
type heldName struct {
	s  *Socket
	id string
}

// pipePool keeps pipes whose peering has ended, joined to nothing. Closing one then would leave its
// slot and descriptor taken until the application's socket is next used: an idle application would run out of
// sockets when peers come and go. It is closed later, see idle.go.
type pipePool struct {
	mu      sync.Mutex
	idle    map[pipeKind][]*pipe
	held    map[heldName]*pipe // the idle ones that had a name
	parting map[*pipe]struct{} // not idle yet, see returnPipe
	open    int                // sockets of pipes, idle ones included, and of bridges to drivers
	closed  bool
}

func newPipePool() pipePool {
	return pipePool{
		idle:    make(map[pipeKind][]*pipe),
		held:    make(map[heldName]*pipe),
		parting: make(map[*pipe]struct{}),
	}
}

// takePipe gets a pipe from the pool or makes one. Errors: ErrTooMany, ErrTerminated.
func (m *Manager) takePipe(kind pipeKind) (*pipe, error) {
	m.pool.mu.Lock()
	defer m.pool.mu.Unlock()
	if m.pool.closed {
		return nil, ErrTerminated
	}
	if idle := m.pool.idle[kind]; len(idle) > 0 {
		p := idle[len(idle)-1]
		m.pool.idle[kind] = idle[:len(idle)-1]
		p.Prompt(nil)
		p.Check() // the polling thread may not have come to it yet
		select {
		case <-p.Readable(): // that was about its last peer
		default:
		}
		select {
		case <-p.Writable(): // so was that
		default:
		}
		if m.pool.held[p.held] == p {
			delete(m.pool.held, p.held)
		}
		return p, nil
	}
	s, err := m.openCounted(kind.typ, 1)
	if err != nil {
		return nil, err
	}
	p := &pipe{Socket: s, kind: kind}
	if err := p.prepare(); err != nil {
		m.pool.open--
		p.Close()
		return nil, err
	}
	return p, nil
}

// maxPipes leaves some of the context's sockets to the application.
func (m *Manager) maxPipes() int {
	limit := zmq.MaxSockets(m.ctx)
	return limit - min(max(limit/8, 16), 64)
}

// freeName has the ROUTER s, if it has seen the end of the last pipe that it called id, let another one have that name. It
// would not hear a peer that came too early, as long as that stays.
func (m *Manager) freeName(s *Socket, id string) {
	m.pool.mu.Lock()
	defer m.pool.mu.Unlock()
	if p := m.pool.held[heldName{s, id}]; p != nil {
		p.Check()
	}
}

// returnPipe puts a pipe, no longer joined to s, which called it id, back into the pool. Where left is not nil, as for an
// XPUB, that is when the application has read all that it was sent through the pipe: up to then libzmq takes the old
// connection for one of the pipe's. Should that be full, the pipe would send nothing to anybody; and at its end libzmq takes
// back what the application had subscribed to there, the topics in left, which a new peer would take for the application's
// wish. Where a quarter of all pipes wait so already, for an application that does not read what publishers have left while
// more and more of them come and go, both may happen: nobody could come otherwise.
func (m *Manager) returnPipe(p *pipe, s *Socket, id string, left topics) {
	m.pool.mu.Lock()
	defer m.pool.mu.Unlock()
	if m.pool.closed {
		p.Close()
		return
	}
	if id != "" {
		p.held = heldName{s, id}
		m.pool.held[p.held] = p
	}
	p.last = s
	if left == nil || len(m.pool.parting) >= m.maxPipes()/4 {
		m.pool.add(p)
		return
	}
	p.left = left
	m.pool.parting[p] = struct{}{}
	m.pool.settle(p) // what seeOff was called for already
}

func (pool *pipePool) add(p *pipe) {
	p.since = time.Now()
	pool.idle[p.kind] = append(pool.idle[p.kind], p)
}

// stirred is called when libzmq has news of a pipe that has parted.
func (pool *pipePool) stirred(p *pipe) {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	pool.settle(p)
}

// settle makes a parting pipe an idle one if libzmq has taken back everything. The lock is held.
func (pool *pipePool) settle(p *pipe) {
	if _, parting := pool.parting[p]; !parting {
		return
	}
	b := Batch{buf: make([]byte, 0, 1024)}
	for more := true; more; {
		b.Reset()
		b.buf, b.n, more, _ = p.Recv(b.buf)
		for m := b.Pop(); m != nil; m = b.Pop() {
			p.left.fromApplication(m)
		}
	}
	if len(p.left) == 0 {
		delete(pool.parting, p)
		pool.add(p)
	}
}

// closePipe closes a pipe for good.
func (m *Manager) closePipe(p *pipe) {
	p.Close()
	m.pool.mu.Lock()
	m.pool.open--
	m.pool.mu.Unlock()
}

// closePool closes the idle pipes and makes returning ones close.
func (m *Manager) closePool() {
	m.pool.mu.Lock()
	defer m.pool.mu.Unlock()
	m.pool.closed = true
	for _, idle := range m.pool.idle {
		for _, p := range idle {
			p.Close()
		}
	}
	for p := range m.pool.parting {
		p.Close()
	}
	m.pool.idle, m.pool.held, m.pool.parting = nil, nil, nil
}
