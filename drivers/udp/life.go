package udp

import (
	"fmt"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
)

// tick measures a dialled link's silence.
func (l *link) tick() {
	l.pulse(l.pace.now(l.set.tick()))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.beat.Reset(l.set.tick())
	}
}

// stopwatch is what silence is measured by, once in each period. A measurement that comes late, because nothing of this process ran, is
// made as if it had come in time: what was sent to us meanwhile has not been read yet.
type stopwatch struct{ last int64 }

// now is the clock to measure by.
func (w *stopwatch) now(period time.Duration) int64 {
	now, late := clock(), w.last+2*int64(period)
	w.last = now
	return min(now, late)
}

// pulse asks a silent peer whether it lives, and ends the link if it has been silent for too
// long. Questions are repeated faster than the first one came, since one may be lost. A peer that has not heard anything for a
// while is told that we live, however much it sends itself: it may not ask, as the original does not, or its question may wait behind
// all that it sends.
func (l *link) pulse(now int64) {
	if l.backlog.over() != nil {
		return // it has said so itself
	}
	if l.ext != nil && l.ext.mute {
		l.ext.announce(l, now)
		return
	}
	heard := l.heard.Load()
	silence := time.Duration(now - heard)
	answered := l.asked <= heard
	switch {
	case silence >= l.set.timeout:
		l.endAfter(fmt.Errorf("peer %s was silent for %v", l.peer, l.set.timeout))
	case silence >= l.set.hugz && (answered || time.Duration(now-l.asked) >= max(l.set.hugz/4, l.set.timeout/16)),
		l.quiet():
		l.asked = now
		if l.ext == nil {
			l.control(nom.HUGZ)
			break
		}
		l.ext.mu.Lock()
		_ = l.ext.ask(l, l.to(), 0, now)
		l.ext.mu.Unlock()
	}
	if l.ext != nil {
		l.ext.tick(l, now)
	}
}

// quiet says that it is time for the peer to hear something of us. It is the clock itself that counts here, however late we are.
func (l *link) quiet() bool {
	if l.ext != nil && l.ext.deaf {
		return false
	}
	return time.Duration(clock()-l.spoke.Load()) >= l.set.keepalive(l.ext == nil)
}
