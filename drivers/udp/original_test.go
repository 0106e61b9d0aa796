package udp

import (
	"bytes"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the original does, and when.
const (
	originalCalls   = 100 * time.Millisecond
	originalResends = 200 * time.Millisecond
	originalTimeout = 10 * time.Second
)

// original behaves as an original node does, by the clock that the driver has too: it takes any datagram of its peer's as a sign of
// life, and ROTFL for nothing else; it says HUGZ when it has said nothing for a third of its timeout; it gives a peer up when it has
// not heard it for that time, and only then, and only where it found it by broadcast, looks for another.
type original struct {
	*raw
	to     func(datagram) // where its datagrams arrive
	call   string         // the body of its OHAI; "": it is bound
	single bool           // it called one address: a lost peer is never looked for again

	peer         netip.AddrPort // or invalid
	heard, spoke int64
	called       int64
	lost         int // peers

	request  string // that waits for its reply, or ""
	number   byte
	sent     int64
	messages []string // heard: bodies of NOM
	bytes    int      // heard
}

// say sends a datagram, which arrives before it returns.
func (o *original) say(head byte, second byte, body string) {
	o.spoke = clock()
	o.to(datagram{o.addr(), append([]byte{head, second}, body...)})
}

// ask makes a request.
func (o *original) ask(body string) {
	o.request, o.number = body, (o.number+1)&15
	o.transmit(0x10)
}

func (o *original) transmit(head byte) {
	if o.peer.IsValid() {
		o.sent = clock()
		o.say(head, 0x50|o.number, o.request)
	}
}

// act does what there is to do now.
func (o *original) act() {
	for d, ok := o.next(); ok; d, ok = o.next() {
		o.hear(d)
	}
	now := clock()
	if o.peer.IsValid() && time.Duration(now-o.heard) >= originalTimeout {
		o.peer = netip.AddrPort{}
		o.lost++
	}
	switch {
	case !o.peer.IsValid():
		if o.call != "" && (o.lost == 0 || !o.single) && time.Duration(now-o.called) >= originalCalls {
			o.called = now
			o.say(0x10, 0x10, o.call)
		}
	case o.request != "" && time.Duration(now-o.sent) >= originalResends:
		o.transmit(0x11)
	case time.Duration(now-o.spoke) >= originalTimeout/3:
		o.say(0x10, 0x30, "")
	}
}

func (o *original) hear(d datagram) {
	command := d.data[1] >> 4
	if !o.peer.IsValid() {
		if command == 2 && o.call != "" && string(d.data[2:]) == o.call {
			o.peer, o.heard, o.spoke = d.from, clock(), clock()
			if o.number = 0; o.request != "" {
				o.ask(o.request)
			}
		}
		return
	}
	if d.from != o.peer {
		return
	}
	o.heard = clock()
	switch command {
	case 3:
		o.say(0x10, 0x40, "")
	case 5:
		o.messages = append(o.messages, string(d.data[2:]))
		if o.request != "" && d.data[1]&15 == o.number {
			o.request = ""
		}
	}
}

// next is what has come, if anything has.
func (r *raw) next() (d datagram, ok bool) {
	r.t.Helper()
	conn, err := r.SyscallConn()
	if err != nil {
		r.t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	err = conn.Read(func(fd uintptr) bool {
		n, from, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
		if a, four := from.(*unix.SockaddrInet4); err == nil && four {
			d, ok = datagram{netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), bytes.Clone(buf[:n])}, true
		} else if err != syscall.EAGAIN && err != syscall.EINTR && err != syscall.ECONNREFUSED {
			r.t.Error(err)
		}
		return true
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return d, ok
}

// client is an original that calls a listener, found by broadcast, say.
func (b *bound) client(t testing.TB) *original {
	t.Helper()
	o := &original{raw: loopbackRaw(t), call: "*:5601"}
	o.attach(b)
	return o
}

// attach has its datagrams arrive at a listener, whose own beat ends: the test has the time.
func (o *original) attach(b *bound) {
	b.still()
	o.to = func(d datagram) { b.arrive([]datagram{d}, &inbox{}) }
}

func (b *bound) still() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.beat.Stop()
}

func (l *link) still() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beat.Stop()
}

// measure is what a listener does at its beat.
func (b *bound) measure() {
	b.tick()
	b.still()
}

func (l *link) measure() { l.pulse(l.pace.now(l.set.tick())) }

// stride is how far the clock goes in one step.
const stride = 50 * time.Millisecond

// pass lets time pass: after each stride all of them act.
func pass(d time.Duration, all ...func()) {
	for range d / stride { // not by the clock, which goes on by itself too
		advanced.Add(int64(stride))
		for _, act := range all {
			act()
		}
	}
}
