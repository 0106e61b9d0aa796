package vtx_test

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// dialFrom connects from an address of loopback.
func (x *target) dialFrom(ip string) *net.TCPConn {
	x.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	conn, err := d.Dial("tcp4", x.at)
	if err != nil {
		x.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(app.Patience))
	x.t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// Where a binding has as many half-open handshakes as it allows, the oldest of the address that has most goes; with a
// sentence, and counted. All others go on.
func TestHandshakesAreBounded(t *testing.T) {
	x := newTarget(t, func(s *app.Socket) { s.Set(zmq.HandshakeIvl, 0) })
	if err := x.h.Unbind(x.router.P, "loop://"+x.at); err != nil {
		t.Fatal(err)
	}
	x.h.bind(x.router, "loop://127.0.0.1:0?handshakes=4")
	x.at = strings.TrimPrefix(x.h.meta(x.router, "endpoint"), "loop://")
	x.at, _, _ = strings.Cut(x.at, "?")
	one := x.dialFrom("127.0.0.3")
	var many []net.Conn
	for range 3 {
		many = append(many, x.dialFrom("127.0.0.2"))
	}
	late := x.dialFrom("127.0.0.4")
	var last net.Conn
	for i, conn := range many[:2] {
		ends(t, conn)
		value, reason := await(t, x.events, vtx.EventHandshakeFailed)
		if value != uint32(syscall.ECONNABORTED) || !strings.Contains(reason, conn.LocalAddr().String()) {
			t.Errorf("told as %d %q", value, reason)
		}
		if i == 0 {
			last = x.dialFrom("127.0.0.5")
		}
	}
	if stats := x.h.meta(x.router, "stats"); !strings.Contains(stats, `"refusals":2`) {
		t.Errorf("the statistics say %s", stats)
	}
	for _, conn := range []net.Conn{one, many[2], late, last} {
		conn.Write(append(rawGreeting("NULL"), rawReady("DEALER")...))
		conn.Write(rawFrame(0, conn.LocalAddr().String()))
		if got := x.router.Recv(); got[1] != conn.LocalAddr().String() {
			t.Errorf("received %q", got)
		}
	}
}

// A bound of 256 holds where nobody has said another.
func TestDefaultHandshakes(t *testing.T) {
	x := newTarget(t, func(s *app.Socket) { s.Set(zmq.HandshakeIvl, 0) })
	first := x.dial()
	for range 255 {
		x.dial()
	}
	x.befriend(nil) // nobody has to wait
	ends(t, first)
	await(t, x.events, vtx.EventHandshakeFailed)
	for _, bad := range []string{"", "0", "-1", "x", "65536", "1.5"} {
		if x.h.SetOption(nil, "handshakes", bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// Failed handshakes that wait for their peers to read why count, and a crowd of them goes as well.
func TestRefusedPeersAreBounded(t *testing.T) {
	h := newHost(t)
	router := h.socket(vtx.Router)
	h.bind(router, "loop://127.0.0.1:0?handshakes=10")
	x := &target{t: t, h: h, router: router, at: strings.TrimPrefix(h.meta(router, "endpoint"), "loop://")}
	x.at, _, _ = strings.Cut(x.at, "?")
	before := openDescriptors()
	const n = 200
	for range n {
		conn := x.dial()
		conn.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		one := make([]byte, 1) // the end of what we say, not of the connection, or a reset
		for {
			if _, err := conn.Read(one); err != nil {
				break
			}
		}
	}
	if now := openDescriptors(); now > before+n+10+5 { // n are our own
		t.Errorf("%d descriptors, %d before", now, before)
	}
}

// What has failed is told, and has gone, also while peers who have come are kept waiting.
func TestRefusalsDoNotQueue(t *testing.T) {
	t.Cleanup(vtx.SetPace(1, time.Hour)) // runs after the managers are gone
	x := newTarget(t, nil)
	x.greeted("DEALER").Close()
	await(t, x.events, vtx.EventDisconnected)
	x.greeted("DEALER") // nobody behind this one comes in: the router has not seen that the first has left
	await(t, x.events, vtx.EventHandshakeSucceeded)
	for range 5 {
		conn := x.dial()
		conn.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		await(t, x.events, vtx.EventHandshakeFailedProtocol)
		ends(t, conn)
	}
}
