package vtx

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// When pipes that nobody uses are closed: each has a socket of the context's and a descriptor.

const (
	// idleTime is how long a pipe is kept for peers that come back.
	idleTime = 10 * time.Second
	// trickle is the part of the idle pipes that is closed at a time, so that not all are missing together.
	trickle = 16
)

// closeIdle closes idle pipes that choose selects, the oldest of each kind first, and says how many that were. The lock is
// held.
func (pool *pipePool) closeIdle(choose func(*pipe) bool) (closed int) {
	for kind, idle := range pool.idle {
		pool.idle[kind] = slices.DeleteFunc(idle, func(p *pipe) bool {
			if !p.last.hasLooked() || !choose(p) {
				return false
			}
			if pool.held[p.held] == p {
				delete(pool.held, p.held)
			}
			p.Close()
			pool.open--
			closed++
			return true
		})
	}
	return closed
}

// hasLooked says whether libzmq has nothing left of the peerings that ended: up to then the context has no use of a pipe's
// being closed.
func (s *Socket) hasLooked() bool { return s.undrained.Load() == 0 || s.closed.Load() }

// makeRoom closes idle pipes until count sockets more may be open. The lock is held.
func (pool *pipePool) makeRoom(count, limit int) bool {
	pool.closeIdle(func(*pipe) bool { return pool.open+count > limit })
	return pool.open+count <= limit
}

// shed closes all idle pipes.
func (pool *pipePool) shed() {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	pool.closeIdle(func(*pipe) bool { return true })
}

// tidy closes some of the pipes that have not been used for a while; all that are idle where descriptors are few.
func (pool *pipePool) tidy(now time.Time) {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	count := 0
	for _, idle := range pool.idle {
		count += len(idle)
	}
	if count == 0 {
		return
	}
	few := fewDescriptors()
	left := count/trickle + 1
	pool.closeIdle(func(p *pipe) bool {
		if few {
			return true
		}
		if left == 0 || now.Sub(p.since) < idleTime {
			return false
		}
		left--
		return true
	})
}

// fewDescriptors says whether less than an eighth of what RLIMIT_NOFILE allows is free. The system gives away the lowest
// number that is free, so that a new descriptor tells how many there are, at least.
func fewDescriptors() bool {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return false
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return outOfDescriptors(err)
	}
	unix.Close(fd)
	return uint64(fd) >= limit.Cur-limit.Cur/8
}

func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
