package udp

import (
	"net"
	"sync"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// requester sends for REQ: one request at a time, numbered, and repeated until it is answered or the
// peering ends. A dialler has one requester for all its links, and so a request that was not
// answered goes to the next peer found. A listener has one for each link, and hands such a request on.
type requester struct {
	listener *listener // nil for a dialler

	mu       sync.Mutex
	link     *link       // the started link that it serves, or nil
	pending  bool        // request waits for its answer
	request  vtx.Message // the latest, as the engine gave it
	turn     uint64      // counts requests: tells whether one is still the latest
	number   uint32      // of the latest request, on this link; a plain peer sees its last four bits
	datagram []byte      // as it was sent to a plain peer
	sent     int64       // clock of its latest transmission
	whole    int64       // clock of the end of its latest copy in parts; 0: it needs none
	replied  int64       // clock of the latest part of the reply; 0: none. The peer has the request then
	resent   bool
	timer    *time.Timer // repeats it
	armed    bool        // the timer runs; it is not reset for each request, which would cost more than the rest
}

// settle is how long a listener keeps the request of a closed link before it goes to another. The
// application's REQ discards an answer from another peer until it has lost the first one, and
// the engine may take that one away just after it closed the link.
const settle = 50 * time.Millisecond

func (r *requester) start(l *link) {
	r.mu.Lock()
	r.link, r.number = l, 0
	if r.pending {
		r.issue()
	}
	r.mu.Unlock()
	if r.listener != nil {
		if m := r.listener.takeOrphan(); m != nil {
			r.submit(l, m)
		}
	}
}

func (r *requester) end(l *link) {
	r.mu.Lock()
	if r.link != l {
		r.mu.Unlock()
		return
	}
	r.link = nil
	if r.timer != nil && r.timer.Stop() {
		r.armed = false
	}
	orphan := r.pending && r.listener != nil
	r.mu.Unlock()
	if orphan {
		time.AfterFunc(settle, func() { r.listener.adopt(r.request) }) // nobody changes it any more
	}
}

// send issues requests; a new one replaces the one before, as REQ_RELAXED wants it.
func (r *requester) send(l *link, b *vtx.Batch) error {
	for b.Len() > 0 {
		if err := l.Err(); err != nil {
			return err
		}
		m := b.Front()
		skip, found := envelope(m)
		if !found {
			l.dropped(vtx.DropMalformed, 1)
		} else if !l.fits(m, skip) {
			// refused
		} else {
			if r.listener != nil {
				r.listener.takeOrphan() // this one replaces it
			}
			if !r.submit(l, m) {
				return over(l, net.ErrClosed)
			}
		}
		b.Pop()
	}
	return nil
}

// fits refuses a message that the peer does not take without its first skip frames.
func (l *link) fits(m vtx.Message, skip int) bool {
	if l.ext != nil {
		return !l.tooLarge(len(withoutFrames(m, skip)))
	}
	size := wireSize(m, skip)
	if size > nom.MaxDatagram {
		l.tooBig(size)
	}
	return size <= nom.MaxDatagram
}

// withoutFrames is what is left of m without its first skip frames.
func withoutFrames(m vtx.Message, skip int) vtx.Message {
	rest := []byte(m)
	for ; skip > 0; skip-- {
		_, rest, _, _ = nom.CutFramed(rest) // the engine's own framing is well formed
	}
	return rest
}

// envelope counts the frames up to and with the first empty one. found is false for a message that has
// none, or nothing behind it.
func envelope(m vtx.Message) (frames int, found bool) {
	for f := range m.Frames() {
		if found {
			return frames, true
		}
		frames++
		found = len(f) == 0
	}
	return frames, false
}

// submit makes m the pending request, unless l is no longer served.
func (r *requester) submit(l *link, m vtx.Message) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link != l {
		return false
	}
	r.request = append(r.request[:0], m...)
	r.issue()
	return true
}

// take is submit for a request that another link leaves: only where none is pending.
func (r *requester) take(m vtx.Message) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link == nil || r.pending || !r.link.live() {
		return false
	}
	r.request = append(r.request[:0], m...)
	r.issue()
	return true
}

// issue sends the latest request under a new number. r.mu is held.
func (r *requester) issue() {
	l := r.link
	r.turn++
	r.pending = true
	r.number++
	r.resent, r.whole, r.replied = false, 0, 0
	l.begun.Store(true)
	r.transmit(false)
	if !r.armed {
		r.arm(r.interval())
	}
}

// transmit sends the latest request. Whatever goes wrong, it is repeated. r.mu is held.
func (r *requester) transmit(resend bool) {
	l := r.link
	r.sent = clock()
	skip, _ := envelope(r.request)
	if l.ext != nil {
		r.transmitTo(l.ext, resend, withoutFrames(r.request, skip))
		return
	}
	h := nom.Header{Command: nom.NOM, Sequence: byte(r.number & nom.SequenceMask), Resend: resend}
	if resend {
		nom.AppendHeader(r.datagram[:0], h)
	} else {
		r.datagram = appendMessage(r.datagram[:0], h, r.request, skip)
	}
	_ = l.sendOne(r.datagram)
}

// transmitTo is transmit to an extended peer. r.mu is held.
func (r *requester) transmitTo(s *session, resend bool, m []byte) {
	l := r.link
	switch {
	case r.replied != 0:
		s.remind(l, r.number, m)
	case s.fits(m):
		_ = s.transmit(l, r.number, resend, m)
	case resend && s.passed.Load() < r.whole: // what was sent is still on its way, and another copy would only be in its way
		s.inquire(l)
	default:
		_ = s.transmit(l, r.number, resend, m)
		r.whole = clock()
		s.inquire(l)
	}
}

// interval is how long to wait for the reply before the request is sent again. r.mu is held.
func (r *requester) interval() time.Duration {
	s := r.link.ext
	if s == nil || r.link.set.fixed {
		return r.link.set.resend
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rtt.rto()
}

// arm makes the timer look at the pending request after d. r.mu is held.
func (r *requester) arm(d time.Duration) {
	r.armed = true
	if r.timer == nil {
		r.timer = time.AfterFunc(d, r.resend)
	} else {
		r.timer.Reset(d)
	}
}

// resend repeats the pending request, if it has waited long enough.
func (r *requester) resend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = false
	l := r.link
	if l == nil || !r.pending || !l.live() {
		return
	}
	wait := r.interval()
	if waited := time.Duration(clock() - max(r.sent, r.replied)); waited < wait {
		r.arm(wait - waited)
		return
	}
	r.resent = true
	r.transmit(true)
	l.cfg.Report.Retry(1)
	if l.ext != nil {
		l.ext.mu.Lock()
		l.ext.rtt.failed()
		l.ext.mu.Unlock()
	}
	r.arm(r.interval())
}

// receive takes a plain peer's reply.
func (r *requester) receive(l *link, h nom.Header, body []byte, in *inbox) {
	r.reply(l, h, body, in, (*inbox).add)
}

// hear takes an extended peer's reply.
func (r *requester) hear(l *link, h nom.Header, message []byte, in *inbox) {
	r.reply(l, h, message, in, (*inbox).addFramed)
}

// wants the reply that is waited for.
func (r *requester) wants(l *link, h nom.Header, first bool) bool {
	r.mu.Lock()
	why := r.unwanted(l, h)
	if why == "" {
		r.replied = clock()
	}
	r.mu.Unlock()
	if why != "" && first {
		l.dropped(why, 1)
	}
	return why == ""
}

// reply takes a reply. One that the application cannot take now is left to the next repetition.
func (r *requester) reply(l *link, h nom.Header, body []byte, in *inbox, add func(*inbox, *link, []byte) bool) {
	r.mu.Lock()
	if why := r.unwanted(l, h); why != "" {
		r.mu.Unlock()
		l.dropped(why, 1)
		return
	}
	turn := r.turn
	in.frames = in.frames[:0]
	for f := range r.request.Frames() {
		in.frames = append(in.frames, f)
		if len(f) == 0 {
			break
		}
	}
	ok := add(in, l, body)
	if ok && l.ext != nil && !r.resent {
		l.ext.mu.Lock()
		l.ext.rtt.measured(time.Duration(clock() - r.sent))
		l.ext.mu.Unlock()
	}
	r.mu.Unlock()
	if !ok || in.offer(l) > 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.turn == turn { // the application may have sent its next request already
		r.pending = false
	}
}

// unwanted says why a reply is not the one waited for, or "".
func (r *requester) unwanted(l *link, h nom.Header) vtx.DropReason {
	switch {
	case r.link != l || r.turn == 0 || l.ext != nil && h.Number != r.number,
		l.ext == nil && uint32(h.Sequence) != r.number&nom.SequenceMask:
		return vtx.DropStray
	case !r.pending:
		return vtx.DropDuplicate
	}
	return ""
}
