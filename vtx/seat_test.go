package vtx

import (
	"context"
	"errors"
	"net"
	"testing"
)

// addressed is a connection of which only the other end's address matters.
type addressed struct {
	net.Conn
	address string
}

func (c addressed) RemoteAddr() net.Addr { return &net.UnixAddr{Name: c.address} }

func sitDown(t *testing.T, h *halfOpen, address string) *seat {
	t.Helper()
	s, err := h.enter(t.Context(), addressed{address: address})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func lost(s *seat) bool {
	var h *HandshakeError
	return errors.As(context.Cause(s.ctx), &h)
}

// An address of IPv6 counts with all of its /64, and what is underneath TLS and SASL is looked at.
func TestSeatsByNetwork(t *testing.T) {
	h := newHalfOpen(&Options{Named: map[string]string{optHandshakes: "3"}})
	other := sitDown(t, h, "192.0.2.1:1")
	first := sitDown(t, h, "[2001:db8::1]:1")
	second := sitDown(t, h, "[2001:db8::2]:1")
	s, _ := h.enter(t.Context(), &LoginConn{Conn: &SecureConn{Conn: addressed{address: "[2001:db8::3]:1"}}})
	if lost(other) || !lost(first) || lost(second) || lost(s) {
		t.Error("another has gone than the oldest of the /64")
	}
	if s.address != "2001:db8::/64" {
		t.Errorf("the address is %s", s.address)
	}
	for _, s := range []*seat{other, first, second, s, s} {
		s.leave()
	}
	if h.seats.Len() != 0 || len(h.from) != 0 {
		t.Errorf("%d seats and %d addresses are left", h.seats.Len(), len(h.from))
	}
}

// A transport without addresses counts as one.
func TestSeatsWithoutAddresses(t *testing.T) {
	h := newHalfOpen(&Options{Named: map[string]string{optHandshakes: "2"}})
	other := sitDown(t, h, "192.0.2.1:1")
	first := sitDown(t, h, "/run/socket")
	second := sitDown(t, h, "/run/socket")
	if lost(first) || !lost(other) {
		t.Fatal("all had one: the oldest of all should have gone")
	}
	if third := sitDown(t, h, "@abstract"); !lost(first) || lost(second) || lost(third) {
		t.Error("another has gone than the oldest")
	}
}

// Who has become a peer keeps his seat until he is handed over; a newcomer waits for that.
func TestPeersKeepTheirSeats(t *testing.T) {
	h := newHalfOpen(&Options{Named: map[string]string{optHandshakes: "1"}})
	peer := sitDown(t, h, "192.0.2.1:1")
	if !peer.keep() {
		t.Fatal("the seat is not kept")
	}
	if ok, err := h.take(t.Context(), &seat{all: h, address: "192.0.2.2"}); ok || err != nil || lost(peer) {
		t.Error("a peer has lost its seat")
	}
	came := make(chan *seat)
	go func() { came <- sitDown(t, h, "192.0.2.2:1") }()
	peer.leave()
	next := <-came
	sitDown(t, h, "192.0.2.2:2")
	if next.keep() {
		t.Error("who has lost his seat is a peer")
	}
	full := sitDown(t, h, "192.0.2.2:3")
	full.keep()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.enter(over, addressed{address: "192.0.2.2:4"}); err == nil {
		t.Error("a seat where everything is over")
	}
}

// While the ZAP handler is asked about some, those who come together with them are turned away; anybody else is not.
func TestAskedAreSpared(t *testing.T) {
	h := newHalfOpen(&Options{Named: map[string]string{optHandshakes: "3"}})
	first, second := sitDown(t, h, "192.0.2.1:1"), sitDown(t, h, "192.0.2.1:2")
	spare(first.ctx, true)
	third := sitDown(t, h, "192.0.2.1:3")
	fourth := sitDown(t, h, "192.0.2.1:4")
	if lost(first) || !lost(second) || lost(third) {
		t.Error("another has gone than the oldest about whom nobody is asked")
	}
	spare(third.ctx, true)
	spare(fourth.ctx, true)
	var told *HandshakeError
	if _, err := h.enter(t.Context(), addressed{address: "192.0.2.1:5"}); !errors.As(err, &told) {
		t.Errorf("the newcomer is told %v", err)
	}
	if sitDown(t, h, "192.0.2.2:1"); !lost(first) {
		t.Error("another address is turned away")
	}
	spare(third.ctx, false)
	if sitDown(t, h, "192.0.2.1:6"); !lost(third) || lost(fourth) {
		t.Error("who has been refused is spared")
	}
}
