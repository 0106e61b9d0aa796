package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// link is one peering. A dialled link owns its socket; a listening one borrows the listener's, which calls it with what came from its peer.
//
// Closing: end makes it over, once, whoever calls: the peer's ROTFL, silence, or Close. No lock is
// held while the sink is called.
type link struct {
	cfg      *vtx.Config
	set      *settings
	sock     *socket
	peer     netip.AddrPort
	addr     net.Addr  // peer again, in the form that a batch needs
	listener *listener // nil on a dialled link
	role     role

	heard   atomic.Int64 // clock of the last datagram from the peer
	greeted atomic.Int64 // clock of its last OHAI; listening links only
	begun   atomic.Bool  // a message has crossed, either way
	asked   int64        // clock of the last HUGZ; belongs to pulse

	done chan struct{}

	mu       sync.Mutex
	greeting []byte // body of the OHAI that Start answers; listening links only
	sink     vtx.Sink
	err      error
	beat     *time.Timer // measures silence; dialled links only
}

// role is what a pattern makes of messages: their numbers, their envelopes, their repetition.
type role interface {
	// start is called once the peering exists.
	start(l *link)
	// send is the link's Send.
	send(l *link, b *vtx.Batch) error
	// receive takes a NOM from the peer and leaves what is to be delivered in in.
	receive(l *link, h nom.Header, body []byte, in *inbox)
	// end is called when the link is closed.
	end(l *link)
}

// stateless spares the roles that keep nothing between links their start and end.
type stateless struct{}

func (stateless) start(*link) {}
func (stateless) end(*link)   {}

// newRole is the role of a socket type. Requesters, whose role outlives a link, make their own.
func newRole(t vtx.SocketType) role {
	switch t {
	case vtx.Rep, vtx.Router:
		return &responder{router: t == vtx.Router}
	case vtx.Pub, vtx.XPub, vtx.Push:
		return &talker{counts: true}
	case vtx.Sub, vtx.XSub, vtx.Pull:
		return &hearer{}
	}
	return &talker{}
}

var epoch = time.Now()

// clock is monotonic time in nanoseconds.
func clock() int64 { return int64(time.Since(epoch)) }

func newLink(cfg *vtx.Config, set *settings, sock *socket, peer netip.AddrPort, r role) *link {
	l := &link{cfg: cfg, set: set, sock: sock, peer: peer, role: r, done: make(chan struct{})}
	l.addr = net.UDPAddrFromAddrPort(peer)
	now := clock()
	l.heard.Store(now)
	l.greeted.Store(now)
	return l
}

// Peer gives the peer's address; plain NOM-1 says no more.
func (l *link) Peer() vtx.Peer {
	return vtx.Peer{Address: l.peer.String(), Type: vtx.TypeUnknown}
}

// Start opens the link, and on the listening side tells the peer so.
func (l *link) Start(sink vtx.Sink) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.heard.Store(clock())
	l.sink = sink
	dialled := l.listener == nil
	if dialled {
		l.beat = time.AfterFunc(l.set.tick(), l.tick)
	}
	l.mu.Unlock()
	if dialled {
		if err := l.sock.watch(l.ready); err != nil {
			l.end(err)
			return
		}
	}
	l.welcome()
	l.role.start(l)
}

// welcome answers the peer's OHAI.
func (l *link) welcome() {
	if l.listener == nil {
		return
	}
	l.mu.Lock()
	answer := append(nom.AppendHeader(nil, nom.Header{Command: nom.OHAIOK}), l.greeting...)
	l.mu.Unlock()
	_ = l.sock.send(answer, l.peer) // if it is lost the peer asks again
}

// greet keeps the body of an OHAI to be answered.
func (l *link) greet(body []byte) {
	l.mu.Lock()
	l.greeting = append(l.greeting[:0], body...)
	l.mu.Unlock()
}

// Send puts messages on their way.
func (l *link) Send(b *vtx.Batch) error { return l.role.send(l, b) }

// Done is closed when the link has ended.
func (l *link) Done() <-chan struct{} { return l.done }

// Err says why the link has ended.
func (l *link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// open gives the sink while the link is started and has not ended.
func (l *link) open() vtx.Sink {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil
	}
	return l.sink
}

var errClosed = errors.New("closed by this end")

// Close ends the link. A listening end tells its peer. A dialling end says nothing, because plain
// NOM-1 has no goodbye and what an original server would make of one is not known.
func (l *link) Close(reason error) {
	why := errClosed
	if reason != nil {
		why = reason
	}
	if l.listener != nil && l.live() {
		l.farewell(reason)
	}
	l.end(why)
	l.role.end(l)
}

func (l *link) live() bool { return l.Err() == nil }

// farewell tells the peer that the peering is refused or over.
func (l *link) farewell(reason error) {
	text := "closed"
	if reason != nil {
		text = reason.Error()
	}
	_ = l.sock.send(append(nom.AppendHeader(nil, nom.Header{Command: nom.ROTFL}), laconic(text)...), l.peer)
}

// end makes the link over.
func (l *link) end(why error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = why
	if l.beat != nil {
		l.beat.Stop()
	}
	l.mu.Unlock()
	if l.listener != nil {
		l.listener.forget(l)
	} else {
		l.sock.close()
	}
	close(l.done)
}

// ready is called when a dialled link's socket has something to receive.
func (l *link) ready() {
	readers := &batchReaders
	if _, lockStep := l.role.(*requester); lockStep { // one reply is all that can be expected
		readers = &singleReaders
	}
	r := readers.Get().(*reader)
	got, broken := l.sock.receive(r.arrivals)
	l.dropped(vtx.DropTooBig, broken)
	l.arrive(got, &r.in)
	readers.Put(r)
}

// arrive handles what came to a dialled link's socket. Only the peer that answered first counts.
func (l *link) arrive(got []datagram, in *inbox) {
	now := clock()
	for _, d := range got {
		h, body, err := nom.ParseHeader(d.data)
		switch {
		case d.from != l.peer:
			if err == nil && h.Command == nom.NOM {
				l.dropped(vtx.DropStray, 1)
			}
		case err != nil:
			l.dropped(vtx.DropMalformed, 1)
		default:
			l.heard.Store(now)
			if h.Command == nom.ROTFL {
				in.flush(l)
				l.end(fmt.Errorf("peer %s ended the peering: %s", l.peer, quoteReason(body)))
				return
			}
			l.handle(h, body, in)
		}
	}
	in.flush(l)
}

// handle takes a datagram that a started peering's peer sent, other than what concerns the
// handshake.
func (l *link) handle(h nom.Header, body []byte, in *inbox) {
	switch h.Command {
	case nom.HUGZ:
		l.control(nom.HUGZOK)
	case nom.NOM:
		l.begun.Store(true)
		l.role.receive(l, h, body, in)
	}
}

func (l *link) control(c nom.Command) {
	var b [nom.HeaderSize]byte
	_ = l.sock.send(nom.AppendHeader(b[:0], nom.Header{Command: c}), l.peer) // repeated while there is silence
}

// tick measures a dialled link's silence.
func (l *link) tick() {
	l.pulse(clock())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.beat.Reset(l.set.tick())
	}
}

// pulse asks a silent peer whether it lives, and ends the link if it has been silent for too
// long. Questions are repeated faster than the first one came, since one may be lost.
func (l *link) pulse(now int64) {
	heard := l.heard.Load()
	silence := time.Duration(now - heard)
	answered := l.asked <= heard
	switch {
	case silence >= l.set.timeout:
		l.end(fmt.Errorf("peer %s was silent for %v", l.peer, l.set.timeout))
	case silence >= l.set.hugz && (answered || time.Duration(now-l.asked) >= max(l.set.hugz/4, l.set.timeout/16)):
		l.asked = now
		l.control(nom.HUGZ)
	}
}

// dropped counts messages that will not be delivered.
func (l *link) dropped(why vtx.DropReason, n int) {
	if n > 0 {
		l.cfg.Report.Drop(why, n)
	}
}

// tooBig refuses a message that does not fit NOM-1's datagram.
func (l *link) tooBig(size int) {
	l.dropped(vtx.DropTooBig, 1)
	l.cfg.Report.Event(vtx.Event{
		Kind:     vtx.EventRefused,
		Value:    uint32(syscall.EMSGSIZE),
		Endpoint: l.cfg.Endpoint.Scheme + "://" + l.peer.String(),
		Reason:   fmt.Sprintf("a message needs a datagram of %d bytes, NOM-1 allows %d", size, nom.MaxDatagram),
	})
}

// maxReason bounds the reason sent with a ROTFL, which may answer a datagram that is hardly smaller.
const maxReason = 60

// laconic makes a reason short and printable.
func laconic(s string) []byte {
	b := []byte(s[:min(len(s), maxReason)])
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return b
}

// quoteReason shows a peer's reason: printable, and not endlessly long.
func quoteReason(b []byte) string {
	if len(b) == 0 {
		return "no reason given"
	}
	return strconv.QuoteToASCII(string(b[:min(len(b), 100)]))
}
