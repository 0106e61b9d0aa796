// Package memory has peers who send more than there is memory for. The host is a process of its own, under RLIMIT_AS; it
// must live, and so must its other peers.
package memory

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	_ "github.com/libvtx/libvtx/drivers/all"
	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/nacl"
	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// inHost tells a process that it is the host, and where its files are.
const inHost = "VTX_TEST_MEMORY_HOST"

// host is the process that is attacked.
type host struct {
	t         *testing.T
	pid       int
	endpoints map[string]string
	order     func(line string)
	said      chan string // closed when it has ended
}

// startHost starts a host that has room for so many bytes more than it needs, with the environment in env.
func startHost(t *testing.T, room int, env ...string) *host {
	t.Helper()
	dir := t.TempDir()
	cert := testca.SelfSigned(t, "localhost")
	cmd := exec.Command(os.Args[0], "-test.run=^TestHost$", "-test.count=1")
	// Each new thread of glibc's takes 64 MiB of address space for its first malloc, and the application here, which is in
	// Go, more than it needs: neither is to be counted
	cmd.Env = append(os.Environ(), append(env, inHost+"="+dir, "CERT="+cert.Cert, "KEY="+cert.Key, "MALLOC_ARENA_MAX=2", "GOMEMLIMIT=16MiB")...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, pid: cmd.Process.Pid, endpoints: make(map[string]string), said: make(chan string, 10_000)}
	h.order = func(line string) { fmt.Fprintln(in, line) }
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(h.said)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			select {
			case h.said <- lines.Text():
			default: // nobody asks for so many
			}
		}
	}()
	t.Cleanup(func() {
		in.Close()
		<-done
		if err := cmd.Wait(); err != nil {
			t.Error("the host:", err)
		}
	})
	for line := h.next(); line != "bound"; line = h.next() {
		if name, endpoint, ok := strings.Cut(line, " "); ok && strings.Contains(endpoint, "://") {
			h.endpoints[name] = endpoint
		}
	}
	h.order(strconv.Itoa(room))
	h.until("limited")
	return h
}

// next is the next line that the host says.
func (h *host) next() string {
	h.t.Helper()
	select {
	case line, ok := <-h.said:
		if !ok {
			h.t.Fatal("the host has ended")
		}
		return line
	case <-time.After(2 * app.Patience):
		h.t.Fatal("the host says nothing more")
	}
	return ""
}

// heard is a line that begins like this, if there has been one: what the host has said is looked through once.
func (h *host) heard(begin string) string {
	h.t.Helper()
	for {
		select {
		case line, ok := <-h.said:
			if !ok {
				h.t.Fatal("the host has ended")
			}
			if strings.HasPrefix(line, begin) {
				return line
			}
		default:
			return ""
		}
	}
}

// until waits for a line that begins like this.
func (h *host) until(begin string) string {
	h.t.Helper()
	for {
		if line := h.next(); strings.HasPrefix(line, begin) {
			return line
		}
	}
}

// resident is how much memory of its own the host has, in bytes.
func (h *host) resident() int {
	h.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.pid))
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb := 0
			fmt.Sscan(value, &kb)
			return kb << 10
		}
	}
	h.t.Fatal("no RssAnon")
	return 0
}

// secret is the CURVE key of both ends, which is all the same here.
var secret = strings.Repeat("k", nacl.KeySize)

// TestHost is the host, where another test has started it.
func TestHost(t *testing.T) {
	dir := os.Getenv(inHost)
	if dir == "" {
		return
	}
	c := app.NewContext(t)
	m, err := vtx.NewManager(c.P)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Destroy()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var running []chan struct{}
	loop := func(turn func()) {
		done := make(chan struct{})
		running = append(running, done)
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					turn()
				}
			}
		}()
	}
	open := func(typ vtx.SocketType, set func(*app.Socket), at map[string]string) {
		s := c.Socket(t, int(typ))
		set(s)
		events := fmt.Sprintf("inproc://events-%p", s)
		must(m.Monitor(s.P, events, -1))
		e := c.Socket(t, int(vtx.Pair))
		e.Native(false, events)
		for name, endpoint := range at {
			must(m.Bind(s.P, endpoint))
			bound, err := m.Meta(s.P, "endpoint")
			must(err)
			fmt.Println(name, bound)
		}
		loop(func() {
			if typ == vtx.Pull && at["idle"] != "" {
				time.Sleep(20 * time.Millisecond)
				return
			}
			if frames, err := s.RecvWithin(20 * time.Millisecond); err == nil && typ == vtx.Router {
				_ = s.TrySend(false, frames...)
			}
		})
		loop(func() {
			if frames, err := e.RecvWithin(20 * time.Millisecond); err == nil {
				h := frames[0]
				value := uint32(h[2]) | uint32(h[3])<<8 | uint32(h[4])<<16 | uint32(h[5])<<24
				fmt.Println("event", uint16(h[0])|uint16(h[1])<<8, value, strings.Join(frames[1:], " "))
			}
		})
	}
	must(m.SetOption(nil, "tls.cert", os.Getenv("CERT")))
	must(m.SetOption(nil, "tls.key", os.Getenv("KEY")))
	must(m.SetOption(nil, "udp.max_message", strconv.Itoa(64<<20)))
	plain := func(*app.Socket) {}
	open(vtx.Router, plain, map[string]string{"tcp": "tcp://127.0.0.1:*", "ipc": "ipc://" + filepath.Join(dir, "s"), "tls": "tls://127.0.0.1:*"})
	open(vtx.XPub, plain, map[string]string{"xpub": "tcp://127.0.0.1:*"})
	open(vtx.Pull, plain, map[string]string{"udp": "udp://127.0.0.1:*"})
	open(vtx.Pull, plain, map[string]string{"idle": "tcp://127.0.0.1:*"})
	open(vtx.Router, func(s *app.Socket) {
		s.Set(zmq.CurveServer, 1)
		s.SetString(zmq.CurveSecretKey, secret)
	}, map[string]string{"curve": "tcp://127.0.0.1:*"})
	fmt.Println("bound")

	lines := bufio.NewScanner(os.Stdin)
	lines.Scan()
	room, err := strconv.Atoi(lines.Text())
	must(err)
	limit(t, room)
	fmt.Println("limited")
	for lines.Scan() {
	}
	close(stop)
	for _, done := range running {
		<-done
	}
	must(unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}))
}

// limit lets the process have so many bytes of address space more than it has.
func limit(t *testing.T, room int) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages := 0
	fmt.Sscan(string(text), &pages)
	if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: uint64(pages*os.Getpagesize() + room), Max: unix.RLIM_INFINITY}); err != nil {
		t.Fatal(err)
	}
}
