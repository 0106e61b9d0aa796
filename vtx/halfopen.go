package vtx

import (
	"container/list"
	"context"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"github.com/libvtx/libvtx/internal/network"
)

// optHandshakes bounds the connections of a binding that are no peers yet.
const optHandshakes = "handshakes"

const (
	defaultHandshakes = 256
	mostHandshakes    = 65535
)

func checkHandshakes(v string) error {
	if n, err := strconv.Atoi(v); err != nil || n < 1 || n > mostHandshakes {
		return fmt.Errorf("how many handshakes may be under way: 1 to %d", mostHandshakes)
	}
	return nil
}

// halfOpen are the connections of a binding that have been accepted and are no peers yet: with the descriptors that they
// have, and all that a handshake costs, a stranger is to have no more of them than the binding allows, and his own are to
// go first. Its methods may be called from any goroutine.
type halfOpen struct {
	most int

	mu    sync.Mutex
	seats *list.List      // of *seat, by age
	from  map[string]*int // how many of them are of each address
	free  chan struct{}   // signalled when one has gone
}

// seat is one connection's place among them.
type seat struct {
	all     *halfOpen
	ctx     context.Context // ends when it loses the seat, with the reason as its cause
	lose    context.CancelCauseFunc
	address string
	alike   *int // those of its address, itself included
	spared  bool // the ZAP handler is asked about it, or has let it in
	greeted bool
	at      *list.Element // nil: it has gone
}

// seatKey is for the seat among the values of its context.
type seatKey struct{}

func newHalfOpen(o *Options) *halfOpen {
	most := defaultHandshakes
	if v, set := o.Named[optHandshakes]; set {
		most, _ = strconv.Atoi(v) // checked when it was set
	}
	return &halfOpen{most: most, seats: list.New(), from: make(map[string]*int), free: make(chan struct{}, 1)}
}

// enter gives a connection a seat. If there is none, the oldest connection of the address that has most loses its own;
// where that has to be spared the newcomer is turned away, and where all have become peers it waits. Errors: why it is
// turned away; ctx's, when that has ended.
func (h *halfOpen) enter(ctx context.Context, conn net.Conn) (*seat, error) {
	s := &seat{all: h, address: network.Of(host(underneath(conn)))}
	if h.takeFree(ctx, s) {
		return s, nil
	}
	runtime.Gosched() // whose peer has spoken may be a peer in a moment
	for {
		if ok, err := h.take(ctx, s); ok || err != nil {
			return s, err
		}
		select {
		case <-h.free:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// takeFree takes a seat that nobody has.
func (h *halfOpen) takeFree(ctx context.Context, s *seat) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seats.Len() >= h.most {
		return false
	}
	h.sit(ctx, s)
	return true
}

// take takes a seat, if need be somebody else's. false: all are peers by now, and one of them will leave. Errors: why the
// newcomer is turned away.
func (h *halfOpen) take(ctx context.Context, s *seat) (ok bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seats.Len() >= h.most {
		victim, most := h.victim(s.address)
		switch {
		case victim != nil:
			victim.lose(crowded(h.most, victim.address, most))
			h.remove(victim)
		case most > 0:
			return false, crowded(h.most, s.address, most)
		default:
			return false, nil
		}
	}
	h.sit(ctx, s)
	return true, nil
}

// sit is for where there is a seat. The lock is held.
func (h *halfOpen) sit(ctx context.Context, s *seat) {
	s.ctx, s.lose = context.WithCancelCause(context.WithValue(ctx, seatKey{}, s))
	s.at = h.seats.PushBack(s)
	if h.from[s.address] == nil {
		h.from[s.address] = new(int)
	}
	s.alike = h.from[s.address]
	*s.alike++
}

// victim is who goes for a connection of an address: the oldest of the address that has most. most is how many that are; 0:
// all have become peers. The lock is held.
//
// Those about whom the ZAP handler is asked, or whom it has let in, are spared where the newcomer is one of many itself: else those who come back
// together to a handler that takes its time would push each other out, as they are about to be let in, and the handler
// would be busy for ever with questions about those who have gone.
func (h *halfOpen) victim(address string) (v *seat, most int) {
	for e := h.seats.Front(); e != nil; e = e.Next() {
		if s := e.Value.(*seat); !s.greeted {
			most = max(most, *s.alike)
		}
	}
	oneOfMany := h.from[address] != nil && *h.from[address]+1 >= most || most == 1
	for e := h.seats.Front(); e != nil; e = e.Next() {
		s := e.Value.(*seat)
		if !s.greeted && *s.alike == most && !(oneOfMany && s.spared) {
			return s, most
		}
	}
	return nil, most
}

// remove takes a seat away. The lock is held.
func (h *halfOpen) remove(s *seat) {
	h.seats.Remove(s.at)
	s.at = nil
	if *s.alike--; *s.alike == 0 {
		delete(h.from, s.address)
	}
	select {
	case h.free <- struct{}{}:
	default:
	}
}

// crowded is why a handshake ends whose seat another connection gets.
func crowded(most int, address string, alike int) error {
	if address == "" {
		address = "the same place"
	}
	return &HandshakeError{
		Kind: EventHandshakeFailed, Value: uint32(syscall.ECONNABORTED),
		Reason: fmt.Sprintf("the handshake has to make room: %d are under way, as many as %s allows, and %d of them from %s",
			most, optHandshakes, alike, address),
	}
}

// spare has the connection whose seat ctx is of spared from now on, or no longer: see victim.
func spare(ctx context.Context, spared bool) {
	s, ok := ctx.Value(seatKey{}).(*seat)
	if !ok { // a connection of our own
		return
	}
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.spared = spared
}

// keep makes the seat of a connection that has become a peer its own until it leaves. false: another one has it.
func (s *seat) keep() bool {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.greeted = true
	return s.at != nil
}

// leave gives the seat up.
func (s *seat) leave() {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	if s.at != nil {
		s.all.remove(s)
	}
	s.lose(nil)
}
