package sasl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libvtx/libvtx/internal/network"
	"github.com/libvtx/libvtx/internal/zmtp"
	"github.com/libvtx/libvtx/vtx"
)

// attempt is one log-in: it waits, is looked at, and fails or succeeds. It returns how long it had to wait.
func attempt(f *failures, address, user string, right bool) (waited time.Duration, err error) {
	begun := time.Now()
	leave, err := f.enter(context.Background(), address, user)
	if err != nil {
		return time.Since(begun), err
	}
	defer leave()
	if !right {
		f.failed(address, user)
	}
	return time.Since(begun), nil
}

func TestFailuresSlowAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailures()
		next := func() (time.Duration, error) { return attempt(f, "192.0.2.1", "", false) }
		for i := range freeOfAddress {
			if d, err := next(); d != 0 || err != nil {
				t.Fatalf("attempt %d: %v %v", i, d, err)
			}
		}
		var waits []time.Duration
		for range 7 {
			d, err := next()
			if err != nil {
				t.Fatal(err)
			}
			waits = append(waits, d)
		}
		if fmt.Sprint(waits) != "[100ms 200ms 400ms 800ms 1.6s 2s 2s]" {
			t.Errorf("waits %v", waits)
		}
		if d, err := attempt(f, "192.0.2.2", "user1", true); d != 0 || err != nil {
			t.Errorf("another address: %v %v", d, err)
		}
		time.Sleep(10 * halving)
		if d, err := next(); d != 0 || err != nil {
			t.Errorf("after a while: %v %v", d, err)
		}
	})
}

// Of however many guesses that come at once, those are looked at that would have been one after the other: the free ones,
// and those for whom there is time, each after twice the wait of the one before it. The others are turned away.
func TestGuessesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailures()
		const guesses = 2000
		look := make(chan struct{}) // a handler that has not answered yet
		var inside, most atomic.Int64
		var mu sync.Mutex
		var waits []time.Duration
		turnedAway := 0
		var all sync.WaitGroup
		for i := range guesses {
			all.Go(func() {
				begun := time.Now()
				leave, err := f.enter(context.Background(), "192.0.2.1", fmt.Sprint("user", i))
				mu.Lock()
				if err != nil {
					denied(t, err, "300", "too many failed log-ins from 192.0.2.1")
					turnedAway++
				} else {
					waits = append(waits, time.Since(begun))
				}
				mu.Unlock()
				if err != nil {
					return
				}
				defer leave()
				most.Store(max(most.Load(), inside.Add(1)))
				<-look
				inside.Add(-1)
				f.failed("192.0.2.1", fmt.Sprint("user", i))
			})
		}
		synctest.Wait()
		if n := inside.Load(); n != freeOfAddress {
			t.Errorf("%d are being looked at", n)
		}
		close(look)
		all.Wait()
		slices.Sort(waits)
		if len(waits) != freeOfAddress+6 || turnedAway != guesses-len(waits) || waits[freeOfAddress-1] != 0 ||
			fmt.Sprint(waits[freeOfAddress:]) != "[100ms 300ms 700ms 1.5s 3.1s 5.1s]" {
			t.Errorf("%d were looked at, %d turned away; waits %v", len(waits), turnedAway, waits)
		}
		if most.Load() != freeOfAddress {
			t.Errorf("%d at a time", most.Load())
		}
		settled(t, f, "192.0.2.1", freeOfAddress+6)
	})
}

// settled wants that nobody is under way, and so many failures.
func settled(t *testing.T, f *failures, address string, failed int) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.addresses[network.Of(address)]
	switch {
	case l == nil && failed == 0:
	case l == nil || l.inside != 0 || len(l.waiting) != 0 || l.count != failed:
		t.Errorf("what is left of %s is %+v, want %d failures", address, l, failed)
	}
}

// A thousand clients of one account that come back together, from one address, all get in: as fast as passwords can be
// looked at, twenty at a time.
func TestAThousandClientsOfOneAccount(t *testing.T) {
	const clients, answers = 1000, 10 * time.Millisecond
	for _, from := range []string{"one", "many"} {
		t.Run(from, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFailures()
				begun := time.Now()
				var all sync.WaitGroup
				for i := range clients {
					address := "192.0.2.1"
					if from == "many" {
						address = fmt.Sprintf("10.0.%d.%d", i>>8, i&255)
					}
					all.Go(func() {
						leave, err := f.enter(context.Background(), address, "alice")
						if err != nil {
							t.Error(err)
							return
						}
						time.Sleep(answers)
						leave()
					})
				}
				all.Wait()
				want := answers
				if from == "one" {
					want = clients / freeOfAddress * answers
				}
				if d := time.Since(begun); d != want || len(f.addresses) != 0 {
					t.Errorf("it took %v, want %v; %d addresses are remembered", d, want, len(f.addresses))
				}
			})
		})
	}
}

// Where others of the address have failed, a success lets the next one go on, without the wait that its failure would
// have cost.
func TestSuccessMovesTheLineUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailures()
		for range freeOfAddress {
			attempt(f, "192.0.2.1", "", false)
		}
		var mu sync.Mutex
		var waits []time.Duration
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				d, err := attempt(f, "192.0.2.1", "alice", true)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				waits = append(waits, d)
			})
		}
		all.Wait()
		if fmt.Sprint(waits) != "[100ms 200ms 300ms 400ms 500ms 600ms]" {
			t.Errorf("waits %v", waits)
		}
		settled(t, f, "192.0.2.1", freeOfAddress)
	})
}

// Whoever leaves before it is decided, wherever it stands, leaves nothing behind, and the others move up.
func TestLeavingTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, failed := range []int{0, freeOfAddress - 1, freeOfAddress} {
			f := newFailures()
			for range failed {
				attempt(f, "192.0.2.1", "", false)
			}
			ctx, cancel := context.WithCancel(context.Background())
			var all sync.WaitGroup
			for range 40 {
				all.Go(func() {
					leave, err := f.enter(ctx, "192.0.2.1", "alice")
					if err != nil {
						var turnedAway *zmtp.DeniedError
						if err != context.Canceled && !errors.As(err, &turnedAway) {
							t.Error(err)
						}
						return
					}
					<-ctx.Done()
					leave()
				})
			}
			synctest.Wait()
			var stays sync.WaitGroup
			if failed < freeOfAddress {
				stays.Go(func() {
					if _, err := attempt(f, "192.0.2.1", "bob", true); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			cancel()
			stays.Wait()
			all.Wait()
			settled(t, f, "192.0.2.1", failed)
		}
	})
}

// Guesses at one name from many addresses slow down that name, and do not keep its owner out. That the owner has logged in
// changes nothing, or it could be seen.
func TestFailuresSlowAUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailures()
		for i := range 1000 {
			f.failed(fmt.Sprintf("10.0.%d.%d", i/256, i%256), "alice")
		}
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				if d, err := attempt(f, fmt.Sprint("192.0.2.", i), "alice", true); d != maxWait || err != nil {
					t.Errorf("alice: %v %v", d, err)
				}
			})
		}
		all.Wait()
		if d, _ := attempt(f, "192.0.2.1", "alice", true); d != maxWait {
			t.Errorf("alice, once she was in, waits %v", d)
		}
		if d, _ := attempt(f, "192.0.2.1", "bob", true); d != 0 {
			t.Errorf("bob waits %v", d)
		}
	})
}

// Whatever comes from however many addresses and names, the tables stay as they are; who fails most is not forgotten for
// it, nor who is being looked at.
func TestFailuresAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailures()
		for range 50 {
			f.failed("192.0.2.1", "alice")
		}
		leave, err := f.enter(context.Background(), "192.0.2.2", "bob")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 * maxRecords {
			f.failed(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), fmt.Sprint("user", i))
		}
		if len(f.addresses) > maxRecords || len(f.users) > maxRecords {
			t.Errorf("%d addresses and %d users", len(f.addresses), len(f.users))
		}
		if f.addresses["192.0.2.1"] == nil || f.users["alice"] == nil {
			t.Error("who has failed most is forgotten")
		}
		if f.addresses["192.0.2.2"] == nil {
			t.Error("who is being looked at is forgotten")
		}
		leave()
		settled(t, f, "192.0.2.2", 0)
	})
}

// A password waits before it is looked at, whether it is right or not; a log-in that ends meanwhile waits no longer, and
// is no failure.
func TestWaitComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t)
		for range freeOfAddress {
			s.failures.failed("127.0.0.1", "")
		}
		waited := func(password string) (time.Duration, error) {
			begun := time.Now()
			_, _, err := login(newTestClient(password).entry(&channel{}), s.entry(&channel{}, nil), nil)
			return time.Since(begun), err
		}
		if d, err := waited(password); err != nil || d != firstWait {
			t.Errorf("the right password: %v after %v", err, d)
		}
		if d, err := waited("wrong"); err == nil || d != firstWait {
			t.Errorf("a wrong one: %v after %v", err, d)
		}
		ctx, cancel := context.WithTimeout(context.Background(), firstWait/2)
		defer cancel()
		x := s.entry(&channel{}, nil)
		x.ctx = ctx
		if _, _, err := login(newTestClient("wrong").entry(&channel{}), x, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a log-in that has ended: %v", err)
		}
		settled(t, s.failures, "127.0.0.1", freeOfAddress+1)
	})
}

// Every mechanism that a password or a token can be guessed by stands in the line: a wrong one has failed before its
// client is told, one that the handler has not answered when the handshake ends has not.
func TestEveryMechanismIsCounted(t *testing.T) {
	const bearer = "\x0bOAUTHBEARER\x01n,a=bob,\x01auth=Bearer wrong\x01\x01"
	for what, auth := range map[string]string{"PLAIN": "\x05PLAIN\x01\x00bob\x00wrong", "OAUTHBEARER": bearer, "SCRAM": ""} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestServer(t)
				if auth != "" {
					s.users = nil
				}
				ctx, cancel := context.WithCancel(context.Background())
				answer := make(chan struct{})
				var asked atomic.Int64
				ask := vtx.Ask(func(string, ...[]byte) (string, error) {
					asked.Add(1)
					select {
					case <-answer:
						return "", &zmtp.DeniedError{Status: "400", Text: "no"}
					case <-ctx.Done():
						return "", ctx.Err()
					}
				})
				guess := func(ctx context.Context) {
					x := s.entry(&channel{tls: true}, ask)
					x.ctx = ctx
					if auth == "" {
						login(newTestClient("wrong").entry(&channel{}), x, nil)
						return
					}
					m := zmtp.NewSASLServer(x)
					m.Begin(nil)
					m.Next([]byte("\x04AUTH" + auth)) // and leaves
				}
				var all sync.WaitGroup
				if auth != "" {
					for range 100 {
						all.Go(func() { guess(ctx) })
					}
					synctest.Wait()
					if n := asked.Load(); n != freeOfAddress {
						t.Errorf("the handler has been asked %d times", n)
					}
					cancel()
					all.Wait()
					settled(t, s.failures, "127.0.0.1", 0)
					ctx = context.Background()
				}
				close(answer)
				for range 100 {
					all.Go(func() { guess(ctx) })
				}
				all.Wait()
				settled(t, s.failures, "127.0.0.1", freeOfAddress+6)
				cancel()
			})
		})
	}
}
