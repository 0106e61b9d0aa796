// Package soak runs everything at once for a while: sockets that stay and sockets that come and go, of every
// pattern, over udp:// on loopback, and looks at what the process has grown to. It is short unless asked:
// ./build.sh soak SECONDS.
package soak

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/libvtx/libvtx/drivers/all"
	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
)

var seconds = flag.Int("seconds", 3, "how long to load")

// size is what must not grow.
type size struct {
	memory, descriptors, goroutines int // memory in KiB, resident
}

func measure(t *testing.T) size {
	t.Helper()
	runtime.GC()
	s := size{goroutines: runtime.NumGoroutine()}
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	s.descriptors = len(list)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmRSS: %d kB", &s.memory)
	}
	return s
}

func TestSoak(t *testing.T) {
	c := app.NewContext(t)
	m, err := vtx.NewManager(c.P)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Destroy() })
	// NOM-1 has no goodbye: a client that has gone is held for as long as its silence is tolerated.
	if err := m.SetOption(nil, "udp.timeout", "1000"); err != nil {
		t.Fatal(err)
	}
	open := func(typ vtx.SocketType) *app.Socket { return c.Socket(t, int(typ)) }
	bind := func(s *app.Socket) string {
		if err := m.Bind(s.P, "udp://127.0.0.1:*"); err != nil {
			t.Fatal(err)
		}
		endpoint, err := m.Meta(s.P, "endpoint")
		if err != nil {
			t.Fatal(err)
		}
		return endpoint
	}

	// Servers stay. Each has one goroutine, as a socket must.
	stop := make(chan struct{})
	var servers, clients sync.WaitGroup
	serve := func(typ vtx.SocketType, step func(*app.Socket)) string {
		s := open(typ)
		endpoint := bind(s)
		servers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					step(s)
				}
			}
		})
		return endpoint
	}
	rep := serve(vtx.Rep, func(s *app.Socket) {
		if q, err := s.RecvWithin(50 * time.Millisecond); err == nil {
			s.TrySend(false, q...)
		}
	})
	router := serve(vtx.Router, func(s *app.Socket) {
		if q, err := s.RecvWithin(50 * time.Millisecond); err == nil {
			s.TrySend(false, q...)
		}
	})
	pull := serve(vtx.Pull, func(s *app.Socket) { s.RecvWithin(50 * time.Millisecond) })
	pub := serve(vtx.Pub, func(s *app.Socket) {
		s.TrySend(false, "topic", strings.Repeat("x", 100))
		s.RecvWithin(0)
		time.Sleep(100 * time.Microsecond) // a load that leaves room for the others
	})

	// Clients come, work for a while, and go.
	var exchanges atomic.Int64
	end := time.Now().Add(time.Duration(*seconds) * time.Second)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	client := func(n uint64) {
		r := rand.New(rand.NewPCG(seed, n))
		for time.Now().Before(end) {
			kind := r.IntN(4)
			s := open([]vtx.SocketType{vtx.Req, vtx.Dealer, vtx.Push, vtx.Sub}[kind])
			if kind == 3 {
				s.SetString(6, "topic")
			}
			if err := m.Connect(s.P, []string{rep, router, pull, pub}[kind]); err != nil {
				t.Error(err)
				return
			}
			for i := range 1 + r.IntN(300) {
				if kind != 3 {
					s.TrySend(false, fmt.Sprint(i), strings.Repeat("y", r.IntN(400)))
				}
				if kind != 2 {
					if _, err := s.RecvWithin(time.Second); err != nil {
						break
					}
				}
				exchanges.Add(1)
			}
			s.Forget()
			if err := m.Close(s.P); err != nil {
				t.Error(err)
				return
			}
		}
	}
	for n := range uint64(4) {
		clients.Go(func() { client(n) })
	}
	time.Sleep(time.Until(end) / 3) // everything has been in use by now; from here it must be steady
	early := measure(t)
	clients.Wait()
	late := measure(t)
	close(stop)
	servers.Wait()
	t.Logf("%d exchanges; early %+v, late %+v", exchanges.Load(), early, late)
	if exchanges.Load() == 0 {
		t.Error("nothing happened")
	}
	if late.memory > early.memory+early.memory/2+32<<10 || late.descriptors > early.descriptors+100 || late.goroutines > early.goroutines+100 {
		t.Error("the process has grown")
	}
}
