package udp

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// Plain NOM-1 has no cookies: an OHAI is answered before it is known whether its sender is where it says. All that a forger
// gets for one datagram is a place among the half-open peers, which cost no pipe, and no more than three times its bytes for
// the address that it forged: NOM.md, section 1.

// The bounds of what plain peers, who may be nobody, take of one listener.
const (
	maxHalfOpen = 64
	leastChance = 10 * time.Millisecond // which a half-open peer has to answer in before another can have its place

	maxTold  = 1024
	toldFor  = 3 * defaultTimeout // longer than an original waits for a word from its peer
	toldLook = time.Second        // between two looks for what can be forgotten
)

// halfOpen is a plain peer that has called and been answered, and has not answered itself.
type halfOpen struct {
	at          netip.AddrPort
	called      int64 // clock of its last OHAI
	heard, sent int   // bytes
}

// lobby holds the half-open peers, the one that has not called for longest first. The listener's mutex guards it.
type lobby struct{ peers []halfOpen }

func (y *lobby) find(at netip.AddrPort) int {
	return slices.IndexFunc(y.peers, func(p halfOpen) bool { return p.at == at })
}

func (y *lobby) remove(at netip.AddrPort) {
	if i := y.find(at); i >= 0 {
		y.peers = slices.Delete(y.peers, i, i+1)
	}
}

// call notes an OHAI of so many bytes, and says whether it is to be answered: by as many, and a HUGZ. most bounds the peers.
func (y *lobby) call(at netip.AddrPort, size, most int, now int64) bool {
	p := halfOpen{at: at}
	switch i := y.find(at); {
	case i >= 0:
		p = y.peers[i]
		y.peers = slices.Delete(y.peers, i, i+1)
	case len(y.peers) < min(most, maxHalfOpen):
	case len(y.peers) == 0 || time.Duration(now-y.peers[0].called) < leastChance:
		return false // it calls again; one that has been answered does not, and would miss its place until its peering times out
	default:
		y.peers = slices.Delete(y.peers, 0, 1)
	}
	p.called, p.heard, p.sent = now, p.heard+size, p.sent+size+nom.HeaderSize
	y.peers = append(y.peers, p)
	return true
}

// tick forgets who has not answered, and gives those who are to be asked again, since a HUGZ or its answer may have been lost.
func (y *lobby) tick(now int64, patience time.Duration) (ask []netip.AddrPort) {
	y.peers = slices.DeleteFunc(y.peers, func(p halfOpen) bool { return time.Duration(now-p.called) >= patience })
	for i := range y.peers {
		if p := &y.peers[i]; p.sent+nom.HeaderSize <= 3*p.heard {
			p.sent += nom.HeaderSize
			ask = append(ask, p.at)
		}
	}
	return ask
}

// greet takes a plain OHAI from an address that has the link l, or none.
func (ln *listener) greet(l *link, from netip.AddrPort, ohai []byte, in *inbox, now int64) *link {
	if l != nil && (l.backlog.over() != nil || l.begun.Load() && time.Duration(now-l.greeted.Load()) > restartAfter) {
		in.flush(l)
		l.end(errAnew(from))
		l = nil
	}
	answer := append(nom.AppendHeader(nil, nom.Header{Command: nom.OHAIOK}), ohai[nom.HeaderSize:]...)
	if l != nil {
		l.greeted.Store(now)
		_ = l.sendOne(answer) // the one before was lost
		return l
	}
	ln.mu.Lock()
	room := !ln.closed && len(ln.waiting) < cap(ln.waiting) && ln.lobby.call(from, len(ohai), ln.set.plainPeers-ln.plain, now)
	if room {
		ln.told.forget(from)
	}
	ln.mu.Unlock()
	if !room {
		ln.dropped(vtx.DropStray, 1)
		return nil
	}
	_ = ln.sock.send(answer, from)
	ln.say(nom.HUGZ, from)
	return nil
}

// hearPlain takes a plain datagram other than an OHAI from an address that has no link, and returns the one that it has now.
func (ln *listener) hearPlain(h nom.Header, from netip.AddrPort, now int64) *link {
	switch h.Command {
	case nom.NOM, nom.HUGZ, nom.HUGZOK:
	default:
		return nil
	}
	ln.mu.Lock()
	known := ln.lobby.find(from) >= 0
	ln.mu.Unlock()
	if known { // it answers
		if l := ln.admit(from, nil, nil); l != nil {
			return l
		}
	}
	if h.Command == nom.NOM {
		ln.dropped(vtx.DropStray, 1)
	}
	if !known && h.Command != nom.HUGZOK {
		ln.disown(from, now)
	}
	return nil
}

// disown tells an address that it has no peering here, so that a plain client of ours, whose server was started again, looks
// for it at once. It is told once: to an original any datagram is a sign that its peering lives.
func (ln *listener) disown(from netip.AddrPort, now int64) {
	ln.mu.Lock()
	first := ln.told.note(from, now)
	ln.mu.Unlock()
	if first {
		ln.say(nom.ROTFL, from)
	}
}

// say sends a plain datagram that is nothing but a command.
func (ln *listener) say(c nom.Command, to netip.AddrPort) {
	var b [nom.HeaderSize]byte
	_ = ln.sock.send(nom.AppendHeader(b[:0], nom.Header{Command: c}), to)
}

// told remembers the addresses that have been told that they have no peering. The listener's mutex guards it.
type told struct {
	when   map[netip.AddrPort]int64 // clock
	looked int64
}

// note says whether an address may be told. Where there are too many, nobody else is: who is a peer of ours finds out by itself.
func (d *told) note(at netip.AddrPort, now int64) bool {
	if when, known := d.when[at]; known && time.Duration(now-when) < toldFor {
		return false
	}
	if len(d.when) >= maxTold && time.Duration(now-d.looked) >= toldLook {
		d.looked = now
		maps.DeleteFunc(d.when, func(_ netip.AddrPort, when int64) bool { return time.Duration(now-when) >= toldFor })
	}
	if _, known := d.when[at]; !known && len(d.when) >= maxTold {
		return false
	}
	if d.when == nil {
		d.when = make(map[netip.AddrPort]int64)
	}
	d.when[at] = now
	return true
}

func (d *told) forget(at netip.AddrPort) { delete(d.when, at) }
