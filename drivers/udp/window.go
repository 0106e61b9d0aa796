package udp

import (
	"slices"
	"time"
)

// The bounds of what a receiver waits for.
const (
	maxGaps     = 64          // ranges of missing messages
	lateAfter   = time.Second // after which a missing message is lost
	maxNumbered = 1 << 30     // how far ahead a number may be
)

// window tells new messages from copies by their numbers, and counts exactly the ones that never came: NOM.md,
// section 4. The zero window expects number 0.
type window struct {
	next uint32 // the number after the highest heard of
	gaps []gap  // what is missing before it, oldest first
}

// gap is a range of missing messages.
type gap struct {
	first, end uint32 // end is the number after the last
	since      int64  // clock
}

// accept notes the n messages from number on. fresh says that they are to be delivered, all of them; lost counts
// others that are now given up; ok is false where the numbers cannot be.
func (w *window) accept(number uint32, n int, now int64) (fresh bool, lost int, ok bool) {
	if n < 1 || n > maxNumbered {
		return false, 0, false
	}
	end := number + uint32(n)
	if ahead := int32(number - w.next); ahead >= 0 {
		if ahead > maxNumbered {
			return false, 0, false
		}
		lost = w.miss(number, now)
		w.next = end
		return true, lost, true
	}
	i := w.find(number)
	if i < 0 || int32(w.gaps[i].end-end) < 0 {
		return false, 0, true
	}
	g := &w.gaps[i]
	before, after := gap{g.first, number, g.since}, gap{end, g.end, g.since}
	var left []gap
	for _, part := range []gap{before, after} {
		if part.first != part.end {
			left = append(left, part)
		}
	}
	w.gaps = slices.Replace(w.gaps, i, i+1, left...)
	return true, w.crowded(), true
}

// missing says whether a message with this number would be delivered.
func (w *window) missing(number uint32) bool {
	ahead := int32(number - w.next)
	return ahead >= 0 && ahead <= maxNumbered || w.find(number) >= 0
}

// find is the index of the gap that number is in, or -1.
func (w *window) find(number uint32) int {
	return slices.IndexFunc(w.gaps, func(g gap) bool {
		return int32(number-g.first) >= 0 && int32(number-g.end) < 0
	})
}

// note is told that all numbers before next have been used. It returns how many messages are given up for it.
func (w *window) note(next uint32, now int64) (lost int) {
	if ahead := int32(next - w.next); ahead > 0 && ahead <= maxNumbered {
		lost = w.miss(next, now)
		w.next = next
	}
	return lost
}

// miss makes a gap of what lies before next.
func (w *window) miss(next uint32, now int64) (lost int) {
	if next == w.next {
		return 0
	}
	w.gaps = append(w.gaps, gap{w.next, next, now})
	return w.crowded()
}

// crowded gives the oldest gaps up, where there are too many.
func (w *window) crowded() (lost int) {
	for len(w.gaps) > maxGaps {
		lost += w.drop()
	}
	return lost
}

func (w *window) drop() int {
	g := w.gaps[0]
	w.gaps = slices.Delete(w.gaps, 0, 1)
	return int(g.end - g.first)
}

// expire gives up what has been missing since before a time.
func (w *window) expire(before int64) (lost int) {
	for len(w.gaps) > 0 && w.gaps[0].since <= before {
		lost += w.drop()
	}
	return lost
}
