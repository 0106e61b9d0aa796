package sasl

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// clock is a time that the test moves.
type clock struct{ time.Time }

func newTestFailures() (*failures, *clock) {
	f, c := newFailures(), &clock{time.Unix(1e9, 0)}
	f.now = func() time.Time { return c.Time }
	f.wait = func(context.Context, time.Duration) error { panic("nobody is to wait") }
	return f, c
}

func TestFailuresSlowAnAddress(t *testing.T) {
	f, c := newTestFailures()
	for i := range freeOfAddress {
		if d, err := f.reserve("192.0.2.1", ""); d != 0 || err != nil {
			t.Fatalf("attempt %d: %v %v", i, d, err)
		}
		f.failed("192.0.2.1", fmt.Sprint("user", i))
	}
	// One after the other, each twice as long, and at last none.
	var waits []time.Duration
	var end time.Duration
	for range 100 {
		d, err := f.reserve("192.0.2.1", "")
		if err != nil {
			denied(t, err, "300", "too many failed log-ins from 192.0.2.1")
			break
		}
		waits, end = append(waits, d), d
		f.failed("192.0.2.1", "")
	}
	if fmt.Sprint(waits) != "[100ms 300ms 700ms 1.5s 3.1s 5.1s]" {
		t.Errorf("waits %v", waits)
	}
	if d, err := f.reserve("192.0.2.2", "user1"); d != 0 || err != nil {
		t.Errorf("another address: %v %v", d, err)
	}
	c.Time = c.Add(end)
	if d, err := f.reserve("192.0.2.1", ""); d != maxWait || err != nil {
		t.Errorf("when the queue is done: %v %v", d, err)
	}
	c.Time = c.Add(10 * halving)
	if d, err := f.reserve("192.0.2.1", ""); d != 0 || err != nil {
		t.Errorf("after a while: %v %v", d, err)
	}
}

// Guesses at one name from many addresses slow down that name, and do not keep its owner out.
func TestFailuresSlowAUser(t *testing.T) {
	f, _ := newTestFailures()
	for i := range 1000 {
		f.failed(fmt.Sprintf("10.0.%d.%d", i/256, i%256), "alice")
	}
	for range 10 {
		if d, err := f.reserve("192.0.2.1", "alice"); d != maxWait || err != nil {
			t.Errorf("alice: %v %v", d, err)
		}
	}
	if d, _ := f.reserve("192.0.2.1", "bob"); d != 0 {
		t.Errorf("bob waits %v", d)
	}
	f.succeeded("alice")
	if d, _ := f.reserve("192.0.2.1", "alice"); d != 0 {
		t.Errorf("alice, once she was in: %v", d)
	}
}

// Whatever comes from however many addresses and names, the tables stay as they are; who fails most is not forgotten for it.
func TestFailuresAreBounded(t *testing.T) {
	f, _ := newTestFailures()
	for range 50 {
		f.failed("192.0.2.1", "alice")
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
}

func TestNetworks(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "": "", "somewhere": "somewhere",
	} {
		if got := network(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

// A password waits before it is looked at, whether it is right or not; a log-in that ends meanwhile waits no longer.
func TestWaitComesFirst(t *testing.T) {
	s := newTestServer(t)
	for range freeOfAddress {
		s.failures.failed("127.0.0.1", "")
	}
	var mu sync.Mutex
	var waits []time.Duration
	s.failures.wait = func(_ context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		waits = append(waits, d)
		return nil
	}
	if _, _, err := login(newTestClient(password).entry(&channel{}), s.entry(&channel{}, nil), nil); err != nil || len(waits) != 1 {
		t.Errorf("the right password: %v, waits %v", err, waits)
	}
	if _, _, err := login(newTestClient("wrong").entry(&channel{}), s.entry(&channel{}, nil), nil); err == nil || len(waits) != 2 {
		t.Errorf("a wrong one: %v, waits %v", err, waits)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := newFailures().wait(ctx, time.Hour); err != context.Canceled {
		t.Errorf("a log-in that has ended: %v", err)
	}
}
