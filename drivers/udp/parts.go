package udp

import (
	"slices"
	"sort"
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
	short   error // there was no memory for what the peer sent: ENOMEM
}

// incomplete is one message.
type incomplete struct {
	number uint32
	total  uint32
	grown  int64   // clock of the latest part that brought something new
	parts  []piece // in order, without overlaps
	have   uint32  // bytes of them
}

// piece is a part in memory of its own, which is C's: a peer can fill a good deal of it.
type piece struct {
	nom.Part
	block arena.Block
}

// add takes a part. Its result is the message, in memory of the arena's that the caller is to give back, if that is complete
// now. failed are the numbers of messages given up to make room; a part that finds none is dropped.
func (z *puzzle) add(number uint32, p nom.Part, now int64) (message []byte, failed []uint32) {
	i := slices.IndexFunc(z.started, func(m *incomplete) bool { return m.number == number })
	if i < 0 {
		for len(z.started) >= maxIncomplete {
			failed = append(failed, z.giveUp(0))
		}
		z.started = append(z.started, &incomplete{number: number, total: p.Total, grown: now})
		i = len(z.started) - 1
	}
	m := z.started[i]
	if p.Total != m.total {
		return nil, failed
	}
	fresh, from, to, gained := m.fit(p)
	if gained == 0 || len(m.parts)-(to-from) >= m.mostParts() {
		return nil, failed
	}
	need := gained + partOverhead*(1-(to-from))
	for !z.reserve(need) {
		oldest := slices.IndexFunc(z.started, func(o *incomplete) bool { return o != m })
		if oldest < 0 {
			z.tidy(m)
			return nil, failed
		}
		failed = append(failed, z.giveUp(oldest))
	}
	kept, err := keepPart(fresh)
	if err != nil {
		z.short = err
		z.unreserve(need)
		z.tidy(m)
		return nil, failed
	}
	for _, covered := range m.parts[from:to] {
		covered.block.Free()
	}
	m.parts = slices.Replace(m.parts, from, to, kept)
	m.have += uint32(gained)
	m.grown = now
	if m.have < m.total {
		return nil, failed
	}
	if err = arena.Claim(int(m.total)); err == nil { // for those who deliver it
		message, err = arena.Get(int(m.total))
	}
	if err != nil {
		z.short = err
		z.remove(m)
		return nil, failed
	}
	for _, part := range m.parts {
		message = append(message, part.Bytes...)
	}
	z.remove(m)
	return message, failed
}

// keepPart copies a part. Errors: ENOMEM.
func keepPart(p nom.Part) (piece, error) {
	block, err := arena.Take(len(p.Bytes))
	if err != nil {
		return piece{}, err
	}
	p.Bytes = block.Bytes()[:copy(block.Bytes(), p.Bytes)]
	return piece{p, block}, nil
}

// tidy forgets a message of which nothing is held.
func (z *puzzle) tidy(m *incomplete) {
	if m.have == 0 {
		z.remove(m)
	}
}

// mostParts bounds the pieces that are kept: each is moved for those that come before it, and very small ones would take
// the polling thread very long. The smallest datagrams carry 526 bytes of a message, which leaves room for smaller
// pieces, between those of a copy that was cut elsewhere.
func (m *incomplete) mostParts() int { return int(m.total/256) + 64 }

// fit cuts a part down to what takes the place of the pieces from:to, all of which it covers; what the pieces around
// those have of it is left to them. gained is how many of its bytes are new.
func (m *incomplete) fit(p nom.Part) (fresh nom.Part, from, to, gained int) {
	from = sort.Search(len(m.parts), func(i int) bool { return end(m.parts[i].Part) > p.Offset })
	if from < len(m.parts) && m.parts[from].Offset <= p.Offset {
		p = skip(p, end(m.parts[from].Part))
		from++
	}
	gained = len(p.Bytes)
	for to = from; to < len(m.parts) && end(m.parts[to].Part) <= end(p); to++ {
		gained -= len(m.parts[to].Bytes)
	}
	if to < len(m.parts) && m.parts[to].Offset < end(p) {
		n := m.parts[to].Offset - p.Offset
		gained -= len(p.Bytes) - int(n)
		p.Bytes = p.Bytes[:n]
	}
	return p, from, to, gained
}

// end is the offset behind p.
func end(p nom.Part) uint32 { return p.Offset + uint32(len(p.Bytes)) }

// skip is what of p lies at offset to and beyond.
func skip(p nom.Part, to uint32) nom.Part {
	n := min(uint32(len(p.Bytes)), to-p.Offset)
	return nom.Part{Offset: p.Offset + n, Total: p.Total, Bytes: p.Bytes[n:]}
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

func (z *puzzle) unreserve(n int) {
	z.taken -= n
	held.Add(int64(-n))
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
		part.block.Free()
	}
	z.unreserve(int(m.have) + partOverhead*len(m.parts))
}

// keep gives up all incomplete messages that are no longer wanted.
func (z *puzzle) keep(wanted func(number uint32) bool) {
	for i := len(z.started) - 1; i >= 0; i-- {
		if !wanted(z.started[i].number) {
			z.giveUp(i)
		}
	}
}

// expire gives up what has not grown since a time. How old it is does not matter: over a slow network a large message takes
// longer than any timeout, and each copy of it brings some of what the others lost.
func (z *puzzle) expire(since int64) {
	for i := len(z.started) - 1; i >= 0; i-- {
		if z.started[i].grown <= since {
			z.giveUp(i)
		}
	}
}

// patience is how long a puzzle waits for its next part.
func (s *settings) patience() time.Duration { return s.timeout }
