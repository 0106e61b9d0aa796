package scale

import (
	"fmt"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
)

// fair is a ROUTER with small marks among whose peers some send as much as they can.
type fair struct {
	*host
	router      *app.Socket
	at          string
	quiet, busy []*peer
}

const (
	fairHWM  = 10
	fairBody = 1000 // of a busy peer's message, in bytes
	// pipeRoom is what fits between a link and the application, in messages: the marks of both ends.
	pipeRoom = 2 * fairHWM
	// turn is the most that a link delivers before it is another's turn, in messages: so many reads of so much.
	turn = 4 * 128 << 10 / fairBody
)

func newFair(t testing.TB, quiet, busy, others int) *fair {
	t.Helper()
	h := newHost(t, quiet+busy+others+200)
	f := &fair{host: h}
	f.router, f.at = h.bind(vtx.Router, fairHWM)
	f.quiet, f.busy = h.dial(quiet, f.at, "DEALER", "quiet"), h.dial(busy, f.at, "DEALER", "busy")
	return f
}

// flood has the busy ones send until they are closed.
func (f *fair) flood() {
	load := []byte(strings.Repeat(string(framed(strings.Repeat("x", fairBody))), 50))
	for _, p := range f.busy {
		go func() {
			for _, err := p.Write(load); err == nil; _, err = p.Write(load) {
			}
		}()
	}
}

// While the application does not look, busy peers fill what is theirs and keep nobody else out; when it looks, nobody's
// first message is behind another's second.
func TestQuietPeersAreNotLockedOut(t *testing.T) {
	f := newFair(t, 480, 20, 0)
	f.flood()
	waiting := func(n int) func() bool {
		return func() bool { return f.stats(f.router, func(s vtx.Stats) int64 { return s.MessagesIn }) == n }
	}
	full := len(f.busy) * pipeRoom
	app.Eventually(t, "the busy ones' room is full", waiting(full))
	for _, p := range f.quiet {
		if err := p.send("ask"); err != nil {
			t.Fatal(err)
		}
	}
	app.Eventually(t, "all that the quiet ones ask is there", waiting(full+len(f.quiet)))
	asked := make(map[string]bool)
	for n := 1; len(asked) < len(f.quiet); n++ {
		if m := f.router.Recv(); m[1] == "ask" {
			asked[m[0]] = true
		}
		if most := len(f.quiet) + 2*len(f.busy); n > most {
			t.Fatalf("after %d messages only %d of %d quiet peers were heard", n, len(asked), len(f.quiet))
		}
	}
	for id := range asked {
		f.router.Send(id, "answer")
	}
	for _, p := range f.quiet {
		if m, err := p.recv(); err != nil || m != "answer" {
			t.Fatalf("received %q: %v", m, err)
		}
	}
}

// While the application takes what comes as fast as it can, each quiet peer is heard before the others have had more than
// two turns, and the busy ones get the same.
func TestQuietPeersAreHeard(t *testing.T) {
	fairShares(t, newFair(t, 480, 20, 0), 100)
}

// fairShares has one quiet peer after the other ask, every so many messages of the busy ones. The application itself
// writes to the peer's connection, so that it knows how many messages it had received then.
func fairShares(t testing.TB, f *fair, every int) {
	t.Helper()
	f.flood()
	share := make(map[string]int)
	asked := make(map[string]int)
	next, answered, worst := 0, 0, 0
	for n := 0; answered < len(f.quiet); n++ {
		if n%every == 0 && next < len(f.quiet) {
			asked[fmt.Sprint("quiet-", next)] = n
			if err := f.quiet[next].send("ask"); err != nil {
				t.Fatal(err)
			}
			next++
		}
		m := f.router.Recv()
		if m[1] != "ask" {
			share[m[0]]++
			continue
		}
		if at, ours := asked[m[0]]; ours {
			worst = max(worst, n-at)
			answered++
		}
		f.router.Send(m[0], "answer")
	}
	for _, p := range f.quiet {
		if m, err := p.recv(); err != nil || m != "answer" {
			t.Fatalf("received %q: %v", m, err)
		}
	}
	if most := len(f.busy) * (pipeRoom + 2*turn); worst > most {
		t.Errorf("a quiet peer was heard after %d messages of others, want at most %d", worst, most)
	}
	least, most, sum := 1<<60, 0, 0
	for i := range f.busy {
		n := share[fmt.Sprint("busy-", i)]
		least, most, sum = min(least, n), max(most, n), sum+n
	}
	mean := sum / len(f.busy)
	t.Logf("a quiet peer was heard after at most %d messages of others; a busy one had %d to %d, %d in the mean", worst, least, most, mean)
	if least < mean/2 || most > 2*mean {
		t.Errorf("a busy peer had %d to %d messages, %d in the mean", least, most, mean)
	}
}
