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
	"time"

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
	alike   *int      // those of its address, itself included
	asked   time.Time // since when the ZAP handler is asked about it; zero: it is not
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

// sparing is how long a handshake that waits for the ZAP handler keeps its seat while others come of which it is one of
// many: else those who come back together to a handler that takes its time would push each other out, one as it is about
// to be let in, and nobody would get in.
const sparing = 2 * time.Second

// enter gives a connection a seat. If there is none, the oldest connection of the address that has most loses its own. It
// waits where that has to be spared, or has become a peer. nil: ctx has ended.
func (h *halfOpen) enter(ctx context.Context, conn net.Conn) *seat {
	s := &seat{all: h, address: network.Of(host(underneath(conn)))}
	if h.takeFree(ctx, s) {
		return s
	}
	runtime.Gosched() // whose peer has spoken may be a peer in a moment
	for {
		ok, later := h.take(ctx, s)
		if ok {
			return s
		}
		wait := time.NewTimer(later)
		select {
		case <-h.free:
		case <-wait.C:
		case <-ctx.Done():
			return nil
		}
		wait.Stop()
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

// take takes a seat, if need be somebody else's. If that cannot be: later is when to try again, unless one gets free.
func (h *halfOpen) take(ctx context.Context, s *seat) (ok bool, later time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seats.Len() >= h.most {
		victim, later := h.victim(s.address)
		if victim == nil {
			return false, later
		}
		victim.lose(crowded(h.most, victim.address, *victim.alike))
		h.remove(victim)
	}
	h.sit(ctx, s)
	return true, 0
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

// victim is who goes for a connection of an address; nil: nobody can, and later is when that may be otherwise. The lock is
// held.
func (h *halfOpen) victim(address string) (v *seat, later time.Duration) {
	most := 0
	for e := h.seats.Front(); e != nil; e = e.Next() {
		if s := e.Value.(*seat); !s.greeted {
			most = max(most, *s.alike)
		}
	}
	oneOfMany := h.from[address] != nil && *h.from[address]+1 >= most || most == 1
	later = sparing
	for e := h.seats.Front(); e != nil; e = e.Next() {
		s := e.Value.(*seat)
		if s.greeted || *s.alike < most {
			continue
		}
		spared := time.Duration(0)
		if oneOfMany && !s.asked.IsZero() {
			spared = sparing - time.Since(s.asked)
		}
		if spared <= 0 {
			return s, 0
		}
		later = min(later, spared)
	}
	return nil, later
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

// asking notes that the ZAP handler is asked about the connection whose seat ctx is of, until answered is called.
func asking(ctx context.Context) (answered func()) {
	s, ok := ctx.Value(seatKey{}).(*seat)
	if !ok { // a connection of our own
		return func() {}
	}
	note := func(t time.Time) {
		s.all.mu.Lock()
		defer s.all.mu.Unlock()
		s.asked = t
	}
	note(time.Now())
	return func() { note(time.Time{}) }
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
