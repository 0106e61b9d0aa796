package udp

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// responder receives requests and sends replies, for REP and ROUTER. Its peer is a requester, whose
// first number is 1 and who waits for a reply with the number of the request, or a talker,
// whose first number is 0 and with whom messages just come and go.
type responder struct {
	stateless
	router bool
	plain  talker // how a peer that is no requester is talked to

	repeats atomic.Int64 // clock at which those of plain peers' replies are paid off

	mu   sync.Mutex
	peer peerKind
	lockStep
}

type peerKind byte

const (
	peerUnknown peerKind = iota
	peerRequests
	peerTalks
)

// lockStep remembers which requests of a peer were handled.
type lockStep struct {
	begun    bool
	last     uint32   // number of the newest request accepted
	waiting  []uint32 // numbers of those delivered and not yet answered, oldest first
	replied  bool
	answered uint32 // number of the latest one answered
	reply    []byte // and its reply: the datagram, or for an extended peer the message
	sent     int64  // clock of the end of its latest transmission
	odd      uint32 // a number that cannot be next, being repeated
	oddTimes int
}

// repeatsEvery bounds the repetitions of replies to a plain peer, who asks every 200 ms: so many nanoseconds apart, but for a few at
// once.
const (
	repeatsEvery = 20_000_000
	repeatsBurst = 16
)

// keptReply is the largest memory for a reply that the next one is written into, in bytes.
const keptReply = 64 << 10

// maxWaiting bounds the requests that wait for their replies; a requester has more than one there
// only if it gave the earlier ones up.
const maxWaiting = 8

// verdict is what is to be done with a request.
type verdict byte

const (
	deliver verdict = iota
	ignore
	repeat // the reply was lost: send it again
)

// How often in a row a number that cannot be next must be repeated to be believed. Copies that the
// network held back are few; a requester that really waits goes on. One that gave requests up
// skips numbers, so a number ahead is believed sooner than one behind.
const (
	believeAhead  = 2
	believeBehind = 8
)

// judge decides on a request. It changes nothing but the count of odd repetitions.
func (s *lockStep) judge(h nom.Header) verdict {
	n := number(h)
	for _, w := range s.waiting {
		if w == n {
			return ignore
		}
	}
	d := (n - s.last) & nom.SequenceMask
	if !s.begun || d == 1 && !h.Extended || h.Extended && int32(n-s.last) > 0 {
		return deliver
	}
	if s.replied && n == s.answered {
		return repeat
	}
	if d == 0 || !h.Resend || h.Extended {
		return ignore
	}
	if s.oddTimes == 0 || s.odd != n {
		s.odd, s.oddTimes = n, 0
	}
	s.oddTimes++
	enough := believeAhead
	if d > ahead {
		enough = believeBehind
	}
	if s.oddTimes >= enough {
		return deliver
	}
	return ignore
}

// number is what the peer numbers its requests with.
func number(h nom.Header) uint32 {
	if h.Extended {
		return h.Number
	}
	return uint32(h.Sequence)
}

// receive takes a plain peer's request, or its message.
func (r *responder) receive(l *link, h nom.Header, body []byte, in *inbox) {
	r.mu.Lock()
	kind := r.peer
	if kind == peerUnknown {
		if kind = peerTalks; h.Sequence != 0 {
			kind = peerRequests
		}
	}
	in.frames = in.frames[:0]
	if kind == peerRequests {
		in.frames = append(in.frames, nil) // the delimiter
	}
	if !in.add(l, body) {
		r.mu.Unlock()
		return
	}
	if r.peer = kind; kind == peerTalks {
		r.mu.Unlock()
		r.plain.number.Store(uint32(h.Sequence))
		return
	}
	r.decide(l, h, in)
}

// hear takes an extended peer's request.
func (r *responder) hear(l *link, h nom.Header, message []byte, in *inbox) {
	r.mu.Lock()
	in.frames = append(in.frames[:0], nil) // the delimiter
	if !in.addFramed(l, message) {
		r.mu.Unlock()
		return
	}
	r.decide(l, h, in)
}

// wants a request that is to be handled. The first part of one whose reply was lost stands for all of it.
func (r *responder) wants(l *link, h nom.Header, first bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.judge(h) {
	case deliver:
		return true
	case repeat:
		if first {
			r.again(l)
		}
	}
	if first {
		l.dropped(vtx.DropDuplicate, 1)
	}
	return false
}

// again repeats the latest reply. One that takes many datagrams goes out at most once each minRTO, which no
// requester that measures undercuts: else each small datagram of a hostile one would bring all of it, and keep the
// polling thread from everybody else. One to a plain peer has a pace too, since anybody can ask for it in the peer's name. One that
// udp.resend makes ask more often asks again. r.mu is held.
func (r *responder) again(l *link) {
	parts := l.ext != nil && nom.ExtendedSize+len(r.reply) > int(l.ext.size.Load())
	if parts && time.Duration(clock()-r.sent) < minRTO {
		return
	}
	if l.ext == nil && !paced(&r.repeats, clock(), repeatsEvery, repeatsBurst) {
		return
	}
	l.cfg.Report.Retry(1)
	_ = r.transmit(l, true)
}

// transmit sends the latest reply. r.mu is held.
func (r *responder) transmit(l *link, resend bool) (err error) {
	if l.ext != nil {
		err = l.ext.transmit(l, r.answered, resend, r.reply)
	} else {
		err = l.sendOne(r.reply)
	}
	r.sent = clock()
	return err
}

// decide handles the request in in, or not. r.mu is held, and released.
func (r *responder) decide(l *link, h nom.Header, in *inbox) {
	v, why := r.judge(h), vtx.DropDuplicate
	if v == deliver && len(r.waiting) == maxWaiting {
		if !r.router {
			v, why = ignore, vtx.DropFull // its repetition comes when there is room
		} else {
			r.waiting = append(r.waiting[:0], r.waiting[1:]...)
		}
	}
	if v != deliver {
		in.batch.Reset()
		l.dropped(why, 1)
		if v == repeat {
			r.again(l)
		}
		r.mu.Unlock()
		return
	}
	// The request must be known before it is delivered, because its reply may come at once,
	// and must not be if it was not taken, so that its repetition is.
	last, begun := r.last, r.begun
	n := number(h)
	r.last, r.begun, r.oddTimes = n, true, 0
	r.waiting = append(r.waiting, n)
	r.mu.Unlock()
	if in.offer(l) == 0 {
		return
	}
	r.mu.Lock()
	r.last, r.begun = last, begun
	if k := len(r.waiting) - 1; k >= 0 && r.waiting[k] == n {
		r.waiting = r.waiting[:k]
	}
	r.mu.Unlock()
	l.dropped(vtx.DropFull, 1)
}

func (r *responder) send(l *link, b *vtx.Batch) error {
	r.mu.Lock()
	requests := r.peer == peerRequests
	r.mu.Unlock()
	if !requests {
		return r.plain.send(l, b)
	}
	for b.Len() > 0 {
		if err := l.Err(); err != nil {
			return err
		}
		err := r.answer(l, b.Front())
		if errors.Is(err, net.ErrClosed) {
			return over(l, err)
		}
		if err != nil {
			l.dropped(vtx.DropNetwork, 1)
		}
		b.Pop()
	}
	return nil
}

// answer sends a reply under the number of its request, and keeps it for repetition. REP answers
// in the order of the requests; of a ROUTER only the peer's newest request can be meant.
func (r *responder) answer(l *link, m vtx.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		l.dropped(vtx.DropStray, 1)
		return nil
	}
	number := r.waiting[0]
	if r.router {
		number = r.waiting[len(r.waiting)-1]
		r.waiting = r.waiting[:0]
	} else {
		r.waiting = append(r.waiting[:0], r.waiting[1:]...)
	}
	skip := 0
	if m.Delimited() {
		skip = 1
	}
	if l.ext != nil {
		body := withoutFrames(m, skip)
		if l.tooLarge(len(body)) {
			return nil
		}
		if cap(r.reply) > keptReply {
			r.reply = nil
		}
		r.reply = append(r.reply[:0], body...)
	} else if size := wireSize(m, skip); size > nom.MaxDatagram {
		l.tooBig(size)
		return nil
	} else {
		r.reply = appendMessage(r.reply[:0], nom.Header{Command: nom.NOM, Sequence: byte(number)}, m, skip)
	}
	r.replied, r.answered = true, number
	return r.transmit(l, false)
}
