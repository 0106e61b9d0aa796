package main

import (
	"context"
	"os"
	"syscall"
	"time"
)

// A turn is a lock on a file, which flock(1) knows too, so that nobody else measures meanwhile. Without a name there
// is nothing to wait for.
type turn struct {
	name  string
	file  *os.File // nil while it is not ours
	since time.Time
}

// After so long, others have their turn.
const turnLength = 30 * time.Second

// take waits for the lock, unless it is ours already.
func (t *turn) take(ctx context.Context) error {
	if t.name == "" || t.file != nil {
		return ctx.Err()
	}
	file, err := os.OpenFile(t.name, os.O_RDONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	// In the queue, which trying again and again would not be
	locked := make(chan error, 1)
	go func() { locked <- syscall.Flock(int(file.Fd()), syscall.LOCK_EX) }()
	select {
	case err = <-locked:
	case <-ctx.Done():
		return ctx.Err()
	}
	t.file, t.since = file, time.Now()
	return err
}

// release gives it back, if it was ours for long enough.
func (t *turn) release() {
	if t.file != nil && time.Since(t.since) > turnLength {
		t.file.Close()
		t.file = nil
	}
}
