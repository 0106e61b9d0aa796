package udp

import (
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// session is what a link with an extended peer has beside a plain one's: NOM.md, from section 3 on. Its mutex is held
// while it sends, but not while the sink is called.
type session struct {
	ours   nom.Token // the peer's datagrams carry it
	theirs nom.Token // ours carry it
	hello  nom.Hello // of the peer

	deaf bool // the peer is a group's publisher, and hears nothing of us
	mute bool // the peer is a group, and says nothing

	next  atomic.Uint32 // number of our next message
	size  atomic.Int32  // of our largest datagram
	begun atomic.Bool   // the peer has been heard

	passed atomic.Int64 // clock at which the latest question that the peer has answered was asked: what was sent before has arrived, or is lost

	mu     sync.Mutex
	ended  bool
	window window
	puzzle puzzle
	rtt    rtt
	asked  []question
	search search
	up     *uplink
	down   *downlink
	moved  int64 // clock of the last challenge to a new address
}

// question is a HUGZ that has not been answered.
type question struct {
	challenge uint64
	to        netip.AddrPort
	size      int // probed; 0: none
	sent      int64
}

// maxAsked bounds the questions that are remembered.
const maxAsked = 8

// challengeEvery is the least time between two challenges to new addresses.
const challengeEvery = 100 * time.Millisecond

// goodbyes is how many copies of a goodbye are sent.
const goodbyes = 2

func newSession(set *settings, ours nom.Token, hello nom.Hello) *session {
	hello.RoutingID = append([]byte(nil), hello.RoutingID...)
	s := &session{ours: ours, theirs: hello.Token, hello: hello}
	s.puzzle.limit = set.maxMessage + nom.FramedHead
	s.rtt.first = defaultResend
	return s
}

// subscribes says whether both ends speak SUBSCRIBE.
func (s *session) subscribes() bool { return s.hello.Features&nom.Subscriptions != 0 }

// peerType is the peer's socket type.
func (s *session) peerType() vtx.SocketType { return vtx.SocketType(s.hello.Type) }

// listens is a role that an extended peer may have.
type listens interface {
	role
	// hear takes the messages of a NOM, or one that PARTs have completed.
	hear(l *link, h nom.Header, messages []byte, in *inbox)
	// wants says whether the message with the number of h is still to be completed; first: its first bytes have come.
	wants(l *link, h nom.Header, first bool) bool
}

// receive takes a datagram that bears our token.
func (s *session) receive(l *link, h nom.Header, body []byte, d datagram, in *inbox, now int64) {
	l.heard.Store(now)
	if d.from != l.to() && !s.deaf {
		s.challenge(l, d.from, now)
	}
	switch h.Command {
	case nom.NOM:
		l.begun.Store(true)
		l.role.(listens).hear(l, h, body, in)
	case nom.PART:
		s.part(l, h, body, in, now)
	case nom.HUGZ:
		if len(body) < 8 {
			l.dropped(vtx.DropMalformed, 1)
			return
		}
		s.noteNext(l, h.Number, now)
		s.say(l, nom.HUGZOK, s.next.Load(), body[:8], d.from)
	case nom.HUGZOK:
		s.noteNext(l, h.Number, now)
		s.answered(l, body, d.from, now)
	case nom.SUBSCRIBE:
		s.subscription(l, h.Number, body, in)
	case nom.SUBSCRIBEOK:
		s.mu.Lock()
		if s.up != nil {
			s.up.acknowledged(l, h.Number, now)
		}
		s.mu.Unlock()
	case nom.ROTFL:
		s.noteNext(l, h.Number, now)
		l.over(body, in)
		return
	}
	if !s.deaf {
		s.begin(l)
	}
}

// part takes a PART.
func (s *session) part(l *link, h nom.Header, body []byte, in *inbox, now int64) {
	p, err := nom.ParsePart(body)
	if err != nil {
		l.dropped(vtx.DropMalformed, 1)
		return
	}
	if int64(p.Total) > int64(s.puzzle.limit) {
		if p.Offset == 0 {
			l.dropped(vtx.DropTooBig, 1)
		}
		return
	}
	role := l.role.(listens)
	if !role.wants(l, h, p.Offset == 0) {
		return
	}
	s.mu.Lock()
	var m []byte
	if !s.ended {
		m, _ = s.puzzle.add(h.Number, p, now) // the numbers of what it gives up are missing, and will be counted
	}
	short := s.puzzle.short
	s.mu.Unlock()
	if short != nil {
		l.outOfMemory(short)
		return
	}
	if m != nil {
		l.begun.Store(true)
		role.hear(l, h, m, in)
		arena.Put(m)
	}
}

// noteNext is told the number of the peer's next message.
func (s *session) noteNext(l *link, number uint32, now int64) {
	if _, counts := l.role.(*flow); !counts {
		return // requests are not counted but answered
	}
	s.mu.Lock()
	lost := s.window.note(number, now)
	s.mu.Unlock()
	l.dropped(vtx.DropLost, lost)
}

// say sends a datagram other than a message.
func (s *session) say(l *link, c nom.Command, number uint32, body []byte, to netip.AddrPort) error {
	if s.deaf {
		return nil
	}
	b := append(nom.AppendHeader(make([]byte, 0, 128), nom.Header{Command: c, Extended: true, Token: s.theirs, Number: number}), body...)
	if to == l.to() {
		return l.sendOne(b)
	}
	return l.sock.send(b, to)
}

// ask sends a HUGZ, of the given size at least. s.mu is held.
func (s *session) ask(l *link, to netip.AddrPort, size int, now int64) error {
	var challenge [8]byte
	crand.Read(challenge[:])
	if len(s.asked) == maxAsked {
		s.asked = append(s.asked[:0], s.asked[1:]...)
	}
	s.asked = append(s.asked, question{binary.BigEndian.Uint64(challenge[:]), to, size, now})
	body := challenge[:]
	if pad := size - nom.ExtendedSize - len(body); pad > 0 {
		body = append(body, make([]byte, pad)...)
	}
	return s.say(l, nom.HUGZ, s.next.Load(), body, to)
}

// inquire asks the peer, behind all that has been sent to it.
func (s *session) inquire(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		_ = s.ask(l, l.to(), 0, clock())
	}
}

// challenge asks a new address of the peer's whether the peer is there.
func (s *session) challenge(l *link, at netip.AddrPort, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.moved != 0 && time.Duration(now-s.moved) < challengeEvery {
		return
	}
	s.moved = now
	_ = s.ask(l, at, 0, now) // the peer's next datagram causes the next one
}

// answered takes a HUGZ-OK.
func (s *session) answered(l *link, body []byte, from netip.AddrPort, now int64) {
	if len(body) < 8 {
		l.dropped(vtx.DropMalformed, 1)
		return
	}
	challenge := binary.BigEndian.Uint64(body)
	s.mu.Lock()
	var q question
	for i := range s.asked {
		if s.asked[i].challenge == challenge {
			q = s.asked[i]
			s.asked = append(s.asked[:i], s.asked[i+1:]...)
			break
		}
	}
	if q.sent == 0 || q.to != from || s.ended {
		s.mu.Unlock()
		return
	}
	s.passed.Store(max(s.passed.Load(), q.sent))
	s.rtt.measured(time.Duration(now - q.sent))
	if q.size > 0 {
		s.search.found(s, q.size)
	}
	s.mu.Unlock()
	if from != l.to() {
		l.moveTo(from)
	}
}

// tick is called now and then.
func (s *session) tick(l *link, now int64) {
	s.mu.Lock()
	lost := s.window.expire(now - int64(lateAfter))
	s.puzzle.expire(now - int64(l.set.patience()))
	if f, counts := l.role.(*flow); counts {
		s.puzzle.keep(func(n uint32) bool { return f.missing(s, n) })
	}
	s.search.tick(s, l, now)
	s.mu.Unlock()
	l.dropped(vtx.DropLost, lost)
}

// begin is called for each datagram; the first one starts what waits for the peer.
func (s *session) begin(l *link) {
	if s.mute || s.begun.Load() || s.begun.Swap(true) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.search.start(s, l, clock())
	}
}

// goodbye tells the peer that the peering is over.
func (s *session) goodbye(l *link, reason []byte) {
	for range goodbyes {
		_ = s.say(l, nom.ROTFL, s.next.Load(), reason, l.to())
	}
}

// end is called when the link has ended.
func (s *session) end(l *link) {
	s.mu.Lock()
	s.ended = true
	s.search.alarm.stop()
	if s.up != nil {
		s.up.alarm.stop()
	}
	lost := s.window.expire(clock())
	s.puzzle.expire(clock())
	s.mu.Unlock()
	l.dropped(vtx.DropLost, lost)
}

// transmit sends one message, in parts if it has to be. The only error is that the socket is closed.
func (s *session) transmit(l *link, number uint32, resend bool, m []byte) error {
	h := nom.Header{Command: nom.NOM, Resend: resend, Extended: true, Token: s.theirs, Number: number}
	if s.fits(m) {
		buf := datagrams.Get().(*[maxDatagram]byte)
		b := append(nom.AppendHeader(buf[:0], h), m...)
		err := l.sendOne(b)
		datagrams.Put(buf)
		if !s.tooLong(l, len(b), err) {
			return s.lost(l, err, 1)
		}
	}
	h.Command = nom.PART
	first := 0
	if resend { // a buffer that is too small on the way keeps the beginning of each copy, and would never let the end through
		room := s.room()
		first = rand.N(1+(len(m)-1)/room) * room
	}
	if err := s.transmitParts(l, h, m, first, len(m)); err != nil || first == 0 {
		return err
	}
	return s.transmitParts(l, h, m, 0, first)
}

// remind sends the first part of a message again, which to whoever has it stands for all of it.
func (s *session) remind(l *link, number uint32, m []byte) {
	if s.fits(m) {
		_ = s.transmit(l, number, true, m)
		return
	}
	h := nom.Header{Command: nom.PART, Resend: true, Extended: true, Token: s.theirs, Number: number}
	_ = s.transmitParts(l, h, m, 0, min(s.room(), len(m)))
}

// fits says whether a message needs no more than one datagram.
func (s *session) fits(m []byte) bool { return nom.ExtendedSize+len(m) <= int(s.size.Load()) }

// room is how much of a message a PART takes.
func (s *session) room() int { return int(s.size.Load()) - nom.ExtendedSize - nom.PartHeadSize }

// datagrams lends memory for one.
var datagrams = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// transmitParts sends some of one message in parts.
func (s *session) transmitParts(l *link, h nom.Header, m []byte, from, to int) error {
	out := departurePool.Get().(*departures)
	defer departurePool.Put(out)
	for done := from; done < to; {
		room := s.room()
		out.n = 0
		for at := done; at < to && out.n < maxBatch; at += room {
			part := nom.Part{Offset: uint32(at), Total: uint32(len(m)), Bytes: m[at:min(at+room, to)]}
			out.add(nom.AppendPart(nom.AppendHeader(out.buffers[out.n][:0], h), part))
		}
		sent, failed, err := l.sendAll(out)
		if errors.Is(err, syscall.EMSGSIZE) && s.tooLong(l, len(out.datagrams[sent]), err) {
			err = nil
		} else if err != nil {
			return s.lost(l, err, 1)
		}
		if failed > 0 {
			return s.lost(l, errNetwork, 1)
		}
		done = min(done+sent*room, to)
	}
	return nil
}

var errNetwork = errors.New("the network refused it")

// lost counts n messages that an error has kept from being sent, and passes on only that the socket is closed.
func (s *session) lost(l *link, err error, n int) error {
	switch {
	case err == nil:
		return nil
	case l.Err() != nil:
		return l.Err()
	}
	l.dropped(vtx.DropNetwork, n)
	return nil
}
