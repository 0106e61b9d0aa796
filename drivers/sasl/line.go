package sasl

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/libvtx/libvtx/internal/zmtp"
)

// line is what is known of one address, and those of its log-ins whose passwords are being looked at or are to be. Its
// failures' lock guards it.
//
// Passwords that are being looked at count as failures until they have succeeded: so no more than freeOfAddress of them,
// less the failures so far, are looked at at a time. The others wait. A success gives its place to the next at once, so
// that a thousand clients behind one address come in as fast as twenty at a time can be looked at. A failure gives
// nothing back: when freeOfAddress have failed, one password is looked at at a time, each after a wait of its own that
// doubles with every failure, up to maxWait. Who would wait longer than maxQueue if all those before it failed is turned
// away, to come back later.
type line struct {
	record
	inside  int // being looked at, or about to be
	waiting []*waiter
}

// waiter is one log-in. Its fields may be read once called is closed.
type waiter struct {
	address string
	called  chan struct{}
	inside  bool
	pause   time.Duration // how long it still has to wait
	refused error
}

func newLine() *line { return &line{} }

// busy is the size of what makeRoom must not forget. There are no more of them than handshakes under way.
const busy = math.MaxInt

func (l *line) size() int {
	if l.inside+len(l.waiting) > 0 {
		return busy
	}
	return l.record.size()
}

// forgettable says whether the line is as good as a new one.
func (l *line) forgettable() bool { return l.size() == 0 }

func (l *line) join(address string) *waiter {
	w := &waiter{address: address, called: make(chan struct{})}
	l.waiting = append(l.waiting, w)
	l.move()
	return w
}

// leave is right for each waiter, in the line or inside.
func (l *line) leave(w *waiter) {
	if w.inside {
		w.inside = false
		l.inside--
	} else if at := slices.Index(l.waiting, w); at >= 0 {
		l.waiting = slices.Delete(l.waiting, at, at+1)
	}
	l.move()
}

// move calls those whose turn it is, and turns away those whose turn would come too late.
func (l *line) move() {
	for len(l.waiting) > 0 && l.wait(freeOfAddress, l.inside) == 0 {
		l.call(0)
	}
	if l.wait(freeOfAddress, 0) == 0 {
		return // those inside may still succeed
	}
	if l.inside == 0 && len(l.waiting) > 0 {
		l.call(l.wait(freeOfAddress, 0))
	}
	var all time.Duration
	ahead := 0
	for ; ahead < l.inside; ahead++ {
		all += l.wait(freeOfAddress, ahead)
	}
	for at := range l.waiting {
		if all += l.wait(freeOfAddress, ahead+at); all > maxQueue {
			l.turnAway(at)
			return
		}
	}
}

// call lets the first in.
func (l *line) call(pause time.Duration) {
	w := l.waiting[0]
	l.waiting = slices.Delete(l.waiting, 0, 1)
	w.inside, w.pause = true, pause
	l.inside++
	close(w.called)
}

// turnAway refuses all from there on.
func (l *line) turnAway(from int) {
	for _, w := range l.waiting[from:] {
		w.refused = &zmtp.DeniedError{
			Status: "300", Text: fmt.Sprintf("too many failed log-ins from %s (%d): it has to come back later", w.address, l.count),
		}
		close(w.called)
	}
	l.waiting = slices.Delete(l.waiting, from, len(l.waiting))
}
