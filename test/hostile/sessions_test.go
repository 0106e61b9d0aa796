package hostile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/zmtp"
	"github.com/libvtx/libvtx/vtx"
)

// sessions is how many sessions of ZMTP there are in all of the attack.
const sessions = 300_000

// Sessions that are wrong in any way, at each socket type, behind each door of each transport of streams. Legitimate
// peers beside them notice nothing, and nothing is kept of a session.
func TestMutatedSessions(t *testing.T) {
	weights := 0
	for _, x := range transports {
		weights += x.weight
	}
	each(t, streams, func(t *testing.T, x *transport) {
		for i := range x.doors {
			d := &x.doors[i]
			t.Run(d.name, func(t *testing.T) {
				s := newStage(t, x, d, parts)
				s.attackBySessions(d, portion(sessions*x.weight/weights/len(x.doors)))
			})
		}
	})
}

func (s *stage) attackBySessions(d *door, n int) {
	s.t.Helper()
	warm := min(n/20+1, 1000)
	s.many(d, 0, warm)
	s.served()
	s.begun = s.victim.state()
	began := time.Now()
	// In ten pieces, so that a failure is seen near its cause
	for i := range 10 {
		from, to := warm+(n-warm)*i/10, warm+(n-warm)*(i+1)/10
		s.many(d, from, to)
		s.served()
		if i < 5 { // what waits in libzmq's queues, and what malloc keeps, has a level of its own; a leak has none
			s.begun["rss"] = max(s.begun["rss"], s.victim.state()["rss"])
		}
	}
	s.t.Logf("%d sessions, %.0f a second", n, float64(n-warm)/time.Since(began).Seconds())
	s.settled(96<<10, 100)
}

// many plays some of the sessions, several at a time.
func (s *stage) many(d *door, from, to int) {
	s.t.Helper()
	var next atomic.Int64
	next.Store(int64(from))
	var all sync.WaitGroup
	var trouble atomic.Pointer[error]
	for range 96 {
		all.Go(func() {
			for trouble.Load() == nil {
				i := next.Add(1) - 1
				if i >= int64(to) {
					return
				}
				if err := s.session(d, chance(s.t, int(i)), int(i)); err != nil {
					trouble.Store(&err)
				}
			}
		})
	}
	all.Wait()
	if err := trouble.Load(); err != nil {
		s.fail("nobody can connect any more: %v", *err)
	}
}

// session plays one. Its error is that of the connecting.
func (s *stage) session(d *door, chance *rand.Rand, number int) error {
	u := parts[chance.IntN(len(parts))]
	wire, err := s.x.wire(s.at[u.typ], loopback(chance.Uint32()))
	if err != nil {
		return err
	}
	defer wire.Close()
	// Most who wait for an answer wait in vain
	wire.SetDeadline(time.Now().Add(time.Duration(5+chance.IntN(50)) * time.Millisecond))
	m := newMutant(wire, chance)
	conn := net.Conn(m)
	// What is wrong below TLS costs no more than a wrong TLS
	if s.x.over != nil {
		if chance.IntN(4) > 0 {
			m.Conn = s.x.over(s.k, wire)
		} else {
			conn = s.x.over(s.k, m)
		}
	}
	s.play(d, conn, chance, u)
	s.last.add(fmt.Sprintf("session %d, %s %v, changed write %d:", number, s.at[u.typ], u.typ, m.changed), m.sent)
	return bye(wire, chance)
}

// play shakes hands and talks, as far as that goes.
func (s *stage) play(d *door, conn net.Conn, chance *rand.Rand, u part) {
	typ := u.attacker
	if chance.IntN(20) == 0 {
		typ = vtx.SocketType(chance.IntN(11))
	}
	if d.name == "NULL" && chance.IntN(8) == 0 {
		conn.Write(older(chance, typ))
		conn.Write(talk(chance, true))
		return
	}
	cfg := &zmtp.Config{SocketType: typ.String(), Mechanism: d.open(s.k), MaxMessage: 1 << 20}
	switch chance.IntN(6) {
	case 0:
		cfg.Identity = randomBytes(chance, 1+chance.IntN(255))
	case 1:
		cfg.Identity = []byte(u.typ.String() + "-0")
	case 2:
		cfg.Metadata = zmtp.Metadata{{Name: "X-Odd", Value: randomBytes(chance, chance.IntN(20000))}}
	}
	session, err := zmtp.Handshake(conn, cfg)
	if err != nil {
		return
	}
	for range 1 + chance.IntN(4) {
		frames := talk(chance, d.name != "CURVE")
		if d.name == "CURVE" {
			frames = session.Encode(nil, frames)
		}
		if _, err := conn.Write(frames); err != nil {
			return
		}
	}
	if chance.IntN(3) == 0 {
		io.CopyN(io.Discard, conn, int64(chance.IntN(3000)))
	}
}

// talk makes some frames of messages and commands; unless loose each is well-formed as a frame, whatever it says.
func talk(chance *rand.Rand, loose bool) (b []byte) {
	for range 1 + chance.IntN(5) {
		switch chance.IntN(8) {
		case 0, 1, 2:
			size := []int{0, 1, 10, 100, 254, 255, 256, 257, 1000, 8191, 70000}[chance.IntN(11)]
			b = appendFrame(b, 0, randomBytes(chance, size))
		case 3:
			for range 1 + chance.IntN(4) {
				b = appendFrame(b, 1, randomBytes(chance, chance.IntN(300)))
			}
			b = appendFrame(b, 0, nil)
		case 4:
			b = appendFrame(b, 0, append([]byte{byte(chance.IntN(3))}, randomBytes(chance, chance.IntN(30))...))
		case 5:
			command := commands[chance.IntN(len(commands))]
			b = appendFrame(b, 4, append([]byte(command), randomBytes(chance, chance.IntN(20))...))
		case 6:
			b = appendFrame(b, 4, append([]byte{byte(1 + chance.IntN(20))}, randomBytes(chance, 1+chance.IntN(40))...))
		case 7:
			if loose {
				b = append(b, byte(chance.Uint32()), byte(chance.Uint32()))
			}
		}
	}
	return b
}

var commands = []string{
	"\x04PING\x00\x00", "\x04PING\xff\xff", "\x04PING", "\x04PONG", "\x09SUBSCRIBE", "\x06CANCEL", "\x05ERROR\x03bad", "\x05ERROR\xff",
	"\x05READY", "\x05HELLO", "\x07MESSAGE", "\x08INITIATE", "\x05ERROR\x12red \x1b[31m\n\r\x00\xff alert",
}

func appendFrame(b []byte, flags byte, body []byte) []byte {
	if len(body) < 256 {
		return append(append(b, flags, byte(len(body))), body...)
	}
	return append(binary.BigEndian.AppendUint64(append(b, flags|2), uint64(len(body))), body...)
}

// older is what a peer of ZMTP 2.0 or 1.0 begins with.
func older(chance *rand.Rand, typ vtx.SocketType) []byte {
	id := randomBytes(chance, chance.IntN(20))
	if chance.IntN(2) == 0 {
		return append([]byte{byte(len(id) + 1), 0}, id...)
	}
	return append([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1, byte(typ), 0, byte(len(id))}, id...)
}

func randomBytes(chance *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(chance.Uint32())
	}
	return b
}

// bye ends a connection in one of the ways that there are.
func bye(conn net.Conn, chance *rand.Rand) error {
	tcp, ok := conn.(*net.TCPConn)
	switch how := chance.IntN(3); {
	case ok && how == 0:
		tcp.SetLinger(0)
	case how == 1:
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
			io.CopyN(io.Discard, conn, 10_000)
		}
	}
	if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
