package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/internal/printable"
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
	peer     netip.AddrPort        // what the peer is called: where it was at the beginning
	route    atomic.Pointer[route] // where it is now
	listener *listener             // nil on a dialled link
	role     role
	ext      *session // nil with a plain peer
	backlog  backlog

	heard   atomic.Int64 // clock of the last datagram from the peer
	spoke   atomic.Int64 // clock of the last one to it
	greeted atomic.Int64 // clock of its last OHAI; listening links only
	begun   atomic.Bool  // a message has crossed, either way
	asked   int64        // clock of the last HUGZ; belongs to pulse
	pace    stopwatch    // of pulse; dialled links only

	done chan struct{}

	mu       sync.Mutex
	greeting []byte // body of the answer to the peer's OHAI; listening links of extended peers only
	sink     vtx.Sink
	err      error
	beat     *time.Timer // measures silence; dialled links only
}

// route is where datagrams go.
type route struct {
	to   netip.AddrPort
	addr net.Addr // to again, in the form that a batch needs
	ways [][]byte // control messages for the interfaces to send on, each in turn; nil: the system chooses
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

// newRole is the role of a socket type, with a plain peer or an extended one. Requesters, whose role outlives a link, make their own.
func newRole(t vtx.SocketType, s *session) role {
	switch {
	case s == nil:
	case s.peerType() == vtx.Req:
		return &responder{router: t == vtx.Router, peer: peerRequests}
	case t == vtx.Sub || t == vtx.XSub:
		s.up = &uplink{}
		return &flow{}
	case t == vtx.Pub || t == vtx.XPub:
		s.down = &downlink{}
		return &flow{}
	default:
		return &flow{}
	}
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

// advanced is, in tests, how far the clock has been put forward.
var advanced atomic.Int64

// clock is monotonic time in nanoseconds.
func clock() int64 { return int64(time.Since(epoch)) + advanced.Load() }

func newLink(cfg *vtx.Config, set *settings, sock *socket, peer netip.AddrPort, r role, s *session) *link {
	l := &link{cfg: cfg, set: set, sock: sock, peer: peer, role: r, ext: s, done: make(chan struct{})}
	l.setRoute(peer)
	if s != nil {
		s.size.Store(int32(leastSize(peer.Addr())))
	}
	now := clock()
	l.heard.Store(now)
	l.greeted.Store(now)
	l.spoke.Store(now)
	return l
}

// to is where the peer's datagrams go.
func (l *link) to() netip.AddrPort { return l.route.Load().to }

// moveTo sends everything to a new address of the peer's, which has been confirmed.
func (l *link) moveTo(to netip.AddrPort) {
	if l.listener != nil {
		l.listener.move(l, to)
	} else {
		l.setRoute(to)
	}
}

func (l *link) setRoute(to netip.AddrPort) {
	l.route.Store(&route{to: to, addr: net.UDPAddrFromAddrPort(to)})
}

// Peer gives the peer's address, and of an extended peer what it said of itself.
func (l *link) Peer() vtx.Peer {
	p := vtx.Peer{Address: l.peer.String(), Type: vtx.TypeUnknown, Unfiltered: true}
	if l.ext != nil {
		p.Type, p.RoutingID, p.Unfiltered = l.ext.peerType(), l.ext.hello.RoutingID, !l.ext.subscribes()
	}
	return p
}

// Start opens the link, and tells an extended client so. A plain one has been answered long before.
func (l *link) Start(sink vtx.Sink) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.heard.Store(clock())
	l.sink = sink
	if s, ok := sink.(vtx.RoomySink); ok {
		s.Room(func() {
			if why := l.backlog.room(sink); why != nil {
				l.end(why)
			}
		})
	}
	dialled := l.listener == nil
	if dialled {
		l.pace.last = clock()
		l.beat = time.AfterFunc(l.set.tick(), l.tick)
	}
	l.mu.Unlock()
	if why := l.backlog.start(sink); why != nil {
		l.end(why)
		return
	}
	if dialled {
		if err := l.sock.watch(l.ready); err != nil {
			l.end(err)
			return
		}
	}
	l.welcome()
	if dialled && l.ext != nil {
		l.ext.begin(l)
	}
	l.role.start(l)
}

// welcome answers an extended peer's OHAI.
func (l *link) welcome() {
	if l.greeting != nil {
		_ = l.sendOne(append(nom.AppendHeader(nil, nom.Header{Command: nom.OHAIOK}), l.greeting...)) // if it is lost the peer asks again
	}
}

// sendOne sends the peer one datagram, on every interface where there are several.
func (l *link) sendOne(b []byte) error {
	r := l.route.Load()
	if r.ways == nil {
		l.spoke.Store(clock())
		return l.sock.send(b, r.to)
	}
	out := departurePool.Get().(*departures)
	defer departurePool.Put(out)
	out.n = 0
	out.add(b)
	_, failed, err := l.sendAll(out)
	if err == nil && failed > 0 {
		return errNetwork
	}
	return err
}

// sendAll is socket.sendAll to the peer.
func (l *link) sendAll(out *departures) (sent, failed int, err error) {
	l.spoke.Store(clock())
	return l.sock.sendAll(out, l.route.Load())
}

// Send puts messages on their way. A peer that has gone, and of which something waits to be delivered, gets none; what hears only
// has none to lose.
func (l *link) Send(b *vtx.Batch) error {
	if why := l.backlog.over(); why != nil {
		switch l.cfg.Type {
		case vtx.Sub, vtx.XSub, vtx.Pull:
		default:
			return why
		}
	}
	return l.role.send(l, b)
}

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

// Close ends the link. A listening end tells its peer, and any end an extended one. To a plain peer a dialling end says
// nothing, because plain NOM-1 has no goodbye and what an original server would make of one is not known.
func (l *link) Close(reason error) {
	why := errClosed
	if reason != nil {
		why = reason
	}
	if (l.listener != nil || l.ext != nil) && l.live() {
		l.farewell(reason)
	}
	l.end(why)
	l.role.end(l)
}

// welcomed says that the link goes on and its peer knows of it: a plain one does before it is started.
func (l *link) welcomed() bool { return l.open() != nil || l.ext == nil && l.live() }

func (l *link) live() bool { return l.Err() == nil }

// farewell tells the peer that the peering is refused or over.
func (l *link) farewell(reason error) {
	text := "closed"
	if reason != nil {
		text = reason.Error()
	}
	if l.ext != nil && l.ext.deaf {
		return
	}
	if l.ext != nil && (l.listener == nil || l.open() != nil) {
		l.ext.goodbye(l, laconic(text))
		return
	}
	b := append(nom.AppendHeader(nil, nom.Header{Command: nom.ROTFL}), laconic(text)...)
	if l.ext != nil {
		b = nom.AppendHello(append(b, 0), &nom.Hello{Kind: nom.Refusal, Echo: l.ext.theirs, Type: byte(l.cfg.Type)})
	}
	_ = l.sendOne(b)
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
	if l.ext != nil {
		l.ext.end(l)
	}
	l.dropped(vtx.DropFull, l.backlog.drop())
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
	l.arrive(l.sock.receive(r.arrivals), &r.in)
	readers.Put(r)
}

// arrive handles what came to a dialled link's socket. Only the peer that answered first counts: a plain one is known by
// its address, an extended one by our token.
func (l *link) arrive(got []datagram, in *inbox) {
	now := clock()
	for _, d := range got {
		h, body, err := nom.ParseHeader(d.data)
		switch {
		case l.ext != nil:
			if !l.arriveExtended(h, body, err, d, in, now) {
				return
			}
		case d.from != l.peer:
			if err == nil && h.Command == nom.NOM {
				l.dropped(vtx.DropStray, 1)
			}
		case err != nil:
			l.dropped(vtx.DropMalformed, 1)
		default:
			l.heard.Store(now)
			if h.Command == nom.ROTFL {
				l.over(body, in)
				return
			}
			l.handle(h, body, in)
		}
	}
	in.flush(l)
}

// over ends the link for the peer's reason.
func (l *link) over(reason []byte, in *inbox) {
	in.flush(l)
	l.endAfter(fmt.Errorf("peer %s ended the peering: %s", l.peer, quoteReason(reason)))
}

// endAfter ends the link when what came before has been delivered. Until then the peer is not asked anything any more.
func (l *link) endAfter(why error) {
	if l.backlog.endAfter(why) {
		l.end(why)
	} else if l.ext != nil {
		l.ext.end(l)
	}
}

// outOfMemory ends the link of a peer that sent more than there is memory for.
func (l *link) outOfMemory(err error) {
	l.end(fmt.Errorf("peer %s sent more than there is memory for: %w", l.peer, err))
}

// arriveExtended handles one datagram of arrive, and says whether the link goes on.
func (l *link) arriveExtended(h nom.Header, body []byte, err error, d datagram, in *inbox, now int64) bool {
	s := l.ext
	switch {
	case s.mute: // its token protects nothing: the whole group hears it
		l.dropped(vtx.DropStray, 1)
	case err != nil:
		l.dropped(vtx.DropMalformed, 1)
	case h.Extended && h.Token == s.ours && h.Command != nom.GONE:
		s.receive(l, h, body, d, in, now)
	case h.Extended && h.Token == s.theirs && h.Command == nom.GONE:
		in.flush(l)
		l.endAfter(errGone)
	case h.Extended && h.Command != nom.GONE:
		l.dropped(vtx.DropStray, 1)
		l.sock.disown(h.Token, d.from, now)
	case h.Command == nom.NOM:
		l.dropped(vtx.DropStray, 1)
	}
	return l.live()
}

var errGone = errors.New("the peer does not know the peering any more: it was started again")

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
	_ = l.sendOne(nom.AppendHeader(b[:0], nom.Header{Command: c})) // repeated while there is silence
}

// dropped counts messages that will not be delivered.
func (l *link) dropped(why vtx.DropReason, n int) {
	if n > 0 {
		l.cfg.Report.Drop(why, n)
	}
}

// tooBig refuses a message that does not fit NOM-1's datagram.
func (l *link) tooBig(size int) {
	l.refuse("a message needs a datagram of %d bytes, NOM-1 allows %d", int64(size), nom.MaxDatagram)
}

// refuse tells why a message is not sent, with its size and the limit.
func (l *link) refuse(why string, size, limit int64) {
	l.dropped(vtx.DropTooBig, 1)
	l.cfg.Report.Event(vtx.Event{
		Kind:     vtx.EventRefused,
		Value:    uint32(syscall.EMSGSIZE),
		Endpoint: l.cfg.Endpoint.Scheme + "://" + l.peer.String(),
		Reason:   fmt.Sprintf(why, size, limit),
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

// quoteReason shows a peer's reason.
func quoteReason(b []byte) string {
	if len(b) == 0 {
		return "no reason given"
	}
	return printable.Quote(string(b))
}
