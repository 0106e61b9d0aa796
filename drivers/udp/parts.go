package udp

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/internal/nom"
)

// The bounds of what waits to be completed: NOM.md, section 4.
const (
	maxIncomplete = 64       // messages of one peering
	partOverhead  = 64       // bytes that a part is reckoned to take beside its own
	maxHeld       = 64 << 20 // bytes of all peerings of the process
)

// held counts the bytes of all incomplete messages of the process.
var held atomic.Int64

// puzzle completes messages that come in parts. Memory is taken as they come, not on the word of a total.
type puzzle struct {
	limit   int // of one message's framed size; twice that for all
	taken   int // bytes reckoned
	started []*incomplete
}

// incomplete is one message.
type incomplete struct {
	number uint32
	total  uint32
	since  int64      // clock
	parts  []nom.Part // in order, without overlaps
	have   uint32     // bytes of them
}

// add takes a part. Its result is the message, in memory of the caller's, if that is complete now. failed are the numbers
// of messages given up to make room; a part that finds none is dropped.
func (z *puzzle) add(number uint32, p nom.Part, now int64, memory []byte) (message []byte, failed []uint32) {
	i := slices.IndexFunc(z.started, func(m *incomplete) bool { return m.number == number })
	if i < 0 {
		for len(z.started) >= maxIncomplete {
			failed = append(failed, z.giveUp(0))
		}
		z.started = append(z.started, &incomplete{number: number, total: p.Total, since: now})
		i = len(z.started) - 1
	}
	m := z.started[i]
	if p.Total != m.total {
		return nil, failed
	}
	for len(p.Bytes) > 0 {
		fresh, rest, at := m.fit(p)
		if p = rest; len(fresh.Bytes) == 0 {
			continue
		}
		need := len(fresh.Bytes) + partOverhead
		for !z.reserve(need) {
			oldest := slices.IndexFunc(z.started, func(o *incomplete) bool { return o != m })
			if oldest < 0 {
				z.tidy(m)
				return nil, failed
			}
			failed = append(failed, z.giveUp(oldest))
		}
		fresh.Bytes = copyPart(fresh.Bytes)
		m.parts = slices.Insert(m.parts, at, fresh)
		m.have += uint32(len(fresh.Bytes))
	}
	if m.have < m.total {
		return nil, failed
	}
	message = slices.Grow(memory[:0], int(m.total))
	for _, part := range m.parts {
		message = append(message, part.Bytes...)
	}
	z.remove(m)
	return message, failed
}

// tidy forgets a message of which nothing is held.
func (z *puzzle) tidy(m *incomplete) {
	if m.have == 0 {
		z.remove(m)
	}
}

// fit splits a part into the first piece of it that is not there yet, with its place, and what is to be looked at
// after that.
func (m *incomplete) fit(p nom.Part) (fresh, rest nom.Part, at int) {
	at, found := slices.BinarySearchFunc(m.parts, p.Offset, func(q nom.Part, offset uint32) int {
		return int(int64(q.Offset) - int64(offset))
	})
	if found {
		return nom.Part{}, skip(p, int(m.parts[at].Offset)+len(m.parts[at].Bytes)), at
	}
	if at > 0 {
		before := m.parts[at-1]
		if end := int(before.Offset) + len(before.Bytes); end > int(p.Offset) {
			return nom.Part{}, skip(p, end), at
		}
	}
	fresh = p
	if at < len(m.parts) {
		fresh.Bytes = p.Bytes[:min(len(p.Bytes), int(m.parts[at].Offset-p.Offset))]
	}
	return fresh, skip(p, int(p.Offset)+len(fresh.Bytes)), at
}

// skip is what of p lies at offset to and beyond.
func skip(p nom.Part, to int) nom.Part {
	n := min(len(p.Bytes), to-int(p.Offset))
	return nom.Part{Offset: p.Offset + uint32(n), Total: p.Total, Bytes: p.Bytes[n:]}
}

func (z *puzzle) reserve(n int) bool {
	if z.taken+n > 2*z.limit+partOverhead*maxIncomplete {
		return false
	}
	if held.Add(int64(n)) > maxHeld {
		held.Add(int64(-n))
		return false
	}
	z.taken += n
	return true
}

// giveUp forgets one incomplete message.
func (z *puzzle) giveUp(i int) (number uint32) {
	m := z.started[i]
	z.remove(m)
	return m.number
}

func (z *puzzle) remove(m *incomplete) {
	z.started = slices.DeleteFunc(z.started, func(o *incomplete) bool { return o == m })
	for _, part := range m.parts {
		arena.Put(part.Bytes)
	}
	n := int(m.have) + partOverhead*len(m.parts)
	z.taken -= n
	held.Add(int64(-n))
}

// copyPart copies a part's bytes to memory that is lent, unless most of that would be wasted: what is reckoned is to be
// half of what is taken, at least.
func copyPart(b []byte) []byte {
	if len(b) <= arena.Least/2 {
		return slices.Clone(b)
	}
	return append(arena.Get(len(b)), b...)
}

// keep gives up all incomplete messages that are no longer wanted.
func (z *puzzle) keep(wanted func(number uint32) bool) {
	for i := len(z.started) - 1; i >= 0; i-- {
		if !wanted(z.started[i].number) {
			z.giveUp(i)
		}
	}
}

// expire gives up what began before a time, or all.
func (z *puzzle) expire(before int64) {
	for len(z.started) > 0 && z.started[0].since <= before {
		z.giveUp(0)
	}
}

// patience is how long a puzzle may take.
func (s *settings) patience() time.Duration { return s.timeout }
