package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/drivers/internal/sockets"
	"github.com/libvtx/libvtx/vtx"
)

// talk sends bytes both ways.
func talk(t testing.TB, a, b net.Conn) {
	t.Helper()
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		_ = ends[1].SetReadDeadline(time.Now().Add(watchdog))
		if _, err := ends[0].Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		var got [5]byte
		if _, err := io.ReadFull(ends[1], got[:]); err != nil || string(got[:]) != "hello" {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// closed waits until the other end has closed.
func closed(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(watchdog))
	if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, syscall.EAGAIN) || err == nil || isTimeout(err) {
		t.Fatalf("still open: %d, %v", n, err)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestConnections(t *testing.T) {
	for _, c := range []struct {
		bind, bound string // what the address begins with
		ipv6        bool
		dial        string // %d is the port
		dialIPv6    bool
	}{
		{"127.0.0.1:*", "127.0.0.1:", false, "127.0.0.1:%d", false},
		{"127.0.0.1:0", "127.0.0.1:", true, "127.0.0.1:%d", true},
		{"*:*", "0.0.0.0:", false, "127.0.0.1:%d", false},
		{"*:*", "0.0.0.0:", false, "0.0.0.0:%d", false},
		{"*:*", "[::]:", true, "127.0.0.1:%d", false},
		{"*:*", "[::]:", true, "[::1]:%d", true},
		{"[::]:*", "[::]:", true, "127.0.0.1:%d", true},
		{"[::1]:*", "[::1]:", true, "[::1]:%d", true},
		{"lo:*", "127.0.0.1:", false, "127.0.0.1:%d", false},
		{"lo:*", "[::1]:", true, "[::1]:%d", true},
		{"127.0.0.1:*", "127.0.0.1:", false, "localhost:%d", false},
		{"127.0.0.1:*", "127.0.0.1:", false, "*:0;127.0.0.1:%d", false},
		{"127.0.0.1:*", "127.0.0.1:", false, "lo:0;127.0.0.1:%d", false},
		{"127.0.0.1:*", "127.0.0.1:", false, "lo:*;127.0.0.1:%d", true},
		{"[::1]:*", "[::1]:", true, "lo:0;[::1]:%d", true},
		{"[::1]:*", "[::1]:", true, "*:0;[::1]:%d", true},
	} {
		set := func(on bool) func(*vtx.Options) { return func(o *vtx.Options) { o.IPv6 = on } }
		ln, _ := bind(t, "tcp://"+c.bind, set(c.ipv6))
		at := ln.Addr().String()
		if !strings.HasPrefix(at, c.bound) || port(ln.Addr()) == 0 {
			t.Errorf("%s: bound to %s", c.bind, at)
		}
		there := dial(t, "tcp://"+fmt.Sprintf(c.dial, port(ln.Addr())), set(c.dialIPv6))
		here := accept(t, ln)
		talk(t, here, there)
		if here.RemoteAddr().String() != there.LocalAddr().String() {
			t.Errorf("%s: the peer is %s, which calls itself %s", c.dial, here.RemoteAddr(), there.LocalAddr())
		}
		_, isTCP := here.(*net.TCPConn)
		if _, wasTCP := there.(*net.TCPConn); !isTCP || !wasTCP {
			t.Errorf("%T, %T", here, there)
		}
	}
}

// What listens on every IPv4 address does not listen on IPv6 ones.
func TestNotDualStack(t *testing.T) {
	for _, at := range []string{"*:*", "0.0.0.0:*"} {
		ln, _ := bind(t, "tcp://"+at, func(o *vtx.Options) { o.IPv6 = at != "*:*" })
		d := dialer(t, new(Driver), fmt.Sprintf("tcp://[::1]:%d", port(ln.Addr())), ipv6)
		if c, err := d(context.Background()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, %v", at, c, err)
		}
	}
}

func TestSourcePort(t *testing.T) {
	one, _ := bind(t, "tcp://127.0.0.1:*")
	two, _ := bind(t, "tcp://127.0.0.1:*")
	from := dial(t, fmt.Sprintf("tcp://127.0.0.1:*;127.0.0.1:%d", port(one.Addr()))).LocalAddr()
	// one source port, several destinations
	for _, source := range []string{"127.0.0.1", "lo"} {
		c := dial(t, fmt.Sprintf("tcp://%s:%d;127.0.0.1:%d", source, port(from), port(two.Addr())))
		if c.LocalAddr().String() != from.String() {
			t.Errorf("from %s, want %s", c.LocalAddr(), from)
		}
		talk(t, c, accept(t, two))
		if err := c.(*net.TCPConn).SetLinger(0); err != nil { // no TIME_WAIT keeps the port
			t.Error(err)
		}
		_ = c.Close()
	}
	c := dial(t, fmt.Sprintf("tcp://127.0.0.7:0;127.0.0.1:%d", port(two.Addr())))
	if got := accept(t, two).RemoteAddr().(*net.TCPAddr).IP.String(); got != "127.0.0.7" {
		t.Errorf("%s came from %s", c.LocalAddr(), got)
	}
}

func TestSourceErrors(t *testing.T) {
	for _, c := range []struct {
		address string
		want    error
	}{
		{"nonesuch:0;127.0.0.1:1", syscall.ENODEV},
		{"192.0.2.77:0;127.0.0.1:1", syscall.EADDRNOTAVAIL},
		{"127.0.0.1:0;six:1", errFamily},
		{"[fe80::1%nonesuch]:0;[::1]:1", vtx.ErrInvalid},
		{"[fe80::1%nonesuch]:1", vtx.ErrInvalid},
	} {
		d := dialer(t, &Driver{lookup: names("six", "::1")}, "tcp://"+c.address, ipv6)
		if _, err := d(context.Background()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.address, err, c.want)
		}
	}
}

// ends makes a connection and gives its two ends, with the same options on both.
func ends(t testing.TB, address string, change ...func(*vtx.Options)) (ln net.Listener, both map[string]net.Conn) {
	t.Helper()
	ln, _ = bind(t, "tcp://"+address+":*", change...)
	there := dial(t, fmt.Sprintf("tcp://%s:%d", address, port(ln.Addr())), change...)
	return ln, map[string]net.Conn{"dialled": there, "accepted": accept(t, ln)}
}

func TestSocketOptions(t *testing.T) {
	type want struct{ level, option, value int }
	keepalive := func(on, cnt, idle, intvl int) func(*vtx.Options) {
		return func(o *vtx.Options) {
			o.TCPKeepalive, o.TCPKeepaliveCnt, o.TCPKeepaliveIdle, o.TCPKeepaliveIntvl = on, cnt, idle, intvl
		}
	}
	_, plain := ends(t, "127.0.0.1")
	system := func(level, option int) want {
		return want{level, option, getInt(t, plain["dialled"], level, option)}
	}
	for _, c := range []struct {
		name   string
		change func(*vtx.Options)
		want   []want
	}{
		{"defaults", func(*vtx.Options) {}, []want{
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0},
			{unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP}, // and not MPTCP
			{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 0},
		}},
		{"keep-alive off", keepalive(0, 3, 7, 11), []want{{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0}}},
		{"keep-alive untouched", keepalive(-1, 3, 7, 11), []want{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0}, system(unix.IPPROTO_TCP, unix.TCP_KEEPCNT),
			system(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), system(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL),
		}},
		{"keep-alive on", keepalive(1, -1, -1, -1), []want{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, system(unix.IPPROTO_TCP, unix.TCP_KEEPCNT),
			system(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), system(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL),
		}},
		{"keep-alive tuned", keepalive(1, 3, 7, 11), []want{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 7}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 11},
		}},
		{"MAXRT", func(o *vtx.Options) { o.TCPMaxRT = 12345 * time.Millisecond }, []want{{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 12345}}},
		{"TOS", func(o *vtx.Options) { o.TOS = 0x28 }, []want{{unix.IPPROTO_IP, unix.IP_TOS, 0x28}}},
		{"buffers", func(o *vtx.Options) { o.SndBuf, o.RcvBuf = 20000, 30000 }, []want{ // the kernel doubles them
			{unix.SOL_SOCKET, unix.SO_SNDBUF, 40000}, {unix.SOL_SOCKET, unix.SO_RCVBUF, 60000},
		}},
	} {
		_, both := ends(t, "127.0.0.1", c.change)
		for end, conn := range both {
			for _, w := range c.want {
				if got := getInt(t, conn, w.level, w.option); got != w.value {
					t.Errorf("%s, %s: option %d of level %d is %d, want %d", c.name, end, w.option, w.level, got, w.value)
				}
			}
		}
	}
}

func TestTOSOfIPv6(t *testing.T) {
	tos := func(o *vtx.Options) { o.TOS = 0x28; o.IPv6 = true }
	_, both := ends(t, "[::1]", tos)
	for end, conn := range both {
		if got := getInt(t, conn, unix.IPPROTO_IPV6, unix.IPV6_TCLASS); got != 0x28 {
			t.Errorf("%s: %#x", end, got)
		}
	}
	ln, _ := bind(t, "tcp://*:*", tos) // both families, and a peer with IPv4
	dial(t, fmt.Sprintf("tcp://127.0.0.1:%d", port(ln.Addr())))
	if got := getInt(t, accept(t, ln), unix.IPPROTO_IP, unix.IP_TOS); got != 0x28 {
		t.Errorf("IPv4 on a socket of both families: %#x", got)
	}
}

func TestBindToDevice(t *testing.T) {
	device := func(name string) func(*vtx.Options) { return func(o *vtx.Options) { o.BindDevice = name } }
	ln, _ := bind(t, "tcp://127.0.0.1:*", device("lo"))
	there := dial(t, "tcp://"+ln.Addr().String(), device("lo"))
	talk(t, there, accept(t, ln))
	raw, err := there.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var name string
	if cerr := raw.Control(func(fd uintptr) { name, err = unix.GetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE) }); cerr != nil || err != nil || name != "lo" {
		t.Errorf("bound to %q, %v, %v", name, cerr, err)
	}
	cfg, _ := config(t, "tcp://127.0.0.1:*", device("nonesuch"))
	if _, err := new(Driver).Listen(cfg); !errors.Is(err, syscall.ENODEV) || !strings.Contains(err.Error(), "nonesuch") {
		t.Error(err)
	}
	if _, err := dialer(t, new(Driver), "tcp://"+ln.Addr().String(), device("nonesuch"))(context.Background()); !errors.Is(err, syscall.ENODEV) {
		t.Error(err)
	}
}

// listening gives the inner listener, where a test looks at its socket.
func listening(t testing.TB, endpoint string, change ...func(*vtx.Options)) *net.TCPListener {
	t.Helper()
	ln, _ := bind(t, endpoint, change...)
	return ln.(*sockets.Listener).Listener.(*net.TCPListener)
}

func TestListeningSocket(t *testing.T) {
	ln := listening(t, "tcp://127.0.0.1:*", func(o *vtx.Options) { o.Backlog = 17; o.RcvBuf = 30000; o.TOS = 0x28 })
	for _, w := range []struct {
		what                 string
		level, option, value int
	}{
		{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{"SO_PROTOCOL", unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP},
		{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, 60000}, // here the window of the handshake comes from
		{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, 0x28},
	} {
		if got := getInt(t, ln, w.level, w.option); got != w.value {
			t.Errorf("%s is %d, want %d", w.what, got, w.value)
		}
	}
	raw, err := ln.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	if cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	if info.Sacked != 17 { // of a listening socket this is the backlog
		t.Errorf("the backlog is %d", info.Sacked)
	}
}

func TestAddressInUse(t *testing.T) {
	ln, _ := bind(t, "tcp://127.0.0.1:*")
	cfg, _ := config(t, "tcp://"+ln.Addr().String())
	if _, err := new(Driver).Listen(cfg); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
	there := dial(t, "tcp://"+ln.Addr().String())
	here := accept(t, ln)
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	talk(t, here, there) // connections outlive their listener
	again, err := new(Driver).Listen(cfg)
	if err != nil {
		t.Fatal(err) // SO_REUSEADDR, although a connection of that port is there
	}
	_ = again.Close()
}

func TestAcceptFilter(t *testing.T) {
	ln, r := bind(t, "tcp://*:*", ipv6, named(optAcceptFilter, "127.0.0.2, 127.1.0.0/16, ::1"))
	from := func(source, host string) net.Conn {
		return dial(t, fmt.Sprintf("tcp://%s:0;%s:%d", source, host, port(ln.Addr())), ipv6)
	}
	denied := []net.Conn{from("127.0.0.1", "127.0.0.1"), from("127.2.0.1", "127.0.0.1")}
	welcome := []net.Conn{from("127.0.0.2", "127.0.0.1"), from("127.1.2.3", "127.0.0.1"), from("[::1]", "[::1]")}
	for _, c := range welcome {
		talk(t, c, accept(t, ln))
	}
	for _, c := range denied {
		closed(t, c)
	}
	events := r.all()
	if len(events) != len(denied) {
		t.Fatalf("%+v", events)
	}
	for i, e := range events {
		if e.Kind != vtx.EventAcceptFailed || e.Endpoint != "tcp://"+denied[i].LocalAddr().String() ||
			e.Value != uint32(syscall.EACCES) || !strings.Contains(e.Reason, optAcceptFilter) {
			t.Errorf("%+v", e)
		}
	}
}

// full is a listening address that answers nobody any more: its backlog is full, so that the kernel drops what comes.
func full(t testing.TB, address string) netip.AddrPort {
	t.Helper()
	ln := listening(t, "tcp://"+address, func(o *vtx.Options) { o.Backlog = 0 })
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	for range 100 {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		c, err := new(net.Dialer).DialContext(ctx, "tcp", at.String())
		cancel()
		if err != nil {
			return at
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the backlog never fills")
	return at
}

func TestCancelHangingDial(t *testing.T) {
	at := full(t, "127.0.0.1:*")
	d := dialer(t, new(Driver), "tcp://"+at.String())
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { _, err := d(ctx); result <- err }()
	select {
	case err := <-result:
		t.Fatalf("it did not hang: %v", err)
	case <-time.After(50 * time.Millisecond): // cancelled while it hangs, as a rule
	}
	cancel()
	select {
	case err := <-result:
		if err == nil {
			t.Error("connected")
		}
	case <-time.After(watchdog):
		t.Fatal("still dialling")
	}
}

func TestCancelHangingLookup(t *testing.T) {
	asked := make(chan struct{})
	d := dialer(t, &Driver{lookup: func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
		close(asked)
		<-ctx.Done()
		return nil, ctx.Err()
	}}, "tcp://server:1")
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-asked; cancel() }()
	if _, err := d(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Names are looked up by each dial, and for IPv6 only where it is wanted.
func TestNames(t *testing.T) {
	ln4, _ := bind(t, "tcp://127.0.0.1:*")
	var mu sync.Mutex
	var networks []string
	answer := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	drv := &Driver{lookup: func(_ context.Context, network, host string) ([]netip.Addr, error) {
		mu.Lock()
		defer mu.Unlock()
		networks = append(networks, network+" "+host)
		return answer, nil
	}}
	endpoint := fmt.Sprintf("tcp://server.example:%d", port(ln4.Addr()))
	d := dialer(t, drv, endpoint)
	for range 2 {
		talk(t, call(t, d), accept(t, ln4))
	}
	talk(t, call(t, dialer(t, drv, endpoint, ipv6)), accept(t, ln4))
	if got := fmt.Sprint(networks); got != "[ip4 server.example ip4 server.example ip server.example]" {
		t.Error(got)
	}
	answer = nil
	if _, err := d(context.Background()); err == nil || !strings.Contains(err.Error(), "no address") {
		t.Error(err)
	}
	_, err := dialer(t, &Driver{lookup: names("")}, "tcp://nowhere.example:1")(context.Background())
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		t.Error(err)
	}
}

// IPv6 addresses of a name are preferred, and others tried when they do not answer.
func TestSeveralAddresses(t *testing.T) {
	both, _ := bind(t, "tcp://*:*", ipv6)
	on := fmt.Sprintf("tcp://server:%d", port(both.Addr()))
	c := call(t, dialer(t, &Driver{lookup: names("server", "127.0.0.1", "::1")}, on, ipv6))
	if got := c.RemoteAddr().(*net.TCPAddr).IP.String(); got != "::1" {
		t.Errorf("connected to %s", got)
	}
	four, _ := bind(t, "tcp://127.0.0.1:*")
	on = fmt.Sprintf("tcp://server:%d", port(four.Addr()))
	talk(t, call(t, dialer(t, &Driver{lookup: names("server", "127.0.0.1", "::1", "127.0.0.2")}, on, ipv6)), accept(t, four))
	_ = four.Close()
	if _, err := dialer(t, &Driver{lookup: names("server", "127.0.0.1", "::1")}, on, ipv6)(context.Background()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
}

// An address that swallows everything does not keep the dialler from the next one.
func TestSilentAddress(t *testing.T) {
	silent := full(t, "127.0.0.3:*")
	ln, _ := bind(t, fmt.Sprintf("tcp://127.0.0.1:%d", silent.Port()))
	d := dialer(t, &Driver{lookup: names("server", "127.0.0.3", "127.0.0.1")}, fmt.Sprintf("tcp://server:%d", silent.Port()))
	talk(t, call(t, d), accept(t, ln))
}

// fakeConn notices when it is closed.
type fakeConn struct {
	net.Conn
	closed chan struct{}
}

func (c *fakeConn) Close() error { close(c.closed); return nil }

// Of two connections that come at once one is kept, and the other closed before race returns.
func TestRaceKeepsOne(t *testing.T) {
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}
	var started sync.WaitGroup
	started.Add(2)
	var mu sync.Mutex
	var all []*fakeConn
	got, err := race(context.Background(), addrs, func(context.Context, netip.Addr) (net.Conn, error) {
		started.Done()
		started.Wait() // the first attempt waits for the second, and both succeed
		c := &fakeConn{closed: make(chan struct{})}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, c)
		return c, nil
	})
	if err != nil || len(all) != 2 {
		t.Fatal(err, len(all))
	}
	for _, c := range all {
		select {
		case <-c.closed:
			if net.Conn(c) == got {
				t.Error("the winner is closed")
			}
		default:
			if net.Conn(c) != got {
				t.Error("the other one is open")
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := race(ctx, addrs, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
