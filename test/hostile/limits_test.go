package hostile

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/internal/zmtp"
	"github.com/libvtx/libvtx/vtx"
)

const (
	hugeFrame = 4 << 30
	room      = 1 << 30 // of address space, beside what the victim has at the beginning
)

// Messages that are more than there is memory: who sends one loses its connection, and nobody else anything.
func TestNoMemory(t *testing.T) {
	each(t, streams, func(t *testing.T, x *transport) {
		for _, d := range x.some() {
			t.Run(d.name, func(t *testing.T) {
				s := newStage(t, x, d, []part{parts[0], parts[2]})
				s.victim.limit(unix.RLIMIT_AS, uint64(s.victim.virtual()+room))
				for range portion(5) {
					s.huge(d, "one frame", hugeFrame, 0)
					s.served()
					s.huge(d, "many parts", 4<<20, 1)
					s.served()
				}
			})
		}
	})
}

// some are the transport's doors; of a small share of the attack the first, since each of these takes seconds.
func (x *transport) some() (doors []*door) {
	for i := range x.doors {
		if i == 0 || *share >= 0.1 {
			doors = append(doors, &x.doors[i])
		}
	}
	return doors
}

// huge has several attackers send endless messages of frames of that size, until they are thrown out.
func (s *stage) huge(d *door, what string, size uint64, flags byte) {
	s.t.Helper()
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			wire, conn, session, err := s.enter(d, parts[0], uint32(i))
			if err != nil {
				s.t.Errorf("%s: %v", what, err)
				return
			}
			defer wire.Close()
			s.last.add(what, nil)
			piece := make([]byte, 1<<20)
			frame := append(binary.BigEndian.AppendUint64([]byte{flags | 2}, size), piece...)
			if session.Verbatim() && size == hugeFrame {
				conn.Write(frame[:9])
				frame = piece
			} else { // sealed frames and parts are as large as they are
				frame = session.Encode(nil, appendFrame(nil, flags, make([]byte, 4<<20)))
			}
			for sent := 0; sent < 2*room; sent += len(frame) {
				if _, err := conn.Write(frame); err != nil {
					if isTimeout(err) {
						s.t.Errorf("%s: the victim neither reads nor hangs up", what)
					}
					return
				}
			}
		})
	}
	all.Wait()
}

// enter comes in through a door as an attacker.
func (s *stage) enter(d *door, u part, from uint32) (wire, conn net.Conn, session *zmtp.Session, err error) {
	if wire, err = s.x.wire(s.at[u.typ], loopback(from)); err != nil {
		return nil, nil, nil, err
	}
	wire.SetDeadline(time.Now().Add(*patient))
	if conn = wire; s.x.over != nil {
		conn = s.x.over(s.k, wire)
	}
	session, err = zmtp.Handshake(conn, &zmtp.Config{SocketType: u.attacker.String(), Mechanism: d.open(s.k), MaxMessage: -1})
	if err != nil {
		wire.Close()
	}
	return wire, conn, session, err
}

// virtual is the size of its address space.
func (p *program) virtual() (bytes int) {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	fmt.Sscan(string(b), &bytes)
	return bytes * os.Getpagesize()
}

// More peers than descriptors: those who are there notice nothing, and when the crowd has gone others come in.
func TestNoDescriptors(t *testing.T) {
	each(t, streams, func(t *testing.T, x *transport) {
		s := newStage(t, x, firstDoor(x), []part{parts[0]})
		for round := range max(1, portion(10)) {
			s.victim.limit(unix.RLIMIT_NOFILE, uint64(s.victim.state()["fds"]+60))
			s.crowd(120)
			s.victim.limit(unix.RLIMIT_NOFILE, 20_000)
			s.newcomer(round)
		}
		s.settled(48<<10, 100)
	})
}

// crowd has n attackers come in, stay while the others are served, and go.
func (s *stage) crowd(n int) {
	s.t.Helper()
	var mu sync.Mutex
	var conns []net.Conn
	keep := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
	}
	var all sync.WaitGroup
	for hand := range 20 {
		all.Go(func() {
			for i := range n / 20 {
				wire, err := s.x.wire(s.at[vtx.Router], loopback(uint32(hand*n+i)))
				if err != nil {
					continue
				}
				keep(wire)
				wire.SetDeadline(time.Now().Add(500 * time.Millisecond)) // in vain, for most
				conn := wire
				if s.x.over != nil {
					conn = s.x.over(s.k, wire)
				}
				zmtp.Handshake(conn, &zmtp.Config{SocketType: "DEALER", Mechanism: firstDoor(s.x).open(s.k), MaxMessage: -1})
			}
		})
	}
	all.Wait()
	s.served()
	for _, c := range conns {
		c.Close()
	}
}

const bigMessages = 20_000

// The system has no memory for some of what peers cause: those may lose their connection, others nothing.
func TestMallocFails(t *testing.T) {
	each(t, streams, func(t *testing.T, x *transport) {
		for _, d := range x.some() {
			t.Run(d.name, func(t *testing.T) {
				env := []string{"LD_PRELOAD=" + mallocShim, fmt.Sprintf("HOSTILE_MALLOC=%d 30", *seed)}
				s := newStageAround(start(t, "the victim", env...), x, d, []part{parts[0], parts[1], parts[2], parts[5], parts[8]})
				n := max(200, portion(bigMessages))
				var all sync.WaitGroup
				for hand := range 4 {
					all.Go(func() { s.big(d, hand, n/4) })
				}
				all.Wait()
				s.served()
				for i := range 10 { // who come where others were thrown out
					s.newcomer(i)
				}
				s.settled(96<<10, 100)
			})
		}
	})
}

// big sends n large messages, and comes in again as often as it is thrown out.
func (s *stage) big(d *door, hand, n int) {
	random := chance(s.t, hand)
	use := []part{parts[0], parts[1], parts[2], parts[5], parts[8]}
	for n > 0 {
		wire, conn, session, err := s.enter(d, use[random.IntN(len(use))], uint32(hand))
		n--
		if err != nil {
			if strings.Contains(err.Error(), "refused") {
				s.t.Error(err)
				return
			}
			continue
		}
		go func() { // what is echoed has to be read
			buf := make([]byte, 1<<20)
			for {
				if _, err := conn.Read(buf); err != nil {
					return
				}
			}
		}()
		for range 1 + random.IntN(30) {
			body := make([]byte, 60_000+random.IntN(500_000))
			if _, err := conn.Write(session.Encode(nil, appendFrame(appendFrame(nil, 1, nil), 0, body))); err != nil {
				if isTimeout(err) {
					s.t.Errorf("a %v neither reads nor hangs up, in %d bytes of a body", session.SocketType, len(body))
					n = 0
				}
				break
			}
			n--
		}
		wire.Close()
	}
}
