package sasl_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmtp"
	"github.com/libvtx/libvtx/vtx"
)

// guesser is a client that has no password, and computes none.
type guesser struct{ user string }

func (g *guesser) Start([]string) (string, []byte, error) {
	return "SCRAM-SHA-256", []byte("n,,n=" + g.user + ",r=abc"), nil
}

func (g *guesser) Next(challenge []byte) ([]byte, error) {
	nonce, _, _ := strings.Cut(string(challenge), ",")
	return []byte("c=biws," + nonce + ",p=" + strings.Repeat("A", 43) + "="), nil
}

func (g *guesser) Finish([]byte) error { return nil }

// guess tries to log in from an address, and returns what the server says.
func guess(from net.IP, endpoint, user string) error {
	return handshake(from, endpoint, &guesser{user: user})
}

func handshake(from net.IP, endpoint string, exchange zmtp.SASLClient) error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	ctx, cancel := context.WithTimeout(context.Background(), app.Patience)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp4", endpoint[strings.Index(endpoint, "//")+2:])
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(app.Patience))
	_, err = zmtp.Handshake(c, &zmtp.Config{SocketType: "DEALER", Mechanism: zmtp.NewSASLClient(exchange), MaxMessage: -1})
	return err
}

// 10,000 guesses, from many addresses and from one, at many names and at one: all are refused, the one address is slowed
// down and turned away, nothing hangs or piles up, and who has a password logs in meanwhile and afterwards.
func TestTenThousandFailedLogins(t *testing.T) {
	near, far := newHost(t), newHost(t)
	router := near.end(vtx.Router, options{"sasl.verifiers": verifiers(t, "alice", "pencil")})
	endpoint := router.bind("sasl")
	elsewhere := strings.Replace(endpoint, "//", "//127.0.0.2:0;", 1)
	alice := func(text string) {
		t.Helper()
		good := far.end(vtx.Dealer, options{"sasl.username": "alice", "sasl.password": "pencil"})
		good.connect(elsewhere)
		good.Send(text)
		if got := router.Recv(); got[1] != text {
			t.Errorf("received %q", got)
		}
		if err := far.Close(good.P); err != nil {
			t.Error(err)
		}
		good.Forget()
	}
	alice("before")

	var told atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // or the monitor's queue would be full of the first ones
		defer close(stopped)
		for {
			frames, err := router.events.RecvWithin(10 * time.Millisecond)
			if err == nil && len(frames) > 2 && strings.Contains(frames[2], "too many failed log-ins from 127.0.0.1") {
				told.Add(1)
			}
			select {
			case <-stop:
				if err != nil {
					return
				}
			default:
			}
		}
	}()

	const guesses, workers = 10_000, 16
	var denied, turnedAway, other atomic.Int64
	crowd := func(count int, from func(i int) net.IP, user func(i int) string) {
		var next atomic.Int64
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				for {
					i := int(next.Add(1)) - 1
					if i >= count {
						return
					}
					err := guess(from(i), endpoint, user(i))
					var refused *zmtp.RefusedError
					switch {
					case errors.As(err, &refused) && refused.Reason == "400":
						denied.Add(1)
					case err != nil && refused == nil:
						turnedAway.Add(1)
					default:
						other.Add(1)
						t.Errorf("guess %d: %v", i, err)
					}
				}
			})
		}
		all.Wait()
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()

	// A few from each of many, at names that nobody has.
	crowd(9000, func(i int) net.IP { return net.IPv4(127, 1, byte(i/2>>8), byte(i/2)) }, func(i int) string { return fmt.Sprint("nobody", i) })
	if denied.Load() != 9000 {
		t.Errorf("of 9,000 guesses, %d were refused and %d turned away", denied.Load(), turnedAway.Load())
	}
	alice("between")
	// and many from one.
	crowd(guesses-9000, func(int) net.IP { return net.IPv4(127, 0, 0, 1) }, func(i int) string { return fmt.Sprint("nobody", i) })
	if n := denied.Load() - 9000; n < 20 || n > 100 || turnedAway.Load() != guesses-9000-n {
		t.Errorf("of 1,000 guesses from one address, %d were looked at and %d turned away", n, turnedAway.Load())
	}
	alice("afterwards")
	close(stop)
	<-stopped
	if told.Load() == 0 || other.Load() > 0 {
		t.Errorf("the monitor was told of %d; %d guesses had another end", told.Load(), other.Load())
	}
	app.Eventually(t, "the connections are gone", func() bool { return runtime.NumGoroutine() <= goroutines+8 })
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
}

// waitingGuesser answers when all have been asked.
type waitingGuesser struct {
	guesser
	asked *sync.WaitGroup
}

func (g *waitingGuesser) Next(challenge []byte) ([]byte, error) {
	g.asked.Done()
	g.asked.Wait()
	return g.guesser.Next(challenge)
}

// Guesses that are all there before the first is looked at get no further than guesses one after the other, and whoever
// has a password comes in from elsewhere meanwhile.
func TestGuessesSideBySide(t *testing.T) {
	near, far := newHost(t), newHost(t)
	router := near.end(vtx.Router, options{"sasl.verifiers": verifiers(t, "alice", "pencil")})
	endpoint := router.bind("sasl")
	const guesses = 200
	var asked, all sync.WaitGroup
	asked.Add(guesses)
	var denied, turnedAway atomic.Int64
	for i := range guesses {
		all.Go(func() {
			err := handshake(net.IPv4(127, 0, 0, 1), endpoint, &waitingGuesser{guesser{fmt.Sprint("nobody", i)}, &asked})
			var refused *zmtp.RefusedError
			switch {
			case errors.As(err, &refused) && refused.Reason == "400":
				denied.Add(1)
			case err != nil && refused == nil:
				turnedAway.Add(1)
			default:
				t.Errorf("guess %d: %v", i, err)
			}
		})
	}
	asked.Wait()
	good := far.end(vtx.Dealer, options{"sasl.username": "alice", "sasl.password": "pencil"})
	good.connect(strings.Replace(endpoint, "//", "//127.0.0.2:0;", 1))
	talk(router, good)
	all.Wait()
	if n := denied.Load(); n < 20 || n > 60 || // 26, and more if the machine is slow
		turnedAway.Load() != guesses-n {
		t.Errorf("%d were looked at, %d turned away", n, turnedAway.Load())
	}
}
