package ipc

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/vtx"
)

func TestStaleFile(t *testing.T) {
	path := fresh(t)
	stale(t, path)
	ln, _ := bindTo(t, path)
	talk(t, dial(t, path), accept(t, ln))
	if got := entries(t, path); got != "s" {
		t.Errorf("in the directory: %s", got)
	}
	_ = ln.Close()
	if got := entries(t, path); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

func TestAddressInUse(t *testing.T) {
	path := fresh(t)
	ln, _ := bindTo(t, path)
	if _, err := listenOn(t, path); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "ipc://"+path) {
		t.Error(err)
	}
	_ = accept(t, ln).Close() // the one that looked whether we live
	there := dial(t, path)
	here := accept(t, ln)
	_ = ln.Close()
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	talk(t, here, there) // connections outlive their listener
	bindTo(t, path)

	abstract := "@vtx-" + path
	one, _ := bindTo(t, abstract)
	if _, err := listenOn(t, abstract); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
	_ = one.Close()
	bindTo(t, abstract)
}

// Where nobody can be asked whether he lives, he does.
func TestFullBacklogIsAlive(t *testing.T) {
	path := fresh(t)
	bindTo(t, path, func(o *vtx.Options) { o.Backlog = 0 })
	dial(t, path)
	if _, err := listenOn(t, path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
}

// Only socket files are ever removed.
func TestNotASocket(t *testing.T) {
	kinds := map[string]func(path string) error{
		"file":      func(p string) error { return os.WriteFile(p, []byte("precious"), 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"fifo":      func(p string) error { return unix.Mkfifo(p, 0o600) },
		"symlink":   func(p string) error { return os.Symlink("nowhere", p) },
		"symlink to a stale socket": func(p string) error {
			stale(t, p+"2")
			return os.Symlink(p+"2", p)
		},
	}
	for what, create := range kinds {
		path := fresh(t)
		if err := create(path); err != nil {
			t.Fatal(err)
		}
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		names := entries(t, path)
		if _, err := listenOn(t, path); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: %v", what, err)
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) || entries(t, path) != names {
			t.Errorf("%s: %v, %s", what, err, entries(t, path))
		}
	}
}

// A datagram socket of somebody else's is not taken away either.
func TestOtherKindOfSocket(t *testing.T) {
	path := fresh(t)
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := listenOn(t, path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
}

// At its end a listener removes its file only if it is still its own, wherever the process has gone.
func TestRemoval(t *testing.T) {
	path := fresh(t)
	ln, _ := bindTo(t, path)
	if err := os.Remove(path); err != nil { // as libzmq does when it binds there
		t.Fatal(err)
	}
	stale(t, path)
	_ = ln.Close()
	if got := entries(t, path); got != "s" {
		t.Errorf("in the directory: %q", got)
	}

	t.Chdir(filepath.Dir(path))
	relative, _ := bindTo(t, "s")
	t.Chdir("/")
	_ = relative.Close()
	if got := entries(t, path); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// Of many that bind to one path, with a stale file there, one succeeds.
func TestRace(t *testing.T) {
	path := fresh(t)
	for range 30 {
		stale(t, path)
		var mu sync.Mutex
		var won []net.Listener
		var all sync.WaitGroup
		start := make(chan struct{})
		for range 8 {
			all.Go(func() {
				<-start
				ln, err := listenOn(t, path)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won = append(won, ln)
				} else if !errors.Is(err, syscall.EADDRINUSE) {
					t.Error(err)
				}
			})
		}
		close(start)
		all.Wait()
		if len(won) != 1 {
			t.Errorf("%d have it", len(won))
		} else {
			_ = dial(t, path).Close()
		}
		for _, ln := range won {
			_ = ln.Close()
		}
		if got := entries(t, path); got != "" {
			t.Fatalf("left behind: %s", got)
		}
	}
}

// The lock of a process that died is free, and its file does not stay.
func TestOrphanedLock(t *testing.T) {
	path := fresh(t)
	if err := os.WriteFile(filepath.Dir(path)+"/.s.vtx-lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bindTo(t, path)
	if got := entries(t, path); got != "s" {
		t.Errorf("in the directory: %s", got)
	}
}

// The lock has one holder, although its file comes and goes.
func TestLockExcludes(t *testing.T) {
	path := fresh(t)
	var holders, most atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 300 {
				unlock, err := lock(path)
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n > most.Load() {
					most.Store(n)
				}
				runtime.Gosched()
				holders.Add(-1)
				unlock()
			}
		})
	}
	all.Wait()
	if n := most.Load(); n != 1 {
		t.Errorf("%d held it at once", n)
	}
}

// Who opened the lock's file before its holder removed it does not have the lock.
func TestLockOfARemovedFile(t *testing.T) {
	path := fresh(t)
	name := filepath.Dir(path) + "/.s.vtx-lock"
	unlock, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	late, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if locked, err := take(late, name); locked || err != nil {
		t.Error("held by two:", locked, err)
	}
	unlock()
	if locked, err := take(late, name); locked || err != nil {
		t.Error("held where there is no file:", locked, err)
	}
	unlock, err = lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if locked, err := take(late, name); locked || err != nil {
		t.Error("held beside the next one:", locked, err)
	}
	unlock()
}

// While somebody else claims the path nobody gets it.
func TestLocked(t *testing.T) {
	path := fresh(t)
	unlock, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenOn(t, path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
	result := make(chan error, 1)
	go func() {
		ln, err := listenOn(t, path)
		if err == nil {
			_ = ln.Close()
		}
		result <- err
	}()
	unlock()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// A lock is no way to make us write to another file.
func TestLockIsALink(t *testing.T) {
	path := fresh(t)
	if err := os.Symlink("elsewhere", filepath.Dir(path)+"/.s.vtx-lock"); err != nil {
		t.Fatal(err)
	}
	if _, err := listenOn(t, path); !errors.Is(err, syscall.ELOOP) {
		t.Error(err)
	}
	if got := entries(t, path); got != ".s.vtx-lock" {
		t.Errorf("in the directory: %s", got)
	}
}

const envClaim = "VTX_TEST_IPC_CLAIM"

// claimInChild binds to the path, says so, and waits to be killed.
func claimInChild(path string) {
	e, err := vtx.ParseEndpoint("ipc://" + path)
	var ln net.Listener
	if err == nil {
		ln, err = new(Driver).Listen(&vtx.Config{Endpoint: e, Options: &vtx.Options{SndBuf: -1, RcvBuf: -1, Backlog: 100}})
	}
	fmt.Println("bound:", err)
	time.Sleep(watchdog)
	runtime.KeepAlive(ln) // or it is closed as garbage
}

// The path of a process that was killed is free at once; while it lives it is not.
func TestKilledOwner(t *testing.T) {
	path := fresh(t)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), envClaim+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_, inUse := listenOn(t, path)
	_ = child.Process.Kill()
	_ = child.Wait()
	if line != "bound: <nil>\n" || err != nil || !errors.Is(inUse, syscall.EADDRINUSE) {
		t.Errorf("%q, %v, %v", line, err, inUse)
	}
	if got := entries(t, path); got != "s" {
		t.Errorf("in the directory: %s", got)
	}
	bindTo(t, path)
}
