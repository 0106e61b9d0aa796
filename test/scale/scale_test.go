// Package scale looks at one socket with very many peers over tcp: that each gets its share, that what one costs does not
// depend on how many there are, and that where there is no room for more, those who are there notice nothing. The tests
// are small; the benchmarks measure at full size, with 20,000 descriptors in each of two processes:
//
//	go test ./test/scale -run '^$' -bench . -benchtime 1x
package scale

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/libvtx/libvtx/drivers/all"
	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(crowdRole); role != "" {
		if err := crowdMain(role); err != nil {
			fmt.Fprintln(os.Stderr, "crowd:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// host is a context with a manager, as a program has them.
type host struct {
	*app.Context
	*vtx.Manager
	t testing.TB
}

func newHost(t testing.TB, sockets int) *host {
	t.Helper()
	c := app.NewContext(t)
	c.SetMaxSockets(sockets)
	m, err := vtx.NewManager(c.P)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Destroy() })
	return &host{c, m, t}
}

// bind makes a socket with marks of hwm, prepared by set, that is bound to tcp, and tells where.
func (h *host) bind(typ vtx.SocketType, hwm int, set ...func(*app.Socket)) (*app.Socket, string) {
	h.t.Helper()
	s := h.Context.Socket(h.t, int(typ))
	s.Set(zmq.SndHWM, hwm)
	s.Set(zmq.RcvHWM, hwm)
	s.Set(zmq.Backlog, 1000)
	for _, f := range set {
		f(s)
	}
	if err := h.Bind(s.P, "tcp://127.0.0.1:*"); err != nil {
		h.t.Fatal(err)
	}
	return s, h.meta(s, "endpoint")
}

// share sets pub.shared.
func (h *host) share(how string) {
	h.t.Helper()
	if err := h.SetOption(nil, "pub.shared", how); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) meta(s *app.Socket, name string) string {
	h.t.Helper()
	v, err := h.Meta(s.P, name)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

func (h *host) peers(s *app.Socket) int {
	h.t.Helper()
	n, err := strconv.Atoi(h.meta(s, "peers"))
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// dial adds n peers with names that begin with the one given, and closes them at the end.
func (h *host) dial(n int, endpoint, typ, name string) []*peer {
	h.t.Helper()
	var list []*peer
	for i := range n {
		p, err := dial(endpoint, typ, fmt.Sprint(name, "-", i))
		if err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(func() { p.Close() })
		p.SetDeadline(time.Now().Add(2 * app.Patience)) // a test fails instead of hanging
		list = append(list, p)
	}
	return list
}

// stats is one of the socket's counters.
func (h *host) stats(s *app.Socket, read func(vtx.Stats) int64) int {
	h.t.Helper()
	var all vtx.Stats
	if err := json.Unmarshal([]byte(h.meta(s, "stats")), &all); err != nil {
		h.t.Fatal(err)
	}
	return int(read(all))
}

// status reads a number of /proc/self/status: "Threads", "RssAnon" in KiB.
func status(t testing.TB, name string) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			fmt.Sscan(value, &n)
		}
	}
	return n
}
