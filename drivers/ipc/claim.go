package ipc

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/drivers/internal/sockets"
	"github.com/libvtx/libvtx/vtx"
)

// A path is claimed in two steps, bind and listen, and between them nobody can tell the socket from one whose
// owner has died. So all who claim a path with this driver, in whatever process, hold a lock on a file beside
// it while they look, remove and bind. The lock's file goes when the claim is done; if a process
// dies with it, the lock is free and the file is used again.

// lockPatience is how long a claim waits for others that claim the same path, which takes each of them
// microseconds. Only a process that was stopped in the middle of it makes anybody wait.
const lockPatience = 2 * time.Second

// claim listens on a path of the file system. A socket file there on which nobody listens is taken over.
func claim(path string, o *vtx.Options) (*net.UnixListener, *owned, error) {
	absolute, err := filepath.Abs(path) // the process may go to another directory later
	if err != nil {
		return nil, nil, err
	}
	unlock, err := lock(absolute)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	ln, err := open(path, o)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err = removeStale(absolute, path); err == nil {
			ln, err = open(path, o)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	file, err := os.Lstat(absolute)
	if err != nil {
		_ = ln.Close()
		return nil, nil, err
	}
	return ln, &owned{path: absolute, file: file}, nil
}

// open binds and listens, and leaves the path alone when the listener is closed.
func open(path string, o *vtx.Options) (*net.UnixListener, error) {
	ln, err := net.ListenUnix("unix", unixAddr(path))
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false)
	raw, err := ln.SyscallConn()
	if err == nil {
		err = sockets.SetBacklog(raw, o.Backlog)
	}
	if err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}

// removeStale removes the socket file of an owner that has died. Errors: EADDRINUSE for everything that
// is not one, or the reason why it could not be removed.
func removeStale(absolute, path string) error {
	inUse := func(why string) error { return fmt.Errorf("%s: %w", why, syscall.EADDRINUSE) }
	file, err := os.Lstat(absolute)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its owner has removed it meanwhile
	}
	if err != nil {
		return err
	}
	if file.Mode().Type() != fs.ModeSocket {
		return inUse("there is a file that is not a socket")
	}
	probe, err := net.DialUnix("unix", nil, unixAddr(path))
	if err == nil {
		_ = probe.Close()
		return inUse("somebody listens there")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return inUse(fmt.Sprintf("it cannot be told whether somebody listens there (%v)", err))
	}
	if err := os.Remove(absolute); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// lock keeps others from claiming the path.
func lock(path string) (unlock func(), err error) {
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".vtx-lock")
	for end := time.Now().Add(lockPatience); ; time.Sleep(time.Millisecond) {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, fmt.Errorf("no file can be made in %s: %w", filepath.Dir(path), errors.Unwrap(err))
		}
		locked, err := take(f, name)
		if locked {
			return func() {
				_ = os.Remove(name)
				_ = f.Close()
			}, nil
		}
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("locking %s: %w", name, err)
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("another process has been binding it for %v: %w", lockPatience, syscall.EADDRINUSE)
		}
	}
}

// take locks the open file, if nobody else has it and it is still the one of that name: whoever had the lock before
// has removed it, and another one may be locked by now.
func take(f *os.File, name string) (bool, error) {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
			err = nil
		}
		return false, err
	}
	here, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(here, there), err
}

// owned is the file of a listening socket, and the directory that was made for it.
type owned struct {
	path string
	file fs.FileInfo
	dir  string // "" where it is not ours
}

// remove removes the file if it is still ours. The socket must still be open: until then the file's number is
// not given to another one, and nobody takes the path for stale.
func (f *owned) remove() {
	if now, err := os.Lstat(f.path); err == nil && os.SameFile(now, f.file) {
		_ = os.Remove(f.path)
	}
	if f.dir != "" {
		_ = os.Remove(f.dir)
	}
}
