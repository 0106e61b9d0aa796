package interop

import (
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
)

// silent is no library: its sockets connect as often as the option n says, and say nothing. It runs in a child, since
// each connection takes a descriptor at either end.
type silent struct{}

func (silent) name() string             { return "silent" }
func (silent) lacks(what string) string { return "" }

func (silent) open(t testing.TB, typ vtx.SocketType, o options) socket {
	n, _ := strconv.Atoi(o["n"])
	return &silentSocket{n: n}
}

type silentSocket struct {
	n     int
	conns []net.Conn
}

func (s *silentSocket) connect(endpoint string) error {
	network, at := address(endpoint)
	for len(s.conns) < s.n {
		conn, err := net.Dial(network, at)
		if err != nil {
			return err
		}
		s.conns = append(s.conns, conn)
	}
	return nil
}

// recv waits until all have been hung up on.
func (s *silentSocket) recv(within time.Duration) ([]string, error) {
	end := time.Now().Add(within)
	for _, c := range s.conns {
		c.SetReadDeadline(end)
		for b := make([]byte, 100); ; {
			if _, err := c.Read(b); errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, errNothing
			} else if err != nil {
				break
			}
		}
	}
	return []string{"all"}, nil
}

func (s *silentSocket) close() {
	for _, c := range s.conns {
		c.Close()
	}
}

var errSilent = errors.New("it is silent")

func (*silentSocket) bind(string) error        { return errSilent }
func (*silentSocket) subscribe(string) error   { return errSilent }
func (*silentSocket) unsubscribe(string) error { return errSilent }
func (*silentSocket) send(...string) error     { return errSilent }

// TestSilentCrowd: ten thousand connections that say nothing keep nobody out, and leave nothing behind.
func TestSilentCrowd(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := min(10000, int(limit.Cur)-1000)
	if n < 100 {
		t.Skipf("only %d descriptors", limit.Cur)
	}
	t.Logf("%d connections, of %d descriptors", n, limit.Cur)
	for name, o := range map[string]options{"they leave": {"backlog": "1000"}, "thrown out": {"backlog": "1000", "handshake_ivl": "3000"}} {
		t.Run(name, func(t *testing.T) {
			v := newVictim(t, o)
			before := descriptors(t)
			c := spawnGo(t, silent{})
			crowd := start(t, c, vtx.Pair, options{"n": strconv.Itoa(n)})
			crowd.connect(v.at)
			v.alive()
			late := start(t, pebbe{}, vtx.Dealer, named("late"))
			late.connect(v.at)
			late.send("among them")
			v.us.want("late", "among them")
			v.alive()
			if name == "they leave" {
				c.kill()
			} else {
				if m, err := crowd.s.recv(*patience); err != nil {
					t.Fatalf("they were not all thrown out: %v %v", m, err)
				}
				v.events.await(handshakeFails...)
			}
			app.Eventually(t, "their descriptors are closed", func() bool { return descriptors(t) < before+100 })
			v.alive()
			v.ours.peers(t, 2)
		})
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(all)
}
