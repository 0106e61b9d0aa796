package interop

import (
	"fmt"
	"net"
	"testing"

	"github.com/libvtx/libvtx/vtx"
)

// TestPingWithinMessage: commands may come between the frames of a message, which libzmq does too. They are answered, and
// the message is whole.
func TestPingWithinMessage(t *testing.T) {
	v := newVictim(t, nil)
	conn := dial(t, v.at)
	r := newRaw(t, v, conn)
	r.meet("DEALER", "odd")
	r.say(frame(1, "one"), frame(4, "\x04PING\x00\x00context"), frame(1, "two"), frame(4, "\x07UNKNOWN?"), frame(0, "three"))
	if flags, body := r.hearFrame(); flags != 4 || string(body) != "\x04PONGcontext" {
		t.Errorf("the PING was answered with %#x %q", flags, body)
	}
	v.us.want("odd", "one", "two", "three")
	v.alive()
}

// TestSubscribeWithinMessage: a subscription within a message is no message, and ends the peering.
func TestSubscribeWithinMessage(t *testing.T) {
	if *reference {
		t.Skip("libzmq takes it for a message")
	}
	ours := newOurs(t).socket(t, vtx.XPub, nil)
	pub, at := &end{t, ours}, endpoint(t, "tcp")
	pub.bind(at)
	good := start(t, pebbe{}, vtx.Sub, nil)
	good.subscribe("good")
	good.connect(at)
	pub.want("\x01good")
	events := ours.watch(t)
	conn := dial(t, at)
	r := newRaw(t, nil, conn)
	r.meet("XSUB", "")
	r.say(frame(1, "one"), frame(4, "\x09SUBSCRIBEbad"), frame(0, "two"))
	r.awaitHangup()
	events.await(anyEnd...)
	pub.send("good news")
	good.want("good news")
	ours.peers(t, 1)
}

// TestNewerVersion: a peer of a later version is spoken to in ours.
func TestNewerVersion(t *testing.T) {
	v := newVictim(t, nil)
	conn := dial(t, v.at)
	r := newRaw(t, v, conn)
	r.say(greeting(9, 7, "NULL"), frame(4, "\x05READY"+property("Socket-Type", "DEALER")+property("Identity", "new")))
	if g := r.hear(64); g[10] != 3 {
		t.Errorf("greeted with version %d.%d", g[10], g[11])
	}
	r.say(frame(0, "hello"))
	v.us.want("new", "hello")
	v.alive()
}

// TestNeverReads: a peer that takes nothing costs no more than the high-water mark allows.
func TestNeverReads(t *testing.T) {
	v := newVictim(t, options{"sndhwm": "10", "router_mandatory": "1"})
	conn := dial(t, v.at)
	r := newRaw(t, v, conn)
	r.meet("DEALER", "bad")
	r.say(frame(0, "hello"))
	v.us.want("bad", "hello")
	body := string(make([]byte, 1<<20))
	sent := 0
	for ; sent < 1000; sent++ {
		if err := v.ours.TrySend(false, "bad", body); err != nil {
			break
		}
		if sent%10 == 0 {
			v.alive()
		}
	}
	if sent == 1000 {
		t.Fatal("1000 MiB were taken for a peer that reads nothing")
	}
	v.alive()
	conn.Close()
	v.events.await(vtx.EventDisconnected)
	v.alive()
	v.ours.peers(t, 1)
}

// TestReadsByteByByte: a peer that reads next to nothing is waited for, and others are not.
func TestReadsByteByByte(t *testing.T) {
	v := newVictim(t, options{"sndhwm": "10"})
	conn := dial(t, v.at)
	r := newRaw(t, v, conn)
	conn.(*net.TCPConn).SetReadBuffer(4096)
	r.meet("DEALER", "slow")
	r.say(frame(0, "hello"))
	v.us.want("slow", "hello")
	for range 5 {
		v.us.send("slow", string(make([]byte, 1<<20)))
	}
	for range 10 {
		var b [1]byte
		if _, err := conn.Read(b[:]); err != nil {
			t.Fatal(err)
		}
		v.alive()
	}
	conn.Close()
	v.events.await(vtx.EventDisconnected)
	v.alive()
}

// TestNeverReadingSubscriber: it loses what it does not take; the others get all of it.
func TestNeverReadingSubscriber(t *testing.T) {
	ours := newOurs(t).socket(t, vtx.XPub, options{"sndhwm": "10"})
	pub, at := &end{t, ours}, endpoint(t, "tcp")
	pub.bind(at)
	good := start(t, pebbe{}, vtx.Sub, nil)
	good.subscribe("a")
	good.connect(at)
	pub.want("\x01a")
	conn := dial(t, at)
	r := newRaw(t, nil, conn)
	r.meet("SUB", "")
	r.say(frame(4, "\x09SUBSCRIBEa"), frame(4, "\x09SUBSCRIBEb"))
	pub.want("\x01b")
	body := string(make([]byte, 1<<20))
	for i := range 100 {
		pub.send(fmt.Sprint("a", i), body)
		good.want(fmt.Sprint("a", i), body)
	}
	conn.Close()
	pub.want("\x00b")
}
