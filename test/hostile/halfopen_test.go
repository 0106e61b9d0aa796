package hostile

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/vtx"
)

const (
	halfOpen   = 5000
	handshakes = 256 // that a binding keeps: the option's default
)

// Connections that say nothing or half a hello, and stay. Whoever is honest comes in beside them, from the first to the
// last of them, and they take no more descriptors than a binding allows. They come from one address, and from as many
// as there are of them.
func TestHalfOpen(t *testing.T) {
	each(t, streams, func(t *testing.T, x *transport) {
		for _, many := range []bool{false, true} {
			if many && x.name == "ipc" {
				continue // where everybody is at one address
			}
			t.Run(map[bool]string{false: "one address", true: "many addresses"}[many], func(t *testing.T) { attackHalfOpen(t, x, many) })
		}
	})
}

func attackHalfOpen(t *testing.T, x *transport, many bool) {
	n := portion(halfOpen)
	if n = max(n, 2*handshakes); n > ownDescriptors(t)-200 {
		t.Fatalf("ulimit -n is too low for %d connections", n)
	}
	s := newStage(t, x, &x.doors[0], []part{parts[0]})
	s.victim.limit(unix.RLIMIT_NOFILE, 20_000)
	random, hello := chance(t, 0), x.hello(t, s.k)
	conns := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	worst, newcomers := 0, 0
	for i := range n {
		from := net.IPv4(127, 1, 1, 1)
		if many {
			from = loopback(uint32(i))
		}
		conn, err := x.wire(s.at[vtx.Router], from)
		if err != nil {
			s.fail("connection %d: %v", i, err)
		}
		conns = append(conns, conn)
		conn.Write(hello[:random.IntN(len(hello))])
		if i%(n/10) == n/10-1 {
			newcomers++
			s.newcomer(newcomers)
			worst = max(worst, s.victim.state()["fds"]-s.begun["fds"])
		}
	}
	s.served()
	t.Logf("%d half-open connections take %d descriptors", n, worst)
	// Each newcomer stays, and has a connection and a pipe of its own
	if most := handshakes + 2*newcomers + 60; worst > most {
		t.Errorf("%d descriptors more than before are open, of which at most %d half-open connections should take", worst, handshakes)
	}
	for _, c := range conns {
		c.Close()
	}
	s.settled(48<<10, 2*newcomers+60)
}

// newcomer is a legitimate peer who comes now.
func (s *stage) newcomer(n int) {
	s.t.Helper()
	s.befriend(s.peers[0], s.door, parts[0], false, fmt.Sprintf("ROUTER-new%d", n))
	s.served()
}

func ownDescriptors(t testing.TB) int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	return int(l.Cur)
}
