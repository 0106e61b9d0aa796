package udp

import (
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/drivers/udp/udprelay"
	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// extended is a client that speaks NOM.md by hand.
type extended struct {
	*raw
	b      *bound
	hello  nom.Hello
	theirs nom.Token // the server's, after the welcome
}

func newExtended(t testing.TB, b *bound, typ vtx.SocketType) *extended {
	t.Helper()
	return &extended{raw: loopbackRaw(t), b: b, hello: nom.Hello{
		Kind: nom.Call, Features: nom.Subscriptions, Token: newToken(), MaxMessage: 1 << 20, Type: byte(typ),
	}}
}

func (x *extended) send(b []byte) {
	x.t.Helper()
	if _, err := x.WriteToUDPAddrPort(b, x.b.to); err != nil {
		x.t.Fatal(err)
	}
}

// call sends an OHAI and gives the hello of the answer, and both sizes.
func (x *extended) call(command nom.Command) (answer nom.Hello, asked, answered int) {
	x.t.Helper()
	ohai := greeting(nom.OHAI, []byte("h:1"), &x.hello)
	x.send(ohai)
	b, _ := x.hear()
	h, body, err := nom.ParseHeader(b)
	if err != nil || h.Command != command {
		x.t.Fatalf("heard % x", b)
	}
	if answer, err = nom.ParseHello(nom.ParseGreeting(body).Properties); err != nil {
		x.t.Fatalf("heard % x: %v", b, err)
	}
	return answer, len(ohai), len(b)
}

// prove gets a cookie.
func (x *extended) prove() {
	x.t.Helper()
	x.hello.Cookie = [nom.CookieSize]byte{}
	answer, _, _ := x.call(nom.OHAIOK)
	if answer.Kind != nom.Cookie || answer.Echo != x.hello.Token {
		x.t.Fatalf("answered by %+v", answer)
	}
	x.hello.Cookie = answer.Cookie
}

// join makes the peering.
func (x *extended) join(s vtx.Sink) *link {
	x.t.Helper()
	x.prove()
	x.send(greeting(nom.OHAI, []byte("h:1"), &x.hello))
	l := x.b.accept(x.t, s)
	b, _ := x.hear()
	_, body, _ := nom.ParseHeader(b)
	welcome, err := nom.ParseHello(nom.ParseGreeting(body).Properties)
	if err != nil || welcome.Kind != nom.Welcome || welcome.Token == 0 || welcome.Echo != x.hello.Token {
		x.t.Fatalf("welcomed by % x", b)
	}
	x.theirs = welcome.Token
	return l
}

// datagram makes one that bears the right token.
func (x *extended) datagram(c nom.Command, number uint32, body string) []byte {
	return append(nom.AppendHeader(nil, nom.Header{Command: c, Extended: true, Token: x.theirs, Number: number}), body...)
}

func TestNothingIsRememberedOfAnAddressThatIsNotProved(t *testing.T) {
	b := bind(t, vtx.Pull)
	x := newExtended(t, b, vtx.Push)
	for range 3 {
		answer, asked, answered := x.call(nom.OHAIOK)
		if answer.Kind != nom.Cookie || answered > asked {
			t.Fatalf("%d bytes got %d: %+v", asked, answered, answer)
		}
	}
	other := newExtended(t, b, vtx.Push)
	other.hello.Token = x.hello.Token
	x.prove()
	other.hello.Cookie = x.hello.Cookie // another address's
	if answer, _, _ := other.call(nom.OHAIOK); answer.Kind != nom.Cookie {
		t.Errorf("answered by %+v", answer)
	}
	now := clock()
	if !b.jar.good(x.hello.Cookie, x.addr(), x.hello.Token, now) ||
		!b.jar.good(x.hello.Cookie, x.addr(), x.hello.Token, now+int64(cookiePeriod)) ||
		b.jar.good(x.hello.Cookie, x.addr(), x.hello.Token, now+2*int64(cookiePeriod)) ||
		b.jar.good(x.hello.Cookie, x.addr(), x.hello.Token+1, now) {
		t.Error("a cookie is for one address and token, and for two periods")
	}
	b.mu.Lock()
	if len(b.links)+len(b.sessions)+len(b.calls)+len(b.waiting) != 0 {
		t.Error("something is remembered")
	}
	b.mu.Unlock()
	l := x.join(newSink())
	if p := l.Peer(); p.Type != vtx.Push || p.Unfiltered {
		t.Errorf("peer %+v", p)
	}
}

func TestAWelcomeIsRepeated(t *testing.T) {
	b := bind(t, vtx.Pull)
	x := newExtended(t, b, vtx.Push)
	old := x.join(newSink())
	first := x.theirs
	if again, _, _ := x.call(nom.OHAIOK); again.Kind != nom.Welcome || again.Token != first {
		t.Errorf("the second time %+v", again)
	}
	// The same program's next call, from the same address: what was before is over.
	x.hello.Token = newToken()
	x.join(newSink())
	if err := ended(t, old); !strings.Contains(err.Error(), "anew") {
		t.Error(err)
	}
}

func TestARefusalIsForTheOneWhoCalled(t *testing.T) {
	b := bind(t, vtx.Pair)
	x := newExtended(t, b, vtx.Pair)
	x.prove()
	x.send(greeting(nom.OHAI, []byte("h:1"), &x.hello))
	b.take(t).Close(errTest)
	wire, _ := x.hear()
	h, body, err := nom.ParseHeader(wire)
	reason, properties, _ := strings.Cut(string(body), "\x00")
	hello, herr := nom.ParseHello([]byte(properties))
	if err != nil || h.Command != nom.ROTFL || reason != errTest.Error() || herr != nil ||
		hello.Kind != nom.Refusal || hello.Echo != x.hello.Token || hello.Type != byte(vtx.Pair) {
		t.Errorf("heard %q", wire)
	}
}

func TestPlainPeersCanBeKeptOut(t *testing.T) {
	b := bind(t, vtx.Pair, optPlain, "0")
	c := loopbackRaw(t)
	c.tell(b.to, "10 10 'a:1'")
	b.rep.awaitDrops(t, vtx.DropStray, 1)
	newExtended(t, b, vtx.Pair).join(newSink())

	srv := loopbackRaw(t)
	d := dialTo(t, vtx.Pair, srv.addr(), optPlain, "0")
	later := d.later(t, newSink())
	for range 2 {
		client := srv.skipTo("10 10 '" + srv.addr().String() + "'")
		srv.answer(client)
	}
	select {
	case l := <-later:
		t.Errorf("found %v", l.Peer())
	default:
	}
}

func TestTheFirstGoodbyeIsEnough(t *testing.T) {
	b := bind(t, vtx.Pair)
	dl := dialTo(t, vtx.Pair, b.to)
	c := dl.later(t, newSink())
	l := b.accept(t, newSink())
	got(t, c).Close(errTest)
	if err := ended(t, l); !strings.Contains(err.Error(), errTest.Error()) {
		t.Error(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.links)+len(b.sessions)+len(b.calls) != 0 {
		t.Error("the listener still knows the link")
	}
}

// An answer from nowhere near the path: it cannot know the token that was just drawn.
func TestAForgedWelcomeIsNoAnswer(t *testing.T) {
	srv, thief := loopbackRaw(t), loopbackRaw(t)
	d := dialTo(t, vtx.Pair, srv.addr())
	c := d.later(t, newSink())
	client := srv.expect("10 10 '" + srv.addr().String() + "'")
	for _, kind := range []nom.Kind{nom.Cookie, nom.Welcome} {
		forged := nom.Hello{Kind: kind, Token: 7, Echo: 7, Type: byte(vtx.Pair), MaxMessage: 1}
		if _, err := thief.WriteToUDPAddrPort(greeting(nom.OHAIOK, []byte(srv.addr().String()), &forged), client); err != nil {
			t.Fatal(err)
		}
	}
	refusal := nom.AppendHello([]byte("\x10\x00go away\x00"), &nom.Hello{Kind: nom.Refusal, Echo: 7})
	if _, err := thief.WriteToUDPAddrPort(refusal, client); err != nil {
		t.Fatal(err)
	}
	srv.expect("10 10 '" + srv.addr().String() + "'")
	srv.answer(client)
	if l := got(t, c); l.ext != nil || l.Peer().Address != srv.addr().String() {
		t.Errorf("found %+v", l.Peer())
	}
	if len(d.rep.events) > 0 {
		t.Errorf("events %+v", d.rep.events)
	}
}

// A peering whose other end was started again, or forgot it, ends at the next datagram: in both directions.
func TestWhoForgotThePeeringSaysSo(t *testing.T) {
	b := bind(t, vtx.Pair)
	c := dialTo(t, vtx.Pair, b.to).later(t, newSink())
	l := b.accept(t, newSink())
	dialled := got(t, c)
	b.forget(l)                         // as if it had been started again
	_ = dialled.Send(batch("anybody?")) // if it has not been told already, by a probe's answer
	if err := ended(t, dialled); err != errGone {
		t.Error(err)
	}
	x := newExtended(t, b, vtx.Pair)
	l = x.join(newSink())
	x.send(nom.AppendHeader(nil, nom.Header{Command: nom.GONE, Extended: true, Token: x.hello.Token}))
	if err := ended(t, l); err != errGone {
		t.Error(err)
	}
}

// A client that gets another address keeps its peering, and the new address is not believed before it has answered.
func TestAPeeringOutlivesItsAddress(t *testing.T) {
	b := bind(t, vtx.Pair)
	r := relay(t, b, udprelay.Config{})
	in, out := newSink(), newSink()
	c := dialTo(t, vtx.Pair, r.Addr()).later(t, in)
	l := b.accept(t, out)
	dialled := got(t, c)
	send(t, dialled, "one")
	out.expect(t, "one")
	before := l.to()
	if err := r.Move(); err != nil {
		t.Fatal(err)
	}
	send(t, dialled, "two")
	out.expect(t, "one", "two")
	for end := time.Now().Add(watchdog); l.to() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the new address is not taken")
		}
	}
	send(t, l, "three")
	in.expect(t, "three")
	if b.find(sender{from: before}) != nil || b.find(sender{from: l.to()}) != l {
		t.Error("the listener has it at the wrong address")
	}
}

func TestANewAddressGetsLittleBeforeItAnswers(t *testing.T) {
	b := bind(t, vtx.Pair)
	x := newExtended(t, b, vtx.Pair)
	s := newSink()
	l := x.join(s)
	elsewhere := loopbackRaw(t)
	for i := range uint32(20) {
		if _, err := elsewhere.WriteToUDPAddrPort(x.datagram(nom.NOM, i, "\x00\x01A"), b.to); err != nil {
			t.Fatal(err)
		}
	}
	s.until(t, "messages", func() bool { return s.count() == 20 }) // the token is right, wherever they come from
	for range 100 {
		send(t, l, strings.Repeat("x", 400))
	}
	probe := loopbackRaw(t)
	probe.tell(elsewhere.addr(), "ff")
	heard := 0
	for {
		d, _ := elsewhere.hear()
		if len(d) == 1 {
			break
		}
		heard += len(d)
		if _, err := probe.WriteToUDPAddrPort(x.datagram(nom.HUGZOK, 20, string(d[nom.ExtendedSize:])), b.to); err != nil {
			t.Fatal(err) // the right answer, from the wrong address
		}
	}
	x.send(x.datagram(nom.NOM, 20, "\x00\x01A")) // what came before has been looked at when this is delivered
	s.until(t, "the last message", func() bool { return s.count() == 21 })
	if heard > 20*17*3 || heard == 0 {
		t.Errorf("%d bytes for %d", heard, 20*17)
	}
	if l.to() != x.addr() {
		t.Error("the address was believed")
	}
}

// moveTo makes x go on from another socket, as through a NAT that forgot it.
func (x *extended) moveTo(r *raw, number uint32) {
	x.t.Helper()
	old := x.raw
	x.raw = r
	x.send(x.datagram(nom.NOM, number, "\x00\x01A"))
	for {
		b, _ := x.hear()
		h, body, err := nom.ParseHeader(b)
		if err == nil && h.Extended && h.Command == nom.HUGZ && len(body) == 8 {
			x.send(x.datagram(nom.HUGZOK, number+1, string(body)))
			break
		}
	}
	_ = old.Close()
}

// The peering of a plain peer lives on its address: whose address an extended peer has proved to be its own now is gone.
func TestAPlainPeerWhoseAddressIsAnothersIsGone(t *testing.T) {
	b := bind(t, vtx.Pull, optTimeout, never)
	x := newExtended(t, b, vtx.Push)
	s := newSink()
	l := x.join(s)
	y, plain := joined(t, b, newSink())
	x.moveTo(y, 0)
	if err := ended(t, plain); !strings.Contains(err.Error(), "another") {
		t.Error(err)
	}
	x.send(x.datagram(nom.NOM, 1, "\x00\x01B"))
	s.expect(t, "A", "B")
	if l.to() != y.addr() || b.find(sender{from: y.addr()}) != l {
		t.Error("the extended peer is not at its new address")
	}
	l.end(errTest)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.links)+len(b.sessions)+len(b.calls) != 0 {
		t.Error("something is remembered of both")
	}
}
