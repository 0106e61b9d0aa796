package udp

import (
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// heardNow is what has come to an extended peer, but for probes of the datagrams' size.
func (x *extended) heardNow() (headers []nom.Header, bodies [][]byte) {
	x.t.Helper()
	for d, ok := x.next(); ok; d, ok = x.next() {
		h, body, err := nom.ParseHeader(d.data)
		if err != nil {
			x.t.Fatal(err)
		}
		if h.Command != nom.HUGZ || len(body) == 8 {
			headers, bodies = append(headers, h), append(bodies, body)
		}
	}
	return headers, bodies
}

// arrive has one of its datagrams arrive.
func (x *extended) arrive(c nom.Command, number uint32, body string) {
	x.b.arrive([]datagram{{x.addr(), x.datagram(c, number, body)}}, &inbox{})
}

// A network that is slow, or a machine that is busy, is not helped by another copy of a large request behind the one that it has
// not got through yet; and where the reply is coming, the request has arrived.
func TestALargeRequestIsNotItsOwnObstacle(t *testing.T) {
	b := bind(t, vtx.Req, optTimeout, never, optResend, never)
	x := newExtended(t, b, vtx.Rep)
	l := x.join(newSink())
	b.still()
	l.ext.begun.Store(true) // no search for the datagrams' size
	r := l.role.(*requester)
	request := "|" + strings.Repeat("r", 40_000)
	again := func() {
		advanced.Add(int64(25 * time.Hour))
		r.resend()
	}
	// copied is how much of the request has come, from where on, and the question after it.
	copied := func() (size int, first uint32, question string) {
		t.Helper()
		headers, bodies := x.heardNow()
		for i, h := range headers {
			switch h.Command {
			case nom.PART:
				p, err := nom.ParsePart(bodies[i])
				if err != nil {
					t.Fatal(err)
				}
				if size == 0 {
					first = p.Offset
				}
				size += len(p.Bytes)
			case nom.HUGZ:
				question = string(bodies[i])
			}
		}
		return size, first, question
	}
	send(t, l, request)
	whole, first, question := copied()
	if whole < len(request) || first != 0 || question == "" {
		t.Fatalf("%d bytes from %d on, asked %q", whole, first, question)
	}
	for range 3 { // it may have been the question that was lost
		again()
		var size int
		if size, _, question = copied(); size != 0 || question == "" {
			t.Fatalf("%d bytes came behind those under way, asked %q", size, question)
		}
	}
	elsewhere := false
	for range 20 {
		x.arrive(nom.HUGZOK, 0, question)
		again()
		var size int
		if size, first, question = copied(); size != whole || question == "" {
			t.Fatalf("a copy of %d bytes, want %d; asked %q", size, whole, question)
		}
		elsewhere = elsewhere || first != 0
	}
	if !elsewhere {
		t.Error("all copies began at the beginning: what is too small for them never sees their end")
	}
	part := nom.AppendPart(nil, nom.Part{Total: 3, Bytes: []byte{0}})
	x.arrive(nom.PART, 1, string(part))
	again()
	if size, first, _ := copied(); size == 0 || size > 600 || first != 0 {
		t.Errorf("%d bytes of the request from %d on, when the reply was coming", size, first)
	}
}

// A large message that grows is waited for, however long it takes.
func TestAMessageThatGrowsIsNotGivenUp(t *testing.T) {
	var z puzzle
	z.limit = 100
	const second = int64(time.Second)
	part := func(at uint32) nom.Part { return nom.Part{Offset: at, Total: 3, Bytes: []byte{byte(at)}} }
	z.add(1, part(0), 0)
	z.add(2, part(0), 0)
	for i := uint32(1); i < 3; i++ {
		now := int64(i) * 9 * second
		m, _ := z.add(1, part(i), now)
		if (m != nil) != (i == 2) {
			t.Fatalf("part %d: message % x", i, m)
		}
		z.expire(now + second - 10*second)
	}
	if len(z.started) != 0 || z.taken != 0 {
		t.Errorf("%d messages wait for what does not come", len(z.started))
	}
}

// What a process has slept through is not its peers' silence.
func TestAProcessThatDidNotRunGivesNobodyUp(t *testing.T) {
	b := bind(t, vtx.Pull)
	b.still()
	c, l := joined(t, b, newSink())
	advanced.Add(int64(time.Hour))
	b.measure()
	if l.Err() != nil {
		t.Fatalf("given up at once: %v", l.Err())
	}
	c.expect("10 30") // nothing was said for an hour: now something is
	b.arrive([]datagram{{c.addr(), wired(t, "10 40")}}, &inbox{})
	pass(originalTimeout/2, b.measure)
	if l.Err() != nil {
		t.Fatalf("given up too early: %v", l.Err())
	}
	pass(originalTimeout, b.measure)
	_ = ended(t, l)
}

// An end that only listens says now and then that it does: a question may wait behind all that it is sent.
func TestWhoOnlyListensIsHeard(t *testing.T) {
	b := bind(t, vtx.Pull)
	x := newExtended(t, b, vtx.Push)
	l := x.join(newSink())
	b.still()
	l.ext.begun.Store(true)
	number, since := uint32(0), clock()
	pass(time.Minute, func() {
		x.arrive(nom.NOM, number, "\x00\x01A")
		number++
		b.measure()
		if headers, _ := x.heardNow(); len(headers) > 0 {
			since = clock()
		}
		if silence := time.Duration(clock() - since); silence > defaultTimeout/2 {
			t.Fatalf("nothing was heard for %v", silence)
		}
	})
}
