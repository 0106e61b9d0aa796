package sasl

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/libvtx/libvtx/internal/zmtp"
)

// failures counts failed log-ins at one binding, by the peer's address and by the user's name, and slows down who goes on
// failing. A right password waits as long as a wrong one, so that the wait tells nothing. Its methods may be called from
// any goroutine.
//
// An address has freeOfAddress failures, and a name freeOfUser; each further one doubles the wait before the next password
// is looked at, up to maxWait. Those of one address wait one after the other, so that it gains nothing by many connections;
// where the queue is longer than maxQueue they are turned away, to come back later. Those of one name do not: who knows a
// name could else keep its owner out. Each minute without a failure halves the count.
type failures struct {
	now  func() time.Time
	wait func(context.Context, time.Duration) error

	mu        sync.Mutex
	addresses map[string]*record
	users     map[string]*record
}

// record is what is known of one address or name.
type record struct {
	count int
	since time.Time // the last failure, or the last halving
	next  time.Time // the queue's end
}

const (
	freeOfAddress = 20
	freeOfUser    = 5
	firstWait     = 100 * time.Millisecond
	maxWait       = 2 * time.Second
	maxQueue      = 6 * time.Second
	halving       = time.Minute
	// maxRecords bounds each table; in a full one the new record takes the place of a small one.
	maxRecords = 4096
)

func newFailures() *failures {
	return &failures{
		now: time.Now, addresses: make(map[string]*record), users: make(map[string]*record),
		wait: func(ctx context.Context, d time.Duration) error {
			t := time.NewTimer(d)
			defer t.Stop()
			select {
			case <-t.C:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}
}

// pause waits until a password may be looked at. Errors: *zmtp.DeniedError, ctx's.
func (f *failures) pause(ctx context.Context, address, user string) error {
	d, err := f.reserve(address, user)
	if err != nil || d == 0 {
		return err
	}
	return f.wait(ctx, d)
}

func (f *failures) reserve(address, user string) (time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	var d time.Duration
	if r := f.users[user]; r != nil {
		d = r.delay(now, freeOfUser)
	}
	r := f.addresses[network(address)]
	if r == nil {
		return d, nil
	}
	step := r.delay(now, freeOfAddress)
	if step == 0 {
		return d, nil
	}
	at := now
	if r.next.After(now) {
		at = r.next
	}
	at = at.Add(step)
	if at.Sub(now) > maxQueue {
		return 0, &zmtp.DeniedError{Status: "300", Text: fmt.Sprintf("too many failed log-ins from %s (%d): it has to come back later", address, r.count)}
	}
	r.next = at
	return max(d, at.Sub(now)), nil
}

// failed counts, and returns the counts. user is "" where nobody knows it.
func (f *failures) failed(address, user string) (ofAddress, ofUser int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	ofAddress = count(f.addresses, network(address), now)
	if user != "" {
		ofUser = count(f.users, user, now)
	}
	return ofAddress, ofUser
}

// succeeded forgets what others have done in a user's name. The address keeps its count: else whoever has one password
// could guess others for ever.
func (f *failures) succeeded(user string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.users, user)
}

// delay is how long the next one has to wait.
func (r *record) delay(now time.Time, free int) time.Duration {
	r.age(now)
	switch n := r.count - free; {
	case n < 0:
		return 0
	case n > 10:
		return maxWait
	default:
		return min(firstWait<<n, maxWait)
	}
}

func (r *record) age(now time.Time) {
	if n := now.Sub(r.since) / halving; n > 0 {
		r.count >>= min(n, 63)
		r.since = r.since.Add(n * halving)
	}
}

func count(table map[string]*record, key string, now time.Time) int {
	r := table[key]
	if r == nil {
		if len(table) >= maxRecords {
			makeRoom(table, now)
		}
		r = &record{}
		table[key] = r
	}
	r.age(now)
	r.since = now
	r.count++
	return r.count
}

// makeRoom forgets the smallest of some records. Looking at all of them would be work that a guesser can ask for.
func makeRoom(table map[string]*record, now time.Time) {
	const some = 16
	var smallest string
	var least *record
	looked := 0
	for key, r := range table { // in random order
		if r.age(now); least == nil || r.count < least.count {
			smallest, least = key, r
		}
		if looked++; looked == some {
			break
		}
	}
	delete(table, smallest)
}

// network is whom an address is counted with: with IPv6 it is the whole /64, of which a host has every address.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64)
	return p.String()
}
