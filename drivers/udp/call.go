package udp

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// caller looks for a peer: the client's state of NOM.md, section 2.
type caller struct {
	d       *dialer
	conn    *net.UDPConn
	targets []netip.AddrPort
	pace    time.Duration // between two calls of one target

	hello  nom.Hello
	first  []byte                       // the OHAI without a cookie
	ohai   []byte                       // the OHAI as it is sent
	chosen netip.AddrPort               // who answered with a cookie, and alone is called now; or invalid
	calls  int                          // to the one chosen
	vain   map[netip.AddrPort]time.Time // servers that refused or did not answer: when others no longer go first
}

// partner is a peer that was found; session is nil for a plain one.
type partner struct {
	at      netip.AddrPort
	session *session
}

func newCaller(d *dialer, conn *net.UDPConn, targets []netip.AddrPort) *caller {
	c := &caller{d: d, conn: conn, targets: targets, pace: callEvery, vain: make(map[netip.AddrPort]time.Time)}
	c.hello = nom.Hello{
		Kind: nom.Call, Features: nom.Subscriptions, MaxMessage: uint32(d.set.maxMessage),
		Type: byte(d.cfg.Type), RoutingID: d.cfg.Options.RoutingID,
	}
	c.anew()
	return c
}

// anew forgets whom it had chosen. Under another token nothing that is still on its way can be taken for an answer.
func (c *caller) anew() {
	c.hello.Token, c.hello.Cookie = newToken(), [nom.CookieSize]byte{}
	c.chosen, c.calls = netip.AddrPort{}, 0
	c.first = greeting(nom.OHAI, []byte(c.d.dest.body), &c.hello)
	if len(c.first) > nom.MaxDatagram || c.d.set.only {
		c.first = nom.AppendGreeting(nom.AppendHeader(nil, nom.Header{Command: nom.OHAI}), nom.Greeting{Address: []byte(c.d.dest.body)})
	}
	c.ohai = c.first
}

// choose calls one server from now on, which has given us a cookie. Where others may have heard the token that the cookie is
// for, the server is called without it, under a new token that only the two know.
func (c *caller) choose(at netip.AddrPort, cookie [nom.CookieSize]byte) {
	if c.chosen.IsValid() || c.calledAlone(at) {
		c.hello.Cookie = cookie
		c.ohai = greeting(nom.OHAI, []byte(c.d.dest.body), &c.hello)
	} else {
		c.anew()
	}
	c.chosen, c.calls = at, 0
	_, _ = c.conn.WriteToUDPAddrPort(c.ohai, at) // repeated
}

// wants says whether a cookie from there is to be used.
func (c *caller) wants(from netip.AddrPort) bool {
	switch {
	case c.proving():
		return false
	case c.chosen.IsValid():
		return from == c.chosen
	}
	return c.calledAlone(from) || !time.Now().Before(c.vain[from])
}

// giveUp leaves a server for another; the quickest to answer must not be the only one that is ever asked.
func (c *caller) giveUp(at netip.AddrPort) {
	c.vain[at] = time.Now().Add(othersFirst)
	c.anew()
}

// calledAlone says that every call before one server was chosen went to this address and to no other.
func (c *caller) calledAlone(at netip.AddrPort) bool {
	return !c.d.dest.anyone() && len(c.targets) == 1 && c.targets[0] == at
}

// proving says whether we have told a server its cookie: before that it has nothing to welcome us for.
func (c *caller) proving() bool { return c.hello.Cookie != [nom.CookieSize]byte{} }

// look calls one target after the other until one answers. It returns nobody when it is time to look names up again or
// the socket was closed, and an error when no target can be called at all.
func (c *caller) look() (partner, error) {
	buf := make([]byte, maxPayload)
	until := time.Now().Add(lookAgain)
	failed := 0
	for i := 0; time.Now().Before(until); i++ {
		to, wait := c.targets[i%len(c.targets)], c.pace/time.Duration(len(c.targets))
		if c.chosen.IsValid() {
			if c.calls++; c.calls > callChosen {
				c.giveUp(c.chosen)
			} else {
				to, wait = c.chosen, callEvery
			}
		}
		_, err := c.conn.WriteToUDPAddrPort(c.ohai, to)
		switch {
		case errors.Is(err, net.ErrClosed):
			return partner{}, nil
		case err == nil:
			failed = 0
		default:
			if failed++; failed == len(c.targets) {
				return partner{}, err
			}
		}
		// Targets are called in turn, not all at once: a peer with several of these addresses
		// has answered before it is called a second time.
		_ = c.conn.SetReadDeadline(time.Now().Add(wait))
		peer, refused, ended := c.await(buf)
		if ended || peer.at.IsValid() {
			return peer, nil
		}
		if refused {
			c.pace = refusedWait
		}
	}
	return partner{}, nil
}

// await reads until the answer comes, or the read deadline. Datagrams are read one by one: what
// follows the answer is for the link.
func (c *caller) await(buf []byte) (peer partner, refused, ended bool) {
	for {
		n, from, err := c.conn.ReadFromUDPAddrPort(buf)
		from = unmapped(from)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return partner{}, refused, false
		case errors.Is(err, net.ErrClosed):
			return partner{}, refused, true
		case err != nil:
			time.Sleep(time.Millisecond) // whatever it was, it must not become a spinning loop
			continue
		}
		h, body, err := nom.ParseHeader(buf[:n])
		if err != nil {
			c.d.cfg.Report.Drop(vtx.DropMalformed, 1)
			continue
		}
		switch {
		case h.Extended:
			c.d.cfg.Report.Drop(vtx.DropStray, 1)
		case h.Command == nom.OHAIOK:
			if peer, ok := c.answer(body, from); ok {
				return peer, false, false
			}
		case h.Command == nom.ROTFL:
			if kind, reason, ok := c.refusal(body, from); ok && !refused { // one event for each call: anybody can send us plain ones
				c.d.refused(kind, from, reason)
				refused = true
			}
		case h.Command == nom.NOM:
			c.d.cfg.Report.Drop(vtx.DropStray, 1)
		}
	}
}

// answer takes the body of an OHAI-OK. It counts only if it repeats the token that we have just drawn, which nobody off
// the path knows: in a hello, or, from a plain peer, in the echo of the whole OHAI.
func (c *caller) answer(body []byte, from netip.AddrPort) (partner, bool) {
	if bytes.Equal(body, c.first[nom.HeaderSize:]) || bytes.Equal(body, c.ohai[nom.HeaderSize:]) {
		return partner{at: from}, c.d.set.plain
	}
	g := nom.ParseGreeting(body)
	hello, err := nom.ParseHello(g.Properties)
	if err != nil || hello.Echo != c.hello.Token || !bytes.Equal(g.Address, []byte(c.d.dest.body)) {
		return partner{}, false
	}
	switch {
	case hello.Kind == nom.Cookie && hello.Cookie != [nom.CookieSize]byte{} && c.wants(from):
		c.choose(from, hello.Cookie)
	case hello.Kind == nom.Welcome && hello.Token != 0 && c.proving():
		return partner{from, newSession(c.d.set, c.hello.Token, hello)}, true
	}
	return partner{}, false
}

// refusal takes the body of a ROTFL.
func (c *caller) refusal(body []byte, from netip.AddrPort) (kind vtx.EventKind, reason []byte, ok bool) {
	reason, properties, extended := bytes.Cut(body, []byte{0})
	if !extended {
		return vtx.EventHandshakeFailed, reason, c.d.set.plain && !c.chosen.IsValid()
	}
	hello, err := nom.ParseHello(properties)
	if err != nil || hello.Kind != nom.Refusal || hello.Echo != c.hello.Token {
		return 0, nil, false
	}
	if c.chosen.IsValid() {
		from = c.chosen
	}
	c.giveUp(from)
	if !c.d.cfg.Type.TalksTo(vtx.SocketType(hello.Type)) {
		return vtx.EventHandshakeFailedProtocol, reason, true
	}
	return vtx.EventHandshakeFailed, reason, true
}
