package udp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// The reason that a peer gives, plain or extended, for a refusal or for an end, is shown quoted.
func TestNastyReasonsAreQuoted(t *testing.T) {
	quoted := func(what, sentence string) {
		t.Helper()
		app.Printable(t, sentence)
		if !strings.Contains(sentence, `"`+app.NastyShown+`"`) {
			t.Errorf("%s: %s", what, sentence)
		}
	}
	wire := fmt.Sprintf("10 00 %x", app.Nasty)

	plain := loopbackRaw(t)
	d := dialTo(t, vtx.Pair, plain.addr())
	d.later(t, newSink())
	plain.tell(plain.expect("10 10 '"+plain.addr().String()+"'"), wire)
	quoted("a plain refusal", d.rep.awaitEvent(t, vtx.EventHandshakeFailed).Reason)

	a := newAnswerer(t, vtx.Pair)
	d = dialTo(t, vtx.Pair, a.addr())
	d.later(t, newSink())
	call := a.called(anyCall)
	refusal := append(nom.AppendHeader(nil, nom.Header{Command: nom.ROTFL}), app.Nasty+"\x00"...)
	refusal = nom.AppendHello(refusal, &nom.Hello{Kind: nom.Refusal, Echo: call.Token, Type: byte(vtx.Pair)})
	if _, err := a.WriteToUDPAddrPort(refusal, a.client); err != nil {
		t.Fatal(err)
	}
	quoted("a refusal", d.rep.awaitEvent(t, vtx.EventHandshakeFailed).Reason)

	srv, l, client, _ := found(t, vtx.Sub, newSink())
	srv.tell(client, wire)
	quoted("a plain end", ended(t, l).Error())

	b := bind(t, vtx.Pair)
	x := newExtended(t, b, vtx.Pair)
	l = x.join(newSink())
	x.send(x.datagram(nom.ROTFL, 0, app.Nasty))
	quoted("an end", ended(t, l).Error())
}
