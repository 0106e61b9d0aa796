package vtx

import (
	"sync"
	"time"
)

// turns has a publisher's other peers pass between the subscriptions of one that has very many. libzmq takes up what waits
// in a pipe inside whatever call the application makes, and stays at it for as long as there is more: a pipe that is filled
// up again while it is being read keeps the application from all else, for seconds. So a pipe that has been full again and
// again for the length of a turn rests, until libzmq must have come to its end.
type turns struct {
	mu      sync.Mutex
	full    time.Time // when the pipe was last found full; zero: it is not
	began   time.Time // this turn, zero before it
	resting bool
	round   int // of rests; an older one's end counts no more
}

const (
	// turn is how long a pipe may be filled up without a rest.
	turn = 50 * time.Millisecond
	// away is how long it takes to tell an application that is busy with a pipe from one that does something else, or
	// nothing.
	away = 250 * time.Millisecond
	// leastRest and its like are for clocks and systems that are not exact.
	leastRest = time.Millisecond
)

// filled notes that the pipe takes no more.
func (t *turns) filled(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.full = now
	if t.began.IsZero() {
		t.began = now
	}
}

// stirred is called when the pipe may have room again. It gives how long that is to be left unused, 0 for not at all, and
// then what to call rested with. Half of the pipe has been read since it was full, so that the rest takes as long.
func (t *turns) stirred(now time.Time) (rest time.Duration, round int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.full.IsZero() || t.resting {
		return 0, 0
	}
	since := now.Sub(t.full)
	t.full = time.Time{}
	if since > away {
		t.began = now
	}
	if now.Sub(t.began) <= turn {
		return 0, 0
	}
	t.resting = true
	t.round++
	return since + since/4 + leastRest, t.round
}

// rested ends a rest; false: somebody else has.
func (t *turns) rested(round int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.resting || t.round != round {
		return false
	}
	t.resting, t.began = false, time.Time{}
	return true
}

// rests says whether the pipe is to be left alone.
func (t *turns) rests() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.resting
}

// restart forgets what was, for another peer.
func (t *turns) restart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.full, t.began, t.resting = time.Time{}, time.Time{}, false
}
