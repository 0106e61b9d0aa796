package udp

import (
	"errors"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// inVain is how many acknowledgements of nothing new mean that a SUBSCRIBE was lost.
const inVain = 2

// inFlight is how many SUBSCRIBEs may wait for their acknowledgement.
const inFlight = 8

// uplink carries a subscriber's messages to its publisher, all of them and in order: NOM.md, section 7. The
// session's mutex guards it.
type uplink struct {
	base  uint32 // offset of stream[0]
	size  int    // bytes that have been sent at least once
	bytes []byte // not yet acknowledged
	since int64  // clock of the last time that the first of them was sent; 0: repeated, so nothing can be measured
	vain  int    // acknowledgements in a row that acknowledged nothing new
	alarm alarm
}

// subscribe takes all of b.
func (s *session) subscribe(l *link, b *vtx.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	if s.ended || !s.subscribes() {
		b.Reset() // the next publisher is told all of it, or this one sends everything
		return nil
	}
	for m := b.Pop(); m != nil; m = b.Pop() {
		if len(m) > maxTopic {
			l.refuse("a subscription has %d bytes, %d are allowed", int64(len(m)), maxTopic)
			continue
		}
		s.up.bytes = append(s.up.bytes, m...)
	}
	s.up.send(l)
	return nil
}

// maxTopic bounds a subscription, and what a publisher keeps of one that is not complete, in bytes.
const maxTopic = 64 << 10

// send sends what may be sent now.
func (u *uplink) send(l *link) {
	room := int(l.ext.size.Load()) - nom.ExtendedSize
	end := min(len(u.bytes), inFlight*room)
	if u.size == 0 && end > 0 {
		u.since = clock()
	}
	for u.size < end {
		n := min(room, end-u.size)
		err := l.ext.say(l, nom.SUBSCRIBE, u.base+uint32(u.size), u.bytes[u.size:u.size+n], l.to())
		if l.ext.tooLong(l, n+nom.ExtendedSize, err) {
			break // smaller next time
		}
		u.size += n
	}
	if len(u.bytes) > 0 {
		u.alarm.set(l.ext.rtt.rto(), func() { u.repeat(l) })
	}
}

// repeat sends again from the first byte that was not acknowledged.
func (u *uplink) repeat(l *link) {
	s := l.ext
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || len(u.bytes) == 0 {
		return
	}
	s.rtt.failed()
	l.cfg.Report.Retry(1)
	u.size = 0
	u.send(l)
	u.since = 0
}

// acknowledged is told the offset that the publisher expects next.
func (u *uplink) acknowledged(l *link, next uint32, now int64) {
	n := int(int32(next - u.base))
	if n == 0 && u.size > 0 {
		if u.vain++; u.vain == inVain { // later ones have arrived, the first of them has not
			u.vain = -inFlight // what is on its way now says the same
			u.size = 0
			u.send(l)
			u.since = 0
		}
	}
	if n <= 0 || n > len(u.bytes) {
		return
	}
	u.vain, l.ext.rtt.backoff = 0, 0
	if u.since != 0 {
		l.ext.rtt.measured(time.Duration(now - u.since))
	}
	u.base += uint32(n)
	u.size = max(0, u.size-n) // more where an earlier time is acknowledged, before all has been repeated
	u.since = 0               // what else is under way was not sent just now
	if u.bytes = u.bytes[n:]; len(u.bytes) == 0 {
		u.bytes = nil
		u.alarm.stop()
		return
	}
	u.send(l)
}

// downlink is the publisher's end. The session's mutex guards it.
type downlink struct {
	next uint32
	part []byte // of a message, so far
	seen uint64 // how much of it, to the beginning of a frame, need not be looked at again
}

var errSubscription = errors.New("the peer's subscriptions are malformed")

// subscription takes a SUBSCRIBE, but not while others wait for the application: the peer repeats what is not acknowledged,
// and none is lost.
func (s *session) subscription(l *link, offset uint32, body []byte, in *inbox) {
	busy := l.backlog.waits()
	s.mu.Lock()
	if s.down == nil {
		s.mu.Unlock()
		l.dropped(vtx.DropStray, 1)
		return
	}
	bad := false
	if d := s.down; offset == d.next && !busy {
		d.next += uint32(len(body))
		d.part = append(d.part, body...)
		for len(d.part) > 0 {
			size, seen, err := nom.FramedSize(d.part, d.seen)
			d.seen = seen
			if bad = err != nil || size > maxTopic; bad || size > uint64(len(d.part)) {
				break
			}
			in.batch.AppendFramed(d.part[:size], 1)
			d.part, d.seen = d.part[size:], 0
		}
		if len(d.part) == 0 {
			d.part = nil
		}
	}
	next := s.down.next
	s.mu.Unlock()
	if bad {
		l.dropped(vtx.DropMalformed, 1)
		in.flush(l)
		l.end(errSubscription)
		return
	}
	_ = s.say(l, nom.SUBSCRIBEOK, next, nil, l.to())
}
