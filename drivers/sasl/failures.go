package sasl

import (
	"context"
	"sync"
	"time"

	"github.com/libvtx/libvtx/internal/network"
)

// failures counts failed log-ins at one binding, by the peer's address and by the user's name, and slows down who goes on
// failing. A right password waits as long as a wrong one, so that the wait tells nothing. Its methods may be called from
// any goroutine.
//
// A name has freeOfUser failures; each further one doubles the wait before the next password is looked at, up to maxWait.
// Log-ins of one name do not wait for each other: who knows a name could else keep its owner out. Those of one address
// stand in a line, so that it gains nothing by many connections: see line. Each minute without a failure halves a count.
// A success takes nothing back: whoever has one password could else guess others for ever, and see by the waits of a
// name that its owner exists and has logged in.
type failures struct {
	mu        sync.Mutex
	addresses map[string]*line
	users     map[string]*record
}

// record is what is known of one address or name.
type record struct {
	count int
	since time.Time // the last failure, or the last halving
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
	return &failures{addresses: make(map[string]*line), users: make(map[string]*record)}
}

// enter waits until a password may be looked at. leave is to be called once that is over, however it ended, and behind
// failed if it was wrong. Errors: *zmtp.DeniedError, ctx's.
func (f *failures) enter(ctx context.Context, address, user string) (leave func(), err error) {
	if err := sleep(ctx, f.waitOfUser(user)); err != nil {
		return nil, err
	}
	f.mu.Lock()
	l := entry(f.addresses, network.Of(address), newLine)
	w := l.join(address)
	f.mu.Unlock()
	leave = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if l.leave(w); l.forgettable() && f.addresses[network.Of(address)] == l {
			delete(f.addresses, network.Of(address))
		}
	}
	select {
	case <-w.called:
		if err = w.refused; err == nil {
			err = sleep(ctx, w.pause)
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

func (f *failures) waitOfUser(user string) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.users[user]; r != nil {
		return r.wait(freeOfUser, 0)
	}
	return 0
}

// failed counts, and returns the counts. user is "" where nobody knows it.
func (f *failures) failed(address, user string) (ofAddress, ofUser int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ofAddress = entry(f.addresses, network.Of(address), newLine).failed()
	if user != "" {
		ofUser = entry(f.users, user, func() *record { return &record{} }).failed()
	}
	return ofAddress, ofUser
}

// sleep waits; 0 is no wait.
func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait is how long the next one has to wait if so many of those before it fail too.
func (r *record) wait(free, more int) time.Duration {
	r.age()
	switch n := r.count + more - free; {
	case n < 0:
		return 0
	case n > 10:
		return maxWait
	default:
		return min(firstWait<<n, maxWait)
	}
}

func (r *record) failed() int {
	r.age()
	r.since = time.Now()
	r.count++
	return r.count
}

func (r *record) age() {
	if n := time.Since(r.since) / halving; n > 0 {
		r.count >>= min(n, 63)
		r.since = r.since.Add(n * halving)
	}
}

// size is what a record is kept for.
func (r *record) size() int { r.age(); return r.count }

// entry finds a key's entry, or makes one.
func entry[E interface{ size() int }](table map[string]E, key string, fresh func() E) E {
	e, there := table[key]
	if !there {
		if len(table) >= maxRecords {
			makeRoom(table)
		}
		e = fresh()
		table[key] = e
	}
	return e
}

// makeRoom forgets the smallest of some entries. Looking at all of them would be work that a guesser can ask for.
func makeRoom[E interface{ size() int }](table map[string]E) {
	const some = 16
	smallest, least, looked := "", busy, 0
	for key, e := range table { // in random order
		if n := e.size(); n < least {
			smallest, least = key, n
		}
		if looked++; looked == some {
			break
		}
	}
	if least < busy {
		delete(table, smallest)
	}
}
