package vtx_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/internal/zmtp"
	"github.com/libvtx/libvtx/vtx"
)

const maxMsgSize = 22 // ZMQ_MAXMSGSIZE

// target is a ROUTER over VTX that others attack, with a stock libzmq DEALER as the peer that must not suffer.
type target struct {
	t      *testing.T
	h      *host
	router *app.Socket
	events *app.Socket
	at     string // host:port
	good   *app.Socket
}

func newTarget(t *testing.T, set func(router *app.Socket)) *target {
	t.Helper()
	h := newHost(t)
	router := h.socket(vtx.Router)
	if set != nil {
		set(router)
	}
	events := h.events(router)
	endpoint := h.bound(router, "loop")
	x := &target{t: t, h: h, router: router, events: events, at: strings.TrimPrefix(endpoint, "loop://")}
	return x
}

// befriend connects the good peer, natively.
func (x *target) befriend(set func(good *app.Socket)) {
	x.t.Helper()
	x.good = app.NewContext(x.t).Socket(x.t, int(vtx.Dealer))
	x.good.SetString(zmq.RoutingID, "good")
	if set != nil {
		set(x.good)
	}
	x.good.Native(false, "tcp://"+x.at)
	x.works()
}

// works: the good peer is served.
func (x *target) works() {
	x.t.Helper()
	x.good.Send("question")
	x.router.Want("good", "question")
	x.router.Send("good", "answer")
	x.good.Want("answer")
}

func (x *target) dial() *net.TCPConn {
	x.t.Helper()
	conn, err := net.Dial("tcp4", x.at)
	if err != nil {
		x.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(app.Patience))
	x.t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// ends waits until the other end has ended the connection.
func ends(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Error("the connection lives on")
		}
	}
}

func rawGreeting(mechanism string) []byte {
	b := make([]byte, 64)
	copy(b, "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01"+mechanism)
	return b
}

// rawFrame frames as RFC 37 does: flags 1 MORE, 4 COMMAND.
func rawFrame(flags byte, body string) []byte {
	if len(body) < 256 {
		return append([]byte{flags, byte(len(body))}, body...)
	}
	return append(binary.BigEndian.AppendUint64([]byte{flags | 2}, uint64(len(body))), body...)
}

func rawReady(typ string) []byte {
	return rawFrame(4, "\x05READY\x0bSocket-Type\x00\x00\x00"+string(rune(len(typ)))+typ)
}

// greeted is a raw connection that has said hello properly, and read the answer.
func (x *target) greeted(typ string) *net.TCPConn {
	x.t.Helper()
	conn := x.dial()
	conn.Write(append(rawGreeting("NULL"), rawReady(typ)...))
	head := make([]byte, 66)
	if _, err := io.ReadFull(conn, head); err == nil {
		io.ReadFull(conn, make([]byte, head[65]))
	}
	return conn
}

// Who does not speak ZMTP properly loses the connection; everybody else keeps his.
func TestBadBytes(t *testing.T) {
	long := func(flags byte, size uint64) []byte {
		return binary.BigEndian.AppendUint64([]byte{flags | 2}, size)
	}
	hello := append(rawGreeting("NULL"), rawReady("DEALER")...)
	talk := func(b ...[]byte) []byte { return append(bytes.Clone(hello), bytes.Join(b, nil)...) }
	for name, c := range map[string]struct {
		say  []byte
		kind vtx.EventKind // that the monitor tells
	}{
		"half a greeting":          {rawGreeting("NULL")[:30], vtx.EventHandshakeFailed},
		"nothing":                  {nil, vtx.EventHandshakeFailed},
		"HTTP":                     {[]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), vtx.EventHandshakeFailedProtocol},
		"a TLS hello":              {[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("r", 100)), vtx.EventHandshakeFailedProtocol},
		"rubbish":                  {bytes.Repeat([]byte{0x7f}, 300), vtx.EventHandshakeFailedProtocol},
		"another mechanism":        {rawGreeting("CURVE"), vtx.EventHandshakeFailedProtocol},
		"an unknown mechanism":     {rawGreeting("KRYPTON"), vtx.EventHandshakeFailedProtocol},
		"the wrong type":           {append(rawGreeting("NULL"), rawReady("PUSH")...), vtx.EventHandshakeFailedProtocol},
		"no known type":            {append(rawGreeting("NULL"), rawReady("TOASTER")...), vtx.EventHandshakeFailedProtocol},
		"a message for a READY":    {append(rawGreeting("NULL"), rawFrame(0, "hello")...), vtx.EventHandshakeFailedProtocol},
		"an endless READY":         {append(rawGreeting("NULL"), long(4, 1<<40)...), vtx.EventHandshakeFailedProtocol},
		"a length of 2^63":         {talk(long(0, 1<<63)), vtx.EventDisconnected},
		"a length of 2^62":         {talk(long(0, 1<<62)), vtx.EventDisconnected},
		"reserved flags":           {talk(rawFrame(0x80, "x")), vtx.EventDisconnected},
		"a broken command":         {talk(rawFrame(1, "part"), rawFrame(4, "\x20PING")), vtx.EventDisconnected},
		"a message too big":        {talk(rawFrame(0, strings.Repeat("x", maxMsgSize+1))), vtx.EventDisconnected},
		"frames too big in sum":    {talk(bytes.Repeat(rawFrame(1, "12345"), 5)), vtx.EventDisconnected},
		"frames without an end":    {talk(bytes.Repeat(rawFrame(1, ""), 100000)), vtx.EventDisconnected},
		"an ERROR in the midst":    {talk(rawFrame(4, "\x05ERROR\x03bad")), vtx.EventDisconnected},
		"a SUBSCRIBE in the midst": {talk(rawFrame(1, "part"), rawFrame(0x84, "\x09SUBSCRIBEa")), vtx.EventDisconnected},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTarget(t, func(s *app.Socket) {
				s.Set64(zmq.MaxMsgSize, maxMsgSize)
				s.Set(zmq.HandshakeIvl, 300)
			})
			x.befriend(nil)
			conn := x.dial()
			conn.Write(c.say)
			ends(t, conn)
			await(t, x.events, c.kind)
			x.works()
		})
	}
}

// A heartbeat may stand between the frames of a message (libzmq sends it there): it is answered, and the
// message comes whole.
func TestPingWithinAMessage(t *testing.T) {
	x := newTarget(t, nil)
	conn := x.greeted("DEALER")
	conn.Write(bytes.Join([][]byte{rawFrame(1, "one"), rawFrame(4, "\x04PING\x00\x00ctx"), rawFrame(0, "two")}, nil))
	if got := x.router.Recv(); len(got) != 3 || got[1] != "one" || got[2] != "two" {
		t.Fatalf("received %q", got)
	}
	want := rawFrame(4, "\x04PONGctx")
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("answered %q %v", got, err)
	}
}

// Under CURVE, a message that is sent again ends the connection, and is delivered once.
func TestReplay(t *testing.T) {
	server, client := newKeys(t), newKeys(t)
	x := newTarget(t, func(s *app.Socket) { curveServer(s, server) })
	x.befriend(func(s *app.Socket) { curveClient(s, newKeys(t), server.public) })
	conn := x.dial()
	mechanism, err := zmtp.NewCurveClient([]byte(client.public), []byte(client.secret), []byte(server.public))
	if err != nil {
		t.Fatal(err)
	}
	session, err := zmtp.Handshake(conn, &zmtp.Config{SocketType: "DEALER", Identity: []byte("mallory"), Mechanism: mechanism, MaxMessage: -1})
	if err != nil {
		t.Fatal(err)
	}
	wire := session.Encode(nil, rawFrame(0, "pay"))
	conn.Write(append(bytes.Clone(wire), wire...))
	x.router.Want("mallory", "pay")
	ends(t, conn)
	await(t, x.events, vtx.EventDisconnected)
	x.works() // and not a second "pay"
}

// A peer that does not read, or hardly, fills its own pipe and nobody else's.
func TestPeersThatDoNotRead(t *testing.T) {
	const mandatory = 33 // ZMQ_ROUTER_MANDATORY: a full pipe is an error
	x := newTarget(t, func(s *app.Socket) {
		s.Set(mandatory, 1)
		s.Set(zmq.SndHWM, 10)
	})
	x.befriend(nil)
	body := strings.Repeat("x", 1<<20)
	for _, reads := range []int{0, 20} {
		conn := x.greeted("DEALER")
		conn.Write(rawFrame(0, "hello"))
		id := x.router.Recv()[0]
		full := false
		for range 100 { // more than all buffers hold
			if full = x.router.TrySend(false, id, body) == syscall.EAGAIN; full {
				break
			}
			x.works()
		}
		for range reads {
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			x.works()
		}
		if !full {
			t.Error("a peer that does not read took 100 MiB")
		}
		conn.Close()
	}
	x.works()
}

// A connection reset within a frame costs that message and that peering.
func TestResetWithinAFrame(t *testing.T) {
	x := newTarget(t, nil)
	x.befriend(nil)
	for _, size := range []int{1000, 1 << 20} {
		conn := x.greeted("DEALER")
		conn.Write(rawFrame(0, "whole"))
		if got := x.router.Recv(); got[1] != "whole" {
			t.Fatalf("received %q", got)
		}
		frame := rawFrame(0, strings.Repeat("x", size))
		conn.Write(frame[:len(frame)/2])
		conn.SetLinger(0)
		conn.Close()
		await(t, x.events, vtx.EventDisconnected)
		x.works()
	}
}

// Thousands of connections that say nothing keep nobody else out.
func TestSilentCrowd(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	crowd := min(10000, int(min(limit.Cur, 1<<20))/2-500) // each takes a descriptor at either end, here the same process
	if crowd < 100 {
		t.Skipf("only %d descriptors are allowed", limit.Cur)
	}
	if testing.Short() {
		crowd = 500
	}
	t.Logf("%d connections", crowd)
	x := newTarget(t, nil)
	x.befriend(nil)
	conns := make([]net.Conn, crowd)
	for i := range conns {
		// Many addresses: one has not enough ports for all, with those that other tests leave behind
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i%16+1))}}
		conn, err := d.Dial("tcp4", x.at)
		if err != nil {
			t.Fatal(fmt.Errorf("connection %d: %w", i, err))
		}
		conns[i] = conn
		defer conn.Close()
	}
	x.works()
	late := app.NewContext(t).Socket(t, int(vtx.Dealer))
	late.SetString(zmq.RoutingID, "late")
	late.Native(false, "tcp://"+x.at)
	late.Send("hello")
	x.router.Want("late", "hello")
}

// What a peer says right before it goes is delivered, and that it has gone is noticed, in whatever pieces that arrives.
func TestEndRightBehindData(t *testing.T) {
	x := newTarget(t, nil)
	for i := range 200 {
		conn := x.greeted("DEALER")
		conn.Write(rawFrame(0, fmt.Sprint(i)))
		conn.CloseWrite()
		if got := x.router.Recv(); got[1] != fmt.Sprint(i) {
			t.Fatalf("received %q, want %d", got, i)
		}
		await(t, x.events, vtx.EventDisconnected)
	}
}

// What stands behind a large body in the same read is understood without waiting for more.
func TestBehindALargeBody(t *testing.T) {
	x := newTarget(t, nil)
	conn := x.greeted("DEALER")
	body := strings.Repeat("large", 100000)
	large := rawFrame(0, body)
	conn.Write(append(rawFrame(0, "before"), large[:len(large)/2]...))
	if got := x.router.Recv(); got[1] != "before" { // the beginning of the large one has been read with it
		t.Fatalf("received %.40q", got)
	}
	conn.Write(append(large[len(large)/2:], rawFrame(0, "behind")...))
	for _, want := range []string{body, "behind"} {
		if got := x.router.Recv(); got[1] != want {
			t.Fatalf("received %.40q, want %.40q", got, want)
		}
	}
}

// All of a message is received, however much of it one read finds there. A frame that is not the message's last has
// more to be read into than one read takes.
func TestMoreThanOneRead(t *testing.T) {
	x := newTarget(t, nil)
	conn := x.greeted("DEALER")
	body := strings.Repeat("large", 3<<20)
	message := append(rawFrame(1, body), rawFrame(0, "behind")...)
	for range 8 {
		if _, err := conn.Write(message); err != nil {
			t.Fatal(err)
		}
		if got := x.router.Recv(); len(got) != 3 || got[1] != body || got[2] != "behind" {
			t.Fatalf("received %d parts, the second of %d bytes", len(got), len(got[1]))
		}
	}
}

// A peer that asks and asks and does not read costs two goroutines, not one for each question.
func TestQuestionsWithoutEnd(t *testing.T) {
	h := newHost(t)
	router := h.socket(vtx.Router)
	h.bind(router, "piped://pipe")
	conn := pipes.dial()
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(app.Patience))
	go conn.Write(append(rawGreeting("NULL"), rawReady("DEALER")...))
	head := make([]byte, 66)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, head[65])); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	ask := rawFrame(4, "\x04PING\x00\x00context")
	if _, err := conn.Write(append(bytes.Repeat(ask, 10000), rawFrame(0, "after")...)); err != nil {
		t.Fatal(err)
	}
	if got := router.Recv(); got[1] != "after" { // so all of them have been seen
		t.Fatalf("received %q", got)
	}
	if now := runtime.NumGoroutine(); now > before+20 {
		t.Fatalf("%d goroutines, %d before", now, before)
	}
}

// What a peer announces of itself does not keep us from asking it.
func TestAnnouncedTTL(t *testing.T) {
	x := newTarget(t, func(router *app.Socket) { router.Set(zmq.HeartbeatIvl, 50) })
	conn := x.greeted("DEALER")
	conn.Write(append(rawFrame(4, "\x04PING\xff\xff"), rawFrame(0, "word")...)) // for nearly two hours
	x.router.Recv()
	ping, got := []byte("\x04PING"), []byte(nil)
	for !bytes.Contains(got, ping) {
		b := make([]byte, 100)
		n, err := conn.Read(b)
		if got = append(got, b[:n]...); err != nil {
			t.Fatalf("no PING: %v", err)
		}
	}
}

// A heartbeat is not answered within a message that the peer has not taken all of.
func TestPongBehindHalfAMessage(t *testing.T) {
	x := newTarget(t, nil)
	conn := x.greeted("DEALER")
	conn.Write(rawFrame(0, "hello"))
	id := x.router.Recv()[0]
	body := strings.Repeat("x", 32<<20) // more than the system's buffers take
	x.router.Send(id, body)
	head := make([]byte, 9)
	if _, err := io.ReadFull(conn, head); err != nil { // it is on its way
		t.Fatal(err)
	}
	conn.Write(append(rawFrame(4, "\x04PING\x00\x00ctx"), rawFrame(0, "after")...))
	if got := x.router.Recv(); got[1] != "after" { // so the PING has been seen
		t.Fatalf("received %q", got)
	}
	pong := rawFrame(4, "\x04PONGctx")
	rest := make([]byte, len(body)+len(pong))
	if _, err := io.ReadFull(conn, rest); err != nil {
		t.Fatal(err)
	}
	if string(rest[:len(body)]) != body || !bytes.Equal(rest[len(body):], pong) {
		t.Error("the message or the PONG is broken")
	}
}
