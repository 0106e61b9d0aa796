package udp

import (
	"errors"
	"math"
	"syscall"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// flow sends and receives messages with an extended peer, in all patterns but that of REQ and its peers: numbered, and
// as many in a datagram as are waiting.
type flow struct {
	stateless
	multicast bool
}

// receive is for plain datagrams, which a session lets nobody see.
func (f *flow) receive(l *link, _ nom.Header, _ []byte, _ *inbox) { l.dropped(vtx.DropStray, 1) }

// send sends all of b.
func (f *flow) send(l *link, b *vtx.Batch) error {
	s := l.ext
	switch {
	case s.up != nil:
		return s.subscribe(l, b)
	case l.cfg.Type == vtx.Pull:
		l.dropped(vtx.DropStray, b.Len())
		b.Reset()
		return l.Err()
	}
	out := departurePool.Get().(*departures)
	defer departurePool.Put(out)
	for b.Len() > 0 {
		if err := l.Err(); err != nil {
			return err
		}
		ahead := *b // b keeps what has not been sent
		number := s.next.Load()
		f.fill(l, out, &ahead)
		if out.n == 0 {
			if err := f.sendLarge(l, b.Front()); err != nil {
				return err
			}
			b.Pop()
			continue
		}
		sent, failed, err := l.sendAll(out)
		if sent > 0 {
			for range out.taken[sent-1] {
				b.Pop()
			}
			s.next.Store(number + uint32(out.taken[sent-1]))
			l.dropped(vtx.DropNetwork, messagesIn(out, sent-failed, sent))
		}
		if errors.Is(err, syscall.EMSGSIZE) {
			if !s.tooLong(l, len(out.datagrams[sent]), err) {
				l.dropped(vtx.DropNetwork, 1)
				b.Pop()
			}
		} else if err != nil {
			return over(l, err)
		}
	}
	return nil
}

// messagesIn counts the messages of some datagrams.
func messagesIn(out *departures, from, to int) int {
	if from == to {
		return 0
	}
	n := out.taken[to-1]
	if from > 0 {
		n -= out.taken[from-1]
	}
	return n
}

// fill makes datagrams of the messages at the front of b, up to one that does not fit a datagram, or is to be refused: the
// peer would throw away those beside it, too.
func (f *flow) fill(l *link, out *departures, b *vtx.Batch) {
	s := l.ext
	room := int(s.size.Load()) - nom.ExtendedSize
	most := int(min(int64(room), l.largest()))
	number, taken := s.next.Load(), 0
	m := b.Front()
	for out.n = 0; out.n < maxBatch && m != nil && len(m) <= most; out.n++ {
		h := nom.Header{Command: nom.NOM, Extended: true, Token: s.theirs, Number: number + uint32(taken)}
		d := nom.AppendHeader(out.buffers[out.n][:0], h)
		for end := len(d) + room; m != nil && len(m) <= most && len(d)+len(m) <= end; m = b.Front() {
			d = append(d, m...)
			b.Pop()
			taken++
		}
		out.taken[out.n] = taken
		out.datagrams[out.n] = d
	}
	if out.n > 0 {
		l.begun.Store(true)
	}
}

// sendLarge sends one message in parts, or refuses it.
func (f *flow) sendLarge(l *link, m vtx.Message) error {
	s := l.ext
	if l.tooLarge(len(m)) {
		return nil
	}
	l.begun.Store(true)
	number := s.next.Load()
	err := s.transmit(l, number, false, m)
	s.next.Store(number + 1) // not before: a HUGZ meanwhile would say that it has been sent, and the peer would give it up
	return err
}

// hear delivers messages that have not come before.
func (f *flow) hear(l *link, h nom.Header, messages []byte, in *inbox) {
	n, limit := 0, l.ext.puzzle.limit
	for rest := messages; len(rest) > 0; n++ {
		m, next, err := nom.CutMessage(rest)
		if err != nil {
			l.dropped(vtx.DropMalformed, 1)
			return
		}
		if len(m) > limit {
			l.dropped(vtx.DropTooBig, 1)
			return
		}
		rest = next
	}
	s := l.ext
	s.mu.Lock()
	fresh, lost, ok := s.window.accept(h.Number, n, clock())
	s.mu.Unlock()
	l.dropped(vtx.DropLost, lost)
	switch {
	case !ok:
		l.dropped(vtx.DropMalformed, 1)
	case !fresh:
		l.dropped(vtx.DropDuplicate, n)
	case l.cfg.Type == vtx.Push || l.cfg.Type == vtx.Pub || l.cfg.Type == vtx.XPub:
		l.dropped(vtx.DropStray, n) // these patterns hear nothing
	default:
		in.batch.AppendFramed(messages, n)
	}
}

// wants a message that has not come yet.
func (f *flow) wants(l *link, h nom.Header, _ bool) bool {
	l.ext.mu.Lock()
	defer l.ext.mu.Unlock()
	return l.ext.window.missing(h.Number)
}

// missing is wants for a message that is being completed. The session's mutex is held.
func (f *flow) missing(s *session, number uint32) bool { return s.window.missing(number) }

// largest is the framed size of the largest message that the peer takes.
func (l *link) largest() int64 {
	return min(int64(l.ext.hello.MaxMessage)+nom.FramedHead, math.MaxUint32)
}

// tooLarge refuses a message whose framed form the peer does not take.
func (l *link) tooLarge(size int) bool {
	limit := l.largest()
	if int64(size) <= limit {
		return false
	}
	l.refuse("a message has %d bytes, the peer takes %d", int64(size)-nom.FramedHead, limit-nom.FramedHead)
	return true
}
