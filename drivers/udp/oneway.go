package udp

import (
	"hash/maphash"
	"math/bits"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// hearer receives for SUB, XSUB and PULL. The original gives every message of these patterns
// the number 0; ours counts per peering, so that a second copy is recognised and a loss is
// counted. Which of the two the peer is shows in its first messages.
//
// Four bits cannot tell a copy from a message sixteen later, so content helps: what bears
// a number already seen is a copy only if its bytes are the same.
type hearer struct {
	stateless
	state hearing
	last  byte       // the highest number
	seen  byte       // bit k: number last-k has arrived
	sums  [16]uint64 // of the content, by number
}

type hearing byte

const (
	heardNothing hearing = iota
	heardZero            // one message, with number 0: either kind of peer
	heardTwin            // a second one, the same bytes: a copy, it seems
	uncounted            // the peer does not count
	counted              // the peer counts
)

// The distance to the number before: up to ahead it is progress, beyond it is a late arrival.
const ahead = 8

var seed = maphash.MakeSeed()

// send has nothing to do: NOM-1 carries no subscriptions, and what else would come from these types?
func (r *hearer) send(l *link, b *vtx.Batch) error {
	if err := l.Err(); err != nil {
		return err
	}
	l.dropped(vtx.DropStray, b.Len())
	b.Reset()
	return nil
}

func (r *hearer) receive(l *link, h nom.Header, body []byte, in *inbox) {
	fresh, lost := r.accept(h.Sequence, maphash.Bytes(seed, body))
	l.dropped(vtx.DropLost, lost)
	if !fresh {
		l.dropped(vtx.DropDuplicate, 1)
		return
	}
	in.frames = in.frames[:0]
	in.add(l, body)
}

// accept says whether a message is to be delivered, and how many before it are now known to be lost.
func (r *hearer) accept(number byte, sum uint64) (fresh bool, lost int) {
	if r.state != counted && number == 0 {
		return r.acceptZero(sum), 0
	}
	if r.state != counted {
		before := r.state
		r.state, r.last, r.seen = counted, 0, 0xff
		if before == heardNothing { // not even number 0 came: go on from the number before it
			r.last = 15
		}
	}
	switch d := (number - r.last) & nom.SequenceMask; {
	case d >= 1 && d <= ahead:
		return true, r.advance(number, int(d), sum)
	case r.seen&r.bit(number) == 0:
		r.seen |= r.bit(number)
		r.sums[number] = sum
		return true, 0
	case r.sums[number] == sum:
		return false, 0
	case d == 0:
		return true, r.advance(number, 16, sum)
	default:
		return true, r.advance(number, int(d), sum)
	}
}

// acceptZero handles the number 0 while the peer may be of either kind.
func (r *hearer) acceptZero(sum uint64) bool {
	switch {
	case r.state == heardNothing:
		r.state = heardZero
		r.sums[0] = sum
	case r.state == heardZero && sum == r.sums[0]:
		r.state = heardTwin
		return false
	default:
		r.state = uncounted
	}
	return true
}

// bit is the place in seen of a number at or behind the last one.
func (r *hearer) bit(number byte) byte { return 1 << ((r.last - number) & nom.SequenceMask) }

// advance makes number the last one, d after the one before, and counts the numbers that are now
// out of reach and never arrived.
func (r *hearer) advance(number byte, d int, sum uint64) (lost int) {
	out := min(d, 8)
	lost = d - bits.OnesCount8(r.seen>>(8-out))
	r.seen = r.seen<<out | 1
	r.last = number
	r.sums[number] = sum
	return lost
}
