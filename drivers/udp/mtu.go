package udp

import (
	"errors"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What IP and UDP put in front of a datagram, and the MTUs that every path has, in bytes.
const (
	headers4, headers6 = 20 + 8, 40 + 8
	least4, least6     = 576, 1280
	largestMTU         = 9000
)

// maxDatagram is the largest extended datagram that we send.
const maxDatagram = largestMTU - headers4

// usualMTUs are tried in turn where the kernel's is not the path's.
var usualMTUs = []int{largestMTU, 4352, 1500, 1492, 1400, 1280, 1006}

// The pace of the search.
const (
	probeTries   = 4
	leastProbing = 50 * time.Millisecond
	searchEvery  = 6 // timeouts
)

// sizeFor is the payload that an MTU leaves.
func sizeFor(mtu int, to netip.Addr) int {
	if to.Unmap().Is4() {
		return mtu - headers4
	}
	return mtu - headers6
}

// leastSize is the payload that fits every path.
func leastSize(to netip.Addr) int {
	if to.Unmap().Is4() {
		return sizeFor(least4, to)
	}
	return sizeFor(least6, to)
}

// search finds out how large datagrams may be: NOM.md, section 6. The session's mutex guards it.
type search struct {
	sizes []int // still to be tried, the largest first
	tries int   // of the first of them
	last  int64 // clock of the last start
	alarm alarm
}

// start begins anew.
func (r *search) start(s *session, l *link, now int64) {
	r.last, r.tries = now, 0
	to := l.to()
	r.sizes = append(r.sizes[:0], min(pathMTU(to), largestMTU))
	for _, mtu := range usualMTUs {
		if mtu < r.sizes[0] {
			r.sizes = append(r.sizes, mtu)
		}
	}
	for i, mtu := range r.sizes {
		r.sizes[i] = sizeFor(mtu, to.Addr())
	}
	if s.rtt.srtt == 0 {
		_ = s.ask(l, to, 0, now) // how long an answer takes is soon known then
	}
	r.try(s, l)
}

// try sends the next probe; where none is left, the smallest size it is.
func (r *search) try(s *session, l *link) {
	least := leastSize(l.to().Addr())
	for len(r.sizes) > 0 && r.sizes[0] > least {
		err := s.ask(l, l.to(), r.sizes[0], clock())
		if errors.Is(err, syscall.EMSGSIZE) {
			r.sizes, r.tries = r.sizes[1:], 0
			continue
		}
		r.tries++
		r.alarm.set(max(s.rtt.rto(), leastProbing), func() { r.unanswered(s, l) })
		return
	}
	r.sizes = r.sizes[:0]
	s.size.Store(int32(least))
}

func (r *search) unanswered(s *session, l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || len(r.sizes) == 0 {
		return
	}
	if r.tries >= probeTries {
		r.sizes, r.tries = r.sizes[1:], 0
	}
	r.try(s, l)
}

// found ends the search, where one is on.
func (r *search) found(s *session, size int) {
	if len(r.sizes) > 0 {
		s.size.Store(int32(size))
		r.sizes = r.sizes[:0]
		r.alarm.stop()
	}
}

// tick repeats the search now and then.
func (r *search) tick(s *session, l *link, now int64) {
	if r.last != 0 && len(r.sizes) == 0 && time.Duration(now-r.last) >= searchEvery*l.set.timeout {
		r.start(s, l, now)
	}
}

// tooLong says whether a datagram was refused for its size, and can go in smaller pieces from now on.
func (s *session) tooLong(l *link, size int, err error) bool {
	if !errors.Is(err, syscall.EMSGSIZE) {
		return false
	}
	to := l.to()
	least := leastSize(to.Addr())
	if size <= least {
		return false
	}
	now := sizeFor(pathMTU(to), to.Addr())
	if now >= size || now < least {
		now = least
	}
	s.size.Store(int32(now))
	return true
}

// pathMTU is what the kernel believes of the way to an address.
func pathMTU(to netip.AddrPort) int {
	family, level, option := unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MTU
	four := to.Addr().Unmap().Is4()
	if four {
		family, level, option = unix.AF_INET, unix.IPPROTO_IP, unix.IP_MTU
	}
	mtu := largestMTU
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return mtu
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
	if err := unix.Connect(fd, new(address).set(to, four)); err != nil {
		return mtu
	}
	if n, err := unix.GetsockoptInt(fd, level, option); err == nil && n > 0 {
		mtu = n
	}
	return mtu
}

// alarm is a timer that can be set again. Whoever sets it holds the mutex that guards it.
type alarm struct{ timer *time.Timer }

func (a *alarm) set(d time.Duration, f func()) {
	if a.timer == nil {
		a.timer = time.AfterFunc(d, f)
	} else {
		a.timer.Reset(d)
	}
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}
