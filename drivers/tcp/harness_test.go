package tcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
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
func config(t testing.TB, endpoint string, change ...func(*vtx.Options)) (*vtx.Config, *reporter) {
	t.Helper()
	e, err := vtx.ParseEndpoint(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	o := &vtx.Options{
		MaxMsgSize: -1, SndBuf: -1, RcvBuf: -1, Backlog: 100, Named: map[string]string{},
		TCPKeepalive: -1, TCPKeepaliveCnt: -1, TCPKeepaliveIdle: -1, TCPKeepaliveIntvl: -1,
	}
	for _, c := range change {
		c(o)
	}
	r := new(reporter)
	return &vtx.Config{Endpoint: e, Type: vtx.Dealer, Options: o, Report: r}, r
}

func ipv6(o *vtx.Options) { o.IPv6 = true }

func named(name, value string) func(*vtx.Options) {
	return func(o *vtx.Options) { o.Named[name] = value }
}

func bind(t testing.TB, endpoint string, change ...func(*vtx.Options)) (net.Listener, *reporter) {
	t.Helper()
	cfg, r := config(t, endpoint, change...)
	ln, err := new(Driver).Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln, r
}

func dialer(t testing.TB, drv *Driver, endpoint string, change ...func(*vtx.Options)) vtx.StreamDialer {
	t.Helper()
	cfg, _ := config(t, endpoint, change...)
	d, err := drv.Dialer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func dial(t testing.TB, endpoint string, change ...func(*vtx.Options)) net.Conn {
	t.Helper()
	return call(t, dialer(t, new(Driver), endpoint, change...))
}

func call(t testing.TB, d vtx.StreamDialer) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), watchdog)
	defer cancel()
	c, err := d(ctx)
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

// getInt reads a socket option back.
func getInt(t testing.TB, c any, level, option int) (value int) {
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

// names is a resolver that knows one name.
func names(want string, list ...string) resolver {
	return func(_ context.Context, network, host string) ([]netip.Addr, error) {
		if host != want {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		var addrs []netip.Addr
		for _, s := range list {
			if a := netip.MustParseAddr(s); a.Is4() || network == "ip" {
				addrs = append(addrs, a)
			}
		}
		return addrs, nil
	}
}

func port(a net.Addr) uint16 { return a.(*net.TCPAddr).AddrPort().Port() }
