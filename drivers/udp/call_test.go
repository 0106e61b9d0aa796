package udp

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// answerer is a server that speaks NOM.md by hand.
type answerer struct {
	*raw
	typ    vtx.SocketType
	client netip.AddrPort // whose OHAI was heard last
}

func newAnswerer(t testing.TB, typ vtx.SocketType) *answerer {
	t.Helper()
	return &answerer{raw: loopbackRaw(t), typ: typ}
}

// called waits for a call that is ok, and lets others pass.
func (a *answerer) called(ok func(nom.Hello) bool) nom.Hello {
	a.t.Helper()
	for end := time.Now().Add(watchdog); time.Now().Before(end); {
		_, a.client = a.hear()
		hello, err := nom.ParseHello(a.greeting().Properties)
		if err != nil || hello.Kind != nom.Call {
			a.t.Fatalf("heard % x", a.ohai)
		}
		if ok(hello) {
			return hello
		}
	}
	a.t.Fatal("no such call")
	return nom.Hello{}
}

func (a *answerer) greeting() nom.Greeting {
	_, body, err := nom.ParseHeader(a.ohai)
	if err != nil {
		a.t.Fatal(err)
	}
	return nom.ParseGreeting(body)
}

func (a *answerer) cookie(echo nom.Token) nom.Hello {
	return nom.Hello{Kind: nom.Cookie, Echo: echo, Cookie: [nom.CookieSize]byte{byte(a.addr().Port()), 1}}
}

func (a *answerer) welcome(echo nom.Token) nom.Hello {
	return nom.Hello{Kind: nom.Welcome, Echo: echo, Token: newToken(), Features: nom.Subscriptions, MaxMessage: 1 << 20, Type: byte(a.typ)}
}

// say answers the OHAI heard last, from any socket.
func (a *answerer) say(from *raw, hello nom.Hello) {
	a.t.Helper()
	if _, err := from.WriteToUDPAddrPort(greeting(nom.OHAIOK, a.greeting().Address, &hello), a.client); err != nil {
		a.t.Fatal(err)
	}
}

// refuse refuses a call.
func (a *answerer) refuse(echo nom.Token) {
	a.t.Helper()
	b := append(nom.AppendHeader(nil, nom.Header{Command: nom.ROTFL}), "full\x00"...)
	b = nom.AppendHello(b, &nom.Hello{Kind: nom.Refusal, Echo: echo, Type: byte(a.typ)})
	if _, err := a.WriteToUDPAddrPort(b, a.client); err != nil {
		a.t.Fatal(err)
	}
}

func anyCall(nom.Hello) bool      { return true }
func withCookie(h nom.Hello) bool { return h.Cookie != [nom.CookieSize]byte{} }
func otherThan(t nom.Token) func(nom.Hello) bool {
	return func(h nom.Hello) bool { return h.Token != t }
}

// Everybody on the network hears a broadcast and the token in it: the peering has another, which only its server was told.
func TestATokenThatWasBroadcastOpensNothing(t *testing.T) {
	srv, spy := newAnswerer(t, vtx.Push), loopbackRaw(t)
	d := dialTo(t, vtx.Pull, fmt.Sprintf("*:%d", srv.addr().Port()), optBroadcast, "127.0.0.1")
	s := newSink()
	c := d.later(t, s)
	heard := srv.called(anyCall)
	srv.say(spy, srv.welcome(heard.Token)) // nobody has proved anything
	srv.say(srv.raw, srv.cookie(heard.Token))
	secret := srv.called(otherThan(heard.Token))
	if withCookie(secret) {
		t.Error("called with the cookie of another token")
	}
	foreign := srv.cookie(secret.Token)
	foreign.Cookie[1]++
	srv.say(spy, foreign)
	srv.say(spy, srv.welcome(secret.Token))
	srv.say(srv.raw, srv.cookie(secret.Token))
	if proved := srv.called(withCookie); proved.Token != secret.Token || proved.Cookie != srv.cookie(0).Cookie {
		t.Errorf("called with %+v", proved)
	}
	srv.say(srv.raw, srv.welcome(secret.Token))
	l := got(t, c)
	if l.ext == nil || l.ext.ours != secret.Token || l.to() != srv.addr() {
		t.Fatalf("peering with %v, %+v", l.to(), l.ext)
	}
	forged := nom.AppendHeader(nil, nom.Header{Command: nom.NOM, Extended: true, Token: heard.Token})
	if _, err := spy.WriteToUDPAddrPort(append(forged, "\x00\x06FORGED"...), srv.client); err != nil {
		t.Fatal(err)
	}
	d.rep.awaitDrops(t, vtx.DropStray, 1)
	if s.count() != 0 || l.to() != srv.addr() {
		t.Errorf("delivered %q, the peer is at %v", s.all(), l.to())
	}
}

// A name that stands for two hosts tells both the token.
func TestATokenThatSeveralHostsWereToldOpensNothing(t *testing.T) {
	srv := newAnswerer(t, vtx.Push)
	cfg, r := config(t, vtx.Pull, fmt.Sprintf("udp://two.example:%d", srv.addr().Port()))
	d := dialWith(t, resolvingTo("127.0.0.1", "127.0.0.2"), cfg, r)
	c := d.later(t, newSink())
	first := srv.called(anyCall)
	srv.say(srv.raw, srv.cookie(first.Token))
	second := srv.called(otherThan(first.Token))
	srv.say(srv.raw, srv.cookie(second.Token))
	srv.called(withCookie)
	srv.say(srv.raw, srv.welcome(second.Token))
	got(t, c)
}

// Who is called alone knows the token alone: one round trip less.
func TestAUnicastCallKeepsItsToken(t *testing.T) {
	srv := newAnswerer(t, vtx.Push)
	c := dialTo(t, vtx.Pull, srv.addr()).later(t, newSink())
	first := srv.called(anyCall)
	srv.say(srv.raw, srv.cookie(first.Token))
	if second := srv.called(withCookie); second.Token != first.Token {
		t.Error("another token")
	}
	srv.say(srv.raw, srv.welcome(first.Token))
	got(t, c)
}

// resolvingTo is a driver with a resolver that knows these addresses for every name.
func resolvingTo(addresses ...string) *Driver {
	return &Driver{lookup: func(context.Context, string, string) ([]netip.Addr, error) {
		var list []netip.Addr
		for _, a := range addresses {
			list = append(list, netip.MustParseAddr(a))
		}
		return list, nil
	}}
}

// However long the first answer took, the one who gave it has the whole of its calls to give the next.
func TestASlowServerIsGivenTime(t *testing.T) {
	srv := newAnswerer(t, vtx.Push)
	c := dialTo(t, vtx.Pull, srv.addr()).later(t, newSink())
	first := srv.called(anyCall)
	for range callChosen + 1 {
		srv.called(anyCall)
	}
	srv.say(srv.raw, srv.cookie(first.Token))
	for range callChosen / 4 {
		if proved := srv.called(withCookie); proved.Token != first.Token {
			t.Fatal("given up")
		}
	}
	srv.say(srv.raw, srv.welcome(first.Token))
	got(t, c)
}

// A server that is asked for its cookie again has all of the calls for that, and then all of them for the welcome.
func TestEachStepHasAllItsCalls(t *testing.T) {
	srv := loopbackRaw(t)
	d := dialTo(t, vtx.Pull, "*:1", optBroadcast, "127.0.0.1").Dialer.(*dialer)
	c := newCaller(d, loopbackRaw(t).UDPConn, []netip.AddrPort{srv.addr()})
	cookie := [nom.CookieSize]byte{1}
	for _, proving := range []bool{false, true} {
		if c.choose(srv.addr(), cookie); c.chosen != srv.addr() || c.proving() != proving || c.calls != 0 {
			t.Errorf("called %v, after %d calls, with %v", c.chosen, c.calls, c.hello.Cookie)
		}
		c.calls = callChosen
	}
}

// The quickest to answer a broadcast is not the only one that is asked.
func TestAServerThatRefusesHidesNoOther(t *testing.T) {
	target := newAnswerer(t, vtx.Rep) // hears the broadcast for both
	quick, slow := newAnswerer(t, vtx.Rep), newAnswerer(t, vtx.Rep)
	address := fmt.Sprintf("*:%d", target.addr().Port())
	c := dialTo(t, vtx.Req, address, optBroadcast, "127.0.0.1").later(t, newSink())
	heard := target.called(anyCall)
	target.say(quick.raw, quick.cookie(heard.Token))
	quick.refuse(quick.called(anyCall).Token)
	heard = target.called(otherThan(heard.Token)) // the one after the refusal
	target.say(quick.raw, quick.cookie(heard.Token))
	target.say(slow.raw, slow.cookie(heard.Token))
	secret := slow.called(anyCall)
	slow.say(slow.raw, slow.cookie(secret.Token))
	slow.called(withCookie)
	slow.say(slow.raw, slow.welcome(secret.Token))
	if l := got(t, c); l.to() != slow.addr() {
		t.Errorf("found %v", l.to())
	}
}
