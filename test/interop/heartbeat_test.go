package interop

import (
	"syscall"
	"testing"

	"github.com/libvtx/libvtx/vtx"
)

// beats asks often and waits long: a busy machine is no silent peer.
var beats = options{"heartbeat_ivl": "10", "heartbeat_timeout": "10000"}

// impatient gives up soon.
var impatient = options{"heartbeat_ivl": "20", "heartbeat_timeout": "300"}

// talk joins two DEALERs through a proxy and makes sure that they hear each other. by is us if we connect.
func talk(t *testing.T, transport string, weConnect bool, us, they *end) (p *proxy, ourEnd int) {
	t.Helper()
	connecter, binder := they, us
	if weConnect {
		connecter, binder = us, they
	}
	at := endpoint(t, transport)
	binder.bind(at)
	p = newProxy(t, transport, at)
	connecter.connect(p.at)
	converse(us, they)
	if weConnect {
		return p, 0
	}
	return p, 1
}

func converse(us, they *end) {
	us.t.Helper()
	us.send("we say")
	they.want("we say")
	they.send("they say")
	us.want("they say")
}

func whoConnects(t *testing.T, test func(t *testing.T, l library, transport string, weConnect bool)) {
	each(t, func(t *testing.T, l library, transport string) {
		t.Run("we connect", func(t *testing.T) { test(t, l, transport, true) })
		t.Run("they connect", func(t *testing.T) { test(t, l, transport, false) })
	})
}

// TestHeartbeats: each end answers the other's heartbeats, and an idle connection lives.
func TestHeartbeats(t *testing.T) {
	whoConnects(t, func(t *testing.T, l library, transport string, weConnect bool) {
		t.Run("ours", func(t *testing.T) {
			need(t, l, answers)
			us, they := start(t, newOurs(t), vtx.Dealer, beats), start(t, l, vtx.Dealer, nil)
			p, ourEnd := talk(t, transport, weConnect, us, they)
			p.awaitPongs(1-ourEnd, 5)
			converse(us, they)
		})
		t.Run("theirs", func(t *testing.T) {
			us, they := start(t, newOurs(t), vtx.Dealer, nil), start(t, l, vtx.Dealer, beats)
			p, ourEnd := talk(t, transport, weConnect, us, they)
			p.awaitPongs(ourEnd, 5)
			converse(us, they)
		})
		t.Run("both", func(t *testing.T) {
			us, they := start(t, newOurs(t), vtx.Dealer, beats), start(t, l, vtx.Dealer, beats)
			p, ourEnd := talk(t, transport, weConnect, us, they)
			p.awaitPongs(ourEnd, 5)
			p.awaitPongs(1-ourEnd, 5)
			converse(us, they)
		})
	})
}

// TestSilence: an end that hears nothing any more drops the connection, tells so, and meets its peer again.
func TestSilence(t *testing.T) {
	whoConnects(t, func(t *testing.T, l library, transport string, weConnect bool) {
		t.Run("noticed by us", func(t *testing.T) {
			need(t, l, answers)
			ours := newOurs(t).socket(t, vtx.Dealer, impatient.with(options{"reconnect_ivl": "10"}))
			us, they := &end{t, ours}, start(t, l, vtx.Dealer, nil)
			events := ours.watch(t)
			p, ourEnd := talk(t, transport, weConnect, us, they)
			p.silence().awaitHangup(t, ourEnd)
			events.await(vtx.EventDisconnected)
			events.await(vtx.EventHandshakeSucceeded)
			converse(us, they)
		})
		t.Run("noticed by them", func(t *testing.T) {
			us, they := start(t, newOurs(t), vtx.Dealer, nil), start(t, l, vtx.Dealer, impatient)
			p, ourEnd := talk(t, transport, weConnect, us, they)
			p.silence().awaitHangup(t, 1-ourEnd)
		})
		// A PING says how long its sender wants to be thought alive
		t.Run("told by our TTL", func(t *testing.T) {
			need(t, l, answers)
			us := start(t, newOurs(t), vtx.Dealer, beats.with(options{"heartbeat_ttl": "300"}))
			they := start(t, l, vtx.Dealer, nil)
			p, ourEnd := talk(t, transport, weConnect, us, they)
			p.awaitPongs(1-ourEnd, 1)
			p.silence().awaitHangup(t, 1-ourEnd)
		})
		t.Run("told by their TTL", func(t *testing.T) {
			us := start(t, newOurs(t), vtx.Dealer, nil)
			they := start(t, l, vtx.Dealer, beats.with(options{"heartbeat_ttl": "300"}))
			p, ourEnd := talk(t, transport, weConnect, us, they)
			p.awaitPongs(ourEnd, 1)
			p.silence().awaitHangup(t, ourEnd)
		})
	})
}

// TestStopped: a peer whose process is stopped is dropped; when it runs again, they meet again.
func TestStopped(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport+"/theirs", func(t *testing.T) {
			// Without a handover it is chance, natively too, whether a ROUTER lets its peer come back under its name
			ours := newOurs(t).socket(t, vtx.Router, impatient.with(options{"router_handover": "1"}))
			us, at := &end{t, ours}, endpoint(t, transport)
			us.bind(at)
			c := spawnGo(t, pebbe{})
			they := start(t, c, vtx.Dealer, options{"routing_id": "they"})
			good := start(t, pebbe{}, vtx.Dealer, options{"routing_id": "good"})
			they.connect(at)
			good.connect(at)
			they.send("hello")
			us.want("they", "hello")
			good.send("hello")
			us.want("good", "hello")
			events := ours.watch(t)
			c.cmd.Process.Signal(syscall.SIGSTOP)
			events.await(vtx.EventDisconnected)
			good.send("still there?")
			us.want("good", "still there?")
			us.send("good", "yes")
			good.want("yes")
			c.cmd.Process.Signal(syscall.SIGCONT)
			events.await(vtx.EventHandshakeSucceeded)
			they.send("back")
			us.want("they", "back")
		})
		t.Run(transport+"/ours", func(t *testing.T) {
			at := endpoint(t, transport)
			c := spawnGo(t, vtxLibrary{})
			us := start(t, c, vtx.Dealer, nil)
			us.bind(at)
			they := openPebbe(t, vtx.Dealer, impatient.with(options{"reconnect_ivl": "10"}))
			they.connect(at)
			converse(us, &end{t, they})
			lost := they.awaitEvent(t, disconnected)
			c.cmd.Process.Signal(syscall.SIGSTOP)
			lost()
			c.cmd.Process.Signal(syscall.SIGCONT)
			they.send("back")
			us.want("back")
			us.send("welcome")
			(&end{t, they}).want("welcome")
		})
	}
}
