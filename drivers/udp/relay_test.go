package udp

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libvtx/libvtx/drivers/udp/udprelay"
	"github.com/libvtx/libvtx/vtx"
)

func relay(t *testing.T, b *bound, cfg udprelay.Config) *udprelay.Relay {
	t.Helper()
	cfg.Target, cfg.Seed = b.to, rand.Uint64()
	t.Logf("seed %d", cfg.Seed)
	r, err := udprelay.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		t.Logf("relay: %+v", r.Stats())
	})
	return r
}

// Every request is handled once and answered once, whatever the network does to it.
func TestRequestsSurviveLoss(t *testing.T) {
	const clients, each = 8, 1250
	b := bind(t, vtx.Rep, optTimeout, "30000")
	var mu sync.Mutex
	handled := map[string]int{}
	b.serve(func(l *link, s *sink) {
		for i := 0; ; i++ {
			next := s.next()
			for s.count() <= i {
				select {
				case <-next:
					next = s.next()
				case <-l.Done():
					return
				}
			}
			request := s.all()[i]
			mu.Lock()
			handled[request]++
			mu.Unlock()
			_ = l.Send(batch("|re:" + strings.TrimPrefix(request, "|")))
		}
	})
	r := relay(t, b, udprelay.Config{Drop: 0.2, Duplicate: 0.1, Delay: 0.1})
	var all sync.WaitGroup
	for c := range clients {
		s := newSink()
		l := dialTo(t, vtx.Req, r.Addr(), optResend, "5", optTimeout, "30000").dial(t, s)
		all.Go(func() {
			for i := range each {
				request := fmt.Sprintf("%d of %d", i, c)
				if err := l.Send(batch("|" + request)); err != nil {
					t.Error(err)
					return
				}
				s.until(t, "an answer", func() bool { return s.count() > i })
				if got := s.all()[i]; got != "|re:"+request {
					t.Errorf("%q answered by %q", request, got)
					return
				}
			}
		})
	}
	all.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(handled) != clients*each {
		t.Errorf("%d requests handled, %d sent", len(handled), clients*each)
	}
	for request, n := range handled {
		if n != 1 {
			t.Errorf("%q handled %d times", request, n)
		}
	}
}

// Best effort, but never twice, and what is missing is counted.
func TestOneWayMessagesAreNeverDoubled(t *testing.T) {
	const n = 5000
	b := bind(t, vtx.Push)
	r := relay(t, b, udprelay.Config{Drop: 0.1, Duplicate: 0.2, Delay: 0.2, HoldTime: time.Hour})
	s := newSink()
	d := dialTo(t, vtx.Pull, r.Addr())
	c := d.later(t, s)
	l := b.accept(t, newSink())
	to := got(t, c)
	arrived := func() int {
		to.ext.tick(to, clock()+int64(lateAfter)) // what is missing now is lost
		return s.count() + d.rep.dropped(vtx.DropLost)
	}
	for i := range n + 64 { // the last ones' fate stays open
		send(t, l, fmt.Sprintf("message %d", i))
		if i%50 == 49 { // at a pace that overflows no buffer
			s.until(t, "what was sent", func() bool { return arrived() >= i-49 })
		}
	}
	s.until(t, "the end", func() bool { return arrived() >= n })
	seen := map[string]bool{}
	for _, m := range s.all() {
		if seen[m] {
			t.Errorf("%q twice", m)
		}
		seen[m] = true
	}
	t.Logf("%d of %d delivered, %d counted as lost", len(seen), n, d.rep.dropped(vtx.DropLost))
}
