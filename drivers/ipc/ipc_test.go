package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/internal/app"
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

func TestBadAddresses(t *testing.T) {
	long := "/tmp/" + strings.Repeat("x", maxPath)
	for _, c := range []struct {
		address       string
		bind, connect error // nil: not refused, or not here
	}{
		{"", vtx.ErrInvalid, vtx.ErrInvalid},
		{"@", vtx.ErrInvalid, vtx.ErrInvalid},
		{"*", nil, vtx.ErrInvalid},
		{long[:maxPath+1], syscall.ENAMETOOLONG, syscall.ENAMETOOLONG},
		{long[:maxPath], nil, nil},
		{"@" + strings.Repeat("y", maxPath), syscall.ENAMETOOLONG, syscall.ENAMETOOLONG},
		{"@" + strings.Repeat("y", maxPath-1), nil, nil},
		{"/nonesuch/directory/s", syscall.ENOENT, nil},
		{"/dev/null/s", syscall.ENOTDIR, nil},
	} {
		ln, err := listenOn(t, c.address)
		if err == nil {
			_ = ln.Close()
		}
		if c.bind == nil && err != nil || !errors.Is(err, c.bind) {
			t.Errorf("bind %s: %v, want %v", c.address, err, c.bind)
		}
		cfg, _ := config(t, c.address)
		_, cerr := new(Driver).Dialer(cfg)
		if c.connect == nil && cerr != nil || !errors.Is(cerr, c.connect) {
			t.Errorf("connect %s: %v, want %v", c.address, cerr, c.connect)
		}
		for _, err := range []error{err, cerr} {
			if err != nil && !strings.Contains(err.Error(), "ipc://") {
				t.Error(err)
			}
			if errors.Is(err, syscall.ENAMETOOLONG) && !(strings.Contains(err.Error(), "108") && strings.Contains(err.Error(), "107")) {
				t.Error(err)
			}
		}
	}
}

func TestConnections(t *testing.T) {
	path := fresh(t)
	t.Chdir(filepath.Dir(path))
	for _, address := range []string{path, "s", "./s", "sub/s", "a space, \xff and ü", "@vtx-" + path, filepath.Dir(path) + "/" + strings.Repeat("n", maxPath-len(path)+1)} {
		if err := os.MkdirAll("sub", 0o700); err != nil {
			t.Fatal(err)
		}
		ln, _ := bindTo(t, address)
		there := dial(t, address)
		here := accept(t, ln)
		talk(t, here, there)
		for _, a := range []net.Addr{ln.Addr(), here.RemoteAddr(), there.RemoteAddr()} {
			if a.String() != address || a.Network() != "unix" {
				t.Errorf("%s is called %s", address, a)
			}
		}
		if err := there.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
		if n, err := here.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Error(n, err)
		}
		if _, err := here.Write([]byte("x")); err != nil { // the other direction is open
			t.Error(err)
		}
		_ = ln.Close()
	}
	if got := entries(t, path); got != "sub" {
		t.Errorf("left behind: %s", got)
	}
}

// A path of its own choice is told, can be connected to, and goes with its directory.
func TestWildcard(t *testing.T) {
	tmp := filepath.Dir(fresh(t))
	t.Setenv("TMPDIR", tmp)
	one, _ := bindTo(t, "*")
	two, _ := bindTo(t, "*")
	if one.Addr().String() == two.Addr().String() || !strings.HasPrefix(one.Addr().String(), tmp+"/") {
		t.Error(one.Addr(), two.Addr())
	}
	talk(t, dial(t, one.Addr().String()), accept(t, one))
	_, _ = one.Close(), two.Close()
	if got := entries(t, tmp+"/x"); got != "" {
		t.Errorf("left behind: %s", got)
	}
	deep := tmp + "/" + strings.Repeat("d", 100)
	if err := os.Mkdir(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", deep)
	if _, err := listenOn(t, "*"); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Error(err)
	}
	if got := entries(t, deep+"/x"); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

func TestDialErrors(t *testing.T) {
	path := fresh(t)
	if _, err := dialer(t, path)(context.Background()); !errors.Is(err, syscall.ENOENT) {
		t.Error(err)
	}
	stale(t, path)
	if _, err := dialer(t, path)(context.Background()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := dialer(t, path)(ctx); err == nil {
		t.Error("connected")
	}
}

// A full backlog is a failed attempt, and the number is the application's.
func TestBacklog(t *testing.T) {
	path := fresh(t)
	ln, _ := bindTo(t, path, func(o *vtx.Options) { o.Backlog = 3 })
	d := dialer(t, path)
	for i := range 100 {
		c, err := d(context.Background())
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			continue
		}
		if !errors.Is(err, syscall.EAGAIN) || i != 4 { // the kernel lets one more wait
			t.Errorf("after %d: %v", i, err)
		}
		accept(t, ln)
		dial(t, path) // there is room again
		return
	}
	t.Error("a hundred are waiting")
}

func TestBuffers(t *testing.T) {
	path := fresh(t)
	small := func(o *vtx.Options) { o.SndBuf, o.RcvBuf = 20000, 30000 }
	ln, _ := bindTo(t, path, small)
	there := dial(t, path, small)
	for end, c := range map[string]net.Conn{"dialled": there, "accepted": accept(t, ln)} {
		if snd, rcv := getInt(t, c, unix.SOL_SOCKET, unix.SO_SNDBUF), getInt(t, c, unix.SOL_SOCKET, unix.SO_RCVBUF); snd != 40000 || rcv != 60000 {
			t.Errorf("%s: %d and %d", end, snd, rcv) // the kernel doubles them
		}
	}
}

// A connection of which nobody said how much it may send ahead is given more than the system would.
func TestSendBuffer(t *testing.T) {
	path := fresh(t)
	ln, _ := bindTo(t, path)
	there := dial(t, path)
	most, err := os.ReadFile("/proc/sys/net/core/wmem_max")
	if err != nil {
		t.Skip("this system does not tell its largest buffer:", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(most)))
	if err != nil {
		t.Fatal(err)
	}
	want := 2 * min(n, sendBuffer)
	for end, c := range map[string]net.Conn{"dialled": there, "accepted": accept(t, ln)} {
		if snd := getInt(t, c, unix.SOL_SOCKET, unix.SO_SNDBUF); snd != want {
			t.Errorf("%s: %d, not %d", end, snd, want)
		}
	}
}

// What has no meaning for ipc, libzmq takes too; what promises something is refused.
func TestRefusedOptions(t *testing.T) {
	path := fresh(t)
	harmless := func(o *vtx.Options) { o.TOS, o.TCPKeepalive, o.TCPMaxRT, o.IPv6 = 8, 1, time.Second, true }
	ln, _ := bindTo(t, path, harmless)
	talk(t, dial(t, path, harmless), accept(t, ln))
	device := func(o *vtx.Options) { o.BindDevice = "lo" }
	if _, err := listenOn(t, "*", device); !errors.Is(err, vtx.ErrNotSupported) || !strings.Contains(err.Error(), "BINDTODEVICE") {
		t.Error(err)
	}
	cfg, _ := config(t, path, device)
	if _, err := new(Driver).Dialer(cfg); !errors.Is(err, vtx.ErrNotSupported) {
		t.Error(err)
	}
	cfg, _ = config(t, path+"?filter_uid=0")
	if _, err := new(Driver).Dialer(cfg); !errors.Is(err, vtx.ErrNotSupported) {
		t.Error(err)
	}
	cfg, _ = config(t, path, named(optUID, 0)) // the socket's own, for what it binds
	if _, err := new(Driver).Dialer(cfg); err != nil {
		t.Error(err)
	}
}

func TestFilterValues(t *testing.T) {
	for value, ok := range map[string]bool{
		"0": true, "1000, 1001,4294967295": true, "": false, "root": false, "1,": false, "-1": false, "4294967296": false, "+1": false,
	} {
		for _, o := range new(Driver).Options() {
			if err := o.Check(value); (err == nil) != ok {
				t.Errorf("%s=%s: %v", o.Name, value, err)
			}
			ln, err := listenOn(t, "*", named(o.Name, value))
			if (err == nil) != ok || err != nil && !errors.Is(err, vtx.ErrInvalid) {
				t.Errorf("listening with %s=%s: %v", o.Name, value, err)
			}
			if err == nil {
				_ = ln.Close()
			}
		}
	}
}

func TestFilters(t *testing.T) {
	uid, gid, pid := os.Getuid(), os.Getgid(), os.Getpid()
	const other = 4000000000
	for _, c := range []struct {
		name   string
		change []func(*vtx.Options)
		ok     bool
	}{
		{"no filter", nil, true},
		{"uid", []func(*vtx.Options){named(optUID, uid)}, true},
		{"uids", []func(*vtx.Options){named(optUID, fmt.Sprintf("%d, %d", other, uid))}, true},
		{"other uid", []func(*vtx.Options){named(optUID, other)}, false},
		{"gid", []func(*vtx.Options){named(optGID, gid)}, true},
		{"other gid", []func(*vtx.Options){named(optGID, other)}, false},
		{"pid", []func(*vtx.Options){named(optPID, pid)}, true},
		{"other pid", []func(*vtx.Options){named(optPID, other)}, false},
		{"one of three", []func(*vtx.Options){named(optUID, other), named(optGID, other), named(optPID, pid)}, true},
		{"none of three", []func(*vtx.Options){named(optUID, other), named(optGID, other), named(optPID, other)}, false},
	} {
		path := fresh(t)
		ln, r := bindTo(t, path, c.change...)
		there := dial(t, path)
		if c.ok {
			talk(t, accept(t, ln), there)
			continue
		}
		accepted := make(chan net.Conn, 1)
		go func() { c, _ := ln.Accept(); accepted <- c }()
		_ = there.SetReadDeadline(time.Now().Add(watchdog))
		if n, err := there.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %d, %v", c.name, n, err)
		}
		_ = ln.Close()
		if got := <-accepted; got != nil {
			t.Errorf("%s: accepted", c.name)
		}
		events := r.all()
		if len(events) != 1 || events[0].Kind != vtx.EventAcceptFailed || events[0].Endpoint != "ipc://"+path ||
			events[0].Value != uint32(syscall.EACCES) || !strings.Contains(events[0].Reason, fmt.Sprintf("process %d", pid)) {
			t.Errorf("%s: %+v", c.name, events)
		}
	}
}

// A peer that is turned away is called after the binding, and not by a name that it has chosen.
func TestFilteredPeerHasNoName(t *testing.T) {
	path := fresh(t)
	ln, r := bindTo(t, path, named(optUID, 4000000000))
	d := net.Dialer{LocalAddr: unixAddr("@" + app.Nasty + path)}
	there, err := d.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	ended := make(chan struct{})
	go func() { defer close(ended); ln.Accept() }()
	_ = there.SetReadDeadline(time.Now().Add(watchdog))
	if _, err := there.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the peer was not turned away")
	}
	_ = ln.Close()
	<-ended
	if events := r.all(); len(events) != 1 || events[0].Endpoint != "ipc://"+path {
		t.Errorf("%+v", events)
	}
}

// A peer may also be in a group by the system's list, as libzmq has it.
func TestFilterGroups(t *testing.T) {
	peer := &unix.Ucred{Uid: 1000, Gid: 1000, Pid: 5}
	groups := func(uid uint32) []string {
		if uid != 1000 {
			t.Errorf("asked for %d", uid)
		}
		return []string{"27", "x", "100"}
	}
	for _, c := range []struct {
		f  filter
		ok bool
	}{
		{filter{gids: []uint32{100}}, true}, {filter{gids: []uint32{101}}, false}, {filter{gids: []uint32{1000}}, true},
		{filter{uids: []uint32{100}}, false}, {filter{pids: []uint32{100}}, false}, {filter{pids: []uint32{6, 5}}, true},
	} {
		if got := c.f.admits(peer, groups); got != c.ok {
			t.Errorf("%+v: %v", c.f, got)
		}
	}
	groupsOf(0)
	if got := groupsOf(4000000000); got != nil {
		t.Error(got)
	}
}
