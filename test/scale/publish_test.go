package scale

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

const optXPubVerbose = 40

// newPublisher makes an XPUB that n subscribers of everything have subscribed to. shared is its pub.shared.
func newPublisher(t testing.TB, n, hwm int, shared string) (*host, *app.Socket, []*peer) {
	t.Helper()
	h := newHost(t, n+200)
	h.share(shared)
	// The system is to hold little, so that much is written in pieces
	pub, at := h.bind(vtx.XPub, hwm, func(s *app.Socket) { s.Set(zmq.SndBuf, 32<<10) })
	pub.Set(optXPubVerbose, 1) // it tells of each
	subs := h.dial(n, at, "SUB", "sub")
	for _, s := range subs {
		if err := s.send("\x01"); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		pub.Want("\x01")
	}
	return h, pub, subs
}

// Every subscriber gets every message of bursts that fit under the marks, in order, while one does not read: that misses
// what does not fit, and no more.
func TestBurstsReachAllSubscribers(t *testing.T) {
	for _, shared := range []string{"off", "drop"} {
		t.Run(shared, func(t *testing.T) { testBursts(t, shared) })
	}
}

func testBursts(t *testing.T, shared string) {
	const n, burst, bursts = 300, 100, 10
	const hwm = 4 * burst
	body := strings.Repeat("x", 20000)
	_, pub, subs := newPublisher(t, n, hwm, shared)
	slow, subs := subs[0], subs[1:]
	want := func(s *peer, i int) error {
		m, err := s.recv()
		if start := fmt.Sprint(i, " "); err == nil && !strings.HasPrefix(m, start) {
			return fmt.Errorf("message %.20q, want %q", m, start)
		}
		return err
	}
	for b := range bursts {
		var all sync.WaitGroup
		for _, s := range subs {
			all.Go(func() {
				for i := range burst {
					if err := want(s, b*burst+i); err != nil {
						t.Errorf("burst %d: %v", b, err)
						return
					}
				}
			})
		}
		for i := range burst {
			size := len(body)
			if i < burst*3/4 { // or it takes long
				size = 100
			}
			pub.Send(fmt.Sprint(b*burst+i, " ", body[:size]))
		}
		if all.Wait(); t.Failed() {
			return
		}
	}
	for i := range hwm {
		if err := want(slow, i); err != nil {
			t.Fatalf("the slow one: %v", err)
		}
	}
}
