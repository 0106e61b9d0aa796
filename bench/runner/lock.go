package main

import (
	"context"
	"os"
	"syscall"
	"time"
)

// takeTurn waits for a lock that flock(1) knows too, so that nobody else measures meanwhile. Without a name, and after
// the end of the context, there is nothing to wait for.
func takeTurn(ctx context.Context, name string) (release func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(name, os.O_RDONLY|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EWOULDBLOCK || ctx.Err() != nil {
			return func() { f.Close() }, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
