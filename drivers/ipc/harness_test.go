package ipc

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/vtx"
)

// watchdog is how long a test waits before it says that something hangs. It measures nothing.
const watchdog = 60 * time.Second

func TestMain(m *testing.M) {
	if path := os.Getenv(envClaim); path != "" {
		claimInChild(path)
		return
	}
	before := countSockets()
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if after := countSockets(); code == 0 && after > before {
		fmt.Fprintf(os.Stderr, "%d sockets open, %d at the start\n", after, before)
		code = 1
	}
	os.Exit(code)
}

// countSockets counts the process's open sockets.
func countSockets() (n int) {
	files, _ := os.ReadDir("/proc/self/fd")
	for _, f := range files {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// reporter is a fake vtx.Reporter that keeps events.
type reporter struct {
	vtx.Reporter
	mu     sync.Mutex
	events []vtx.Event
}

func (r *reporter) Event(e vtx.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *reporter) all() []vtx.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]vtx.Event(nil), r.events...)
}

// config makes a configuration with libzmq's defaults.
func config(t testing.TB, address string, change ...func(*vtx.Options)) (*vtx.Config, *reporter) {
	t.Helper()
	e, err := vtx.ParseEndpoint("ipc://" + address)
	if err != nil {
		t.Fatal(err)
	}
	o := &vtx.Options{MaxMsgSize: -1, SndBuf: -1, RcvBuf: -1, Backlog: 100, Named: map[string]string{}}
	for _, c := range change {
		c(o)
	}
	r := new(reporter)
	return &vtx.Config{Endpoint: e, Type: vtx.Dealer, Options: o, Report: r}, r
}

func named(name, value any) func(*vtx.Options) {
	return func(o *vtx.Options) { o.Named[fmt.Sprint(name)] = fmt.Sprint(value) }
}

// fresh is a path that nobody uses, in a directory of its own.
func fresh(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ipc") // t.TempDir's paths are too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func listenOn(t testing.TB, address string, change ...func(*vtx.Options)) (net.Listener, error) {
	t.Helper()
	cfg, _ := config(t, address, change...)
	return new(Driver).Listen(cfg)
}

func bindTo(t testing.TB, address string, change ...func(*vtx.Options)) (net.Listener, *reporter) {
	t.Helper()
	cfg, r := config(t, address, change...)
	ln, err := new(Driver).Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln, r
}

func dialer(t testing.TB, address string, change ...func(*vtx.Options)) vtx.StreamDialer {
	t.Helper()
	cfg, _ := config(t, address, change...)
	d, err := new(Driver).Dialer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func dial(t testing.TB, address string, change ...func(*vtx.Options)) net.Conn {
	t.Helper()
	c, err := dialer(t, address, change...)(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func accept(t testing.TB, ln net.Listener) net.Conn {
	t.Helper()
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result, 1)
	go func() { c, err := ln.Accept(); done <- result{c, err} }()
	select {
	case r := <-done:
		if r.err != nil {
			t.Fatal(r.err)
		}
		t.Cleanup(func() { _ = r.c.Close() })
		return r.c
	case <-time.After(watchdog):
		t.Fatal("nobody to accept")
	}
	return nil
}

// stale leaves a socket file on which nobody listens.
func stale(t testing.TB, path string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
}

// entries are the names in the path's directory.
func entries(t testing.TB, path string) string {
	t.Helper()
	list, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// getInt reads a socket option back.
func getInt(t testing.TB, c net.Conn, level, option int) (value int) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, option) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return value
}
