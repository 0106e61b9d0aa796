package vtx_test

import (
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/internal/zmtp"
	"github.com/libvtx/libvtx/vtx"
)

// Bodies for which memory is taken as they arrive come as they were sent, wherever they stand in a message and whatever
// comes before, between and behind them.
func TestLargeBodiesAreWhole(t *testing.T) {
	content := make([]byte, 21<<20)
	for i, chance := 0, rand.New(rand.NewPCG(1, 2)); i < len(content); i++ {
		content[i] = byte(chance.Uint32())
	}
	large := func(size int) string { return string(content[:size]) }
	messages := [][]string{
		{"small"}, {large(4 << 20)}, {large(4<<20 + 1)}, {large(9_000_001)}, {"id", "", large(21 << 20)}, {"small"},
		{large(5 << 20), "last"}, {large(300_000), large(6 << 20)}, {strings.Repeat("prefix", 2000), large(5 << 20)}, {"small"},
	}
	for _, scheme := range streamSchemes {
		for _, sealed := range []bool{false, true} {
			t.Run(scheme+map[bool]string{true: ", CURVE"}[sealed], func(t *testing.T) {
				h := newHost(t)
				pull, push := h.socket(vtx.Pull), app.NewContext(t).Socket(t, int(vtx.Push))
				if sealed {
					server := newKeys(t)
					curveServer(pull, server)
					curveClient(push, newKeys(t), server.public)
				}
				push.Set(zmq.SndHWM, 0)
				endpoint := h.bound(pull, scheme)
				push.Native(false, "tcp://"+strings.TrimPrefix(endpoint, scheme+"://"))
				for range 2 {
					for _, m := range messages {
						push.Send(m...)
					}
					for i, m := range messages {
						got := pull.Recv()
						same := len(got) == len(m)
						for j := range m {
							same = same && got[j] == m[j]
						}
						if !same {
							t.Fatalf("message %d is another", i)
						}
					}
				}
			})
		}
	}
}

// curvePeer is a client that has shaken hands with a server bound at an address, as far as its own READY.
func curvePeer(t *testing.T, at, typ string, server keys) (net.Conn, *zmtp.Session) {
	t.Helper()
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(app.Patience))
	client := newKeys(t)
	mechanism, err := zmtp.NewCurveClient([]byte(client.public), []byte(client.secret), []byte(server.public))
	if err != nil {
		t.Fatal(err)
	}
	session, err := zmtp.Handshake(conn, &zmtp.Config{SocketType: typ, Mechanism: mechanism, MaxMessage: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(session.Final()); err != nil {
		t.Fatal(err)
	}
	return conn, session
}

// A PING, and behind it in the same read the beginning of a large message.
func TestPingBeforeALargeMessage(t *testing.T) {
	for _, scheme := range streamSchemes {
		t.Run(scheme, func(t *testing.T) {
			h, server := newHost(t), newKeys(t)
			pull := h.socket(vtx.Pull)
			curveServer(pull, server)
			conn, session := curvePeer(t, strings.TrimPrefix(h.bound(pull, scheme), scheme+"://"), "PUSH", server)
			const size = 1 << 16
			out := session.AppendPing(nil, 0, []byte("x"))
			out = session.Encode(out, append([]byte{2, 0, 0, 0, 0, 0, 1, 0, 0}, make([]byte, size)...))
			conn.Write(out[:1000])
			if _, err := conn.Read(make([]byte, 100)); err != nil { // the PONG: all of that has been read
				t.Fatal(err)
			}
			conn.Write(out[1000:])
			if got := pull.Recv(); len(got[0]) != size {
				t.Errorf("%d bytes", len(got[0]))
			}
		})
	}
}

// What was made for a peer that takes nothing, and goes, is given back.
func TestMemoryOfAPeerThatTakesNothing(t *testing.T) {
	for _, scheme := range streamSchemes {
		t.Run(scheme, func(t *testing.T) {
			h, server := newHost(t), newKeys(t)
			router := h.socket(vtx.Router)
			curveServer(router, server)
			events := h.events(router)
			at := strings.TrimPrefix(h.bound(router, scheme), scheme+"://")
			before := arena.Taken()
			conn, session := curvePeer(t, at, "DEALER", server)
			conn.Write(session.Encode(nil, []byte("\x00\x02hi")))
			id := router.Recv()[0]
			for range 4 {
				router.Send(id, strings.Repeat("x", 6<<20))
			}
			app.Eventually(t, "a message is being sealed", func() bool { return arena.Taken() > before+6<<20 })
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
			await(t, events, vtx.EventDisconnected)
			app.Eventually(t, "all memory is given back", func() bool { return arena.Taken() <= before })
		})
	}
}
