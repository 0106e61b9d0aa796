package vtx_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
)

// connected is a pair of TCP connections.
func connected(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

// signalled says whether what do does raises SIGPIPE. Go gives signals that come together in the order of their numbers.
func signalled(t *testing.T, do func()) bool {
	t.Helper()
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGPIPE, syscall.SIGWINCH)
	defer signal.Stop(signals)
	do()
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	return <-signals == syscall.SIGPIPE
}

func TestNoSignal(t *testing.T) {
	conn, _ := connected(t)
	conn.CloseWrite()
	write := func(c net.Conn) func() {
		return func() {
			if n, err := c.Write([]byte("x")); n != 0 || !errors.Is(err, syscall.EPIPE) {
				t.Errorf("%d %v, want EPIPE", n, err)
			}
		}
	}
	if signalled(t, write(vtx.NoSignal(conn))) {
		t.Error("it raises SIGPIPE")
	}
	if !signalled(t, write(conn)) {
		t.Error("Go's own raises no SIGPIPE any more")
	}
	if c := vtx.NoSignal(conn); vtx.NoSignal(c) != c {
		t.Error("it goes twice around a connection")
	}
	if c := net.Conn(opaque{conn}); vtx.NoSignal(c) != c {
		t.Error("it takes what has no descriptor")
	}
}

// It waits for the peer as any net.Conn does, to the end or the deadline, and says how much has gone.
func TestNoSignalWaits(t *testing.T) {
	near, far := connected(t)
	conn := vtx.NoSignal(near)
	body := make([]byte, 64<<20) // more than the system's buffers take
	got := make(chan int64, 1)
	hear := func(r io.Reader) {
		n, _ := io.Copy(io.Discard, r)
		got <- n
	}
	go hear(io.LimitReader(far, int64(len(body))))
	if n, err := conn.Write(body); n != len(body) || err != nil {
		t.Errorf("%d bytes of %d: %v", n, len(body), err)
	}
	<-got
	time.AfterFunc(10*time.Millisecond, func() { conn.SetWriteDeadline(time.Unix(1, 0)) })
	n, err := conn.Write(body)
	var timeout net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("after the deadline: %v", err)
	}
	go hear(far)
	conn.(interface{ CloseWrite() error }).CloseWrite()
	if m := <-got; m != int64(n) {
		t.Errorf("it says that %d bytes have gone, and %d have", n, m)
	}
}

// dumb is a connection whose own Write nobody may call.
type dumb struct{ *net.TCPConn }

var dumbWrites atomic.Int64

func newDumb(conn *net.TCPConn) net.Conn { return dumb{conn} }

func (c dumb) Write(p []byte) (int, error) {
	dumbWrites.Add(1)
	return c.TCPConn.Write(p)
}

func (c dumb) ReadFrom(r io.Reader) (int64, error) {
	dumbWrites.Add(1)
	return c.TCPConn.ReadFrom(r)
}

// newSafeDumb protects one, with nothing.
func newSafeDumb(conn *net.TCPConn) net.Conn {
	return &vtx.SecureConn{Conn: dumb{conn}, Protect: func(_ context.Context, under net.Conn) (vtx.Protected, vtx.Identity, error) {
		return unprotected{under, conn}, vtx.Identity{}, nil
	}}
}

type unprotected struct {
	net.Conn
	under *net.TCPConn
}

func (c unprotected) CloseWrite() error { return c.under.CloseWrite() }

// The engine writes to a connection with a descriptor in its own way, whatever it has to say.
func TestOneWayToWrite(t *testing.T) {
	for _, pump := range []string{"", "off"} {
		for _, scheme := range []string{"dumb", "dumb+safe"} {
			t.Run(scheme+"/pump="+pump, func(t *testing.T) {
				t.Setenv("VTX_PUMP", pump)
				before := dumbWrites.Load()
				h := newHost(t)
				zapHandler(t, h, func([]string) (status, text, user string) { return "400", "no", "" })
				server, client := newKeys(t), newKeys(t)
				for what, refusal := range map[string]struct {
					prepare func(server, client *app.Socket)
					typ     vtx.SocketType
					kind    vtx.EventKind
				}{
					"type": {func(_, _ *app.Socket) {}, vtx.Pub, vtx.EventHandshakeFailedProtocol},
					"mechanism": {func(s, _ *app.Socket) { curveServer(s, server) },
						vtx.Dealer, vtx.EventHandshakeFailedProtocol},
					"handler": {func(s, c *app.Socket) { curveServer(s, server); curveClient(c, client, server.public) },
						vtx.Dealer, vtx.EventHandshakeFailedAuth},
				} {
					to, from := h.socket(vtx.Dealer), h.socket(refusal.typ)
					refusal.prepare(to, from)
					e := h.events(to)
					h.connect(from, h.bound(to, scheme))
					await(t, e, refusal.kind)
					if err := h.Close(from.P); err != nil {
						t.Errorf("%s: %v", what, err)
					}
					from.Forget()
				}
				to, from := h.socket(vtx.Dealer), h.socket(vtx.Dealer)
				h.connect(from, h.bound(to, scheme))
				body := strings.Repeat("x", 1<<20)
				from.Send("there", body)
				to.Want("there", body)
				to.Send("and back", body)
				from.Want("and back", body)
				from.Forget()
				if err := h.Close(from.P); err != nil {
					t.Error(err)
				}
				if n := dumbWrites.Load() - before; n > 0 {
					t.Errorf("%d calls of the connection's own Write", n)
				}
			})
		}
	}
}

// writers are all the calls by which the engine and the drivers of streams write to something that may be a connection.
// Each goes, or is on the way, to what NoSignal returns, to a descriptor by writeNow, or nowhere.
var writers = []string{
	"internal/zmtp/handshake.go: h.rw.Write",
	"vtx/connlink.go: k.conn.Write",
	"vtx/fdwrite.go: k.shield.Write",
	"vtx/protect.go: c.Conn.Write",
	"vtx/protect.go: c.Protected.Write",
	"vtx/protect.go: io.CopyN",
	"vtx/nosignal.go: c.raw.Write",
	"internal/zmq/poller.go: unix.Write", // to an eventfd
}

// A new call that writes is looked at by whoever adds it here.
func TestAllWriters(t *testing.T) {
	write := regexp.MustCompile(`\.(Write|WriteTo|ReadFrom|Writev|Pwritev?|Send(to|msg|msgN|msgBuffers|file)|Splice|Tee)$|^io\.Copy`)
	found := make(map[string]bool)
	for _, dir := range []string{"vtx", "internal/zmq", "internal/zmtp", "drivers/tcp", "drivers/ipc", "drivers/tls", "drivers/sasl",
		"drivers/attached", "drivers/internal", "capi"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "drivertest" || d.Name() == "passwd"):
				return filepath.SkipDir
			case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if f := types.ExprString(call.Fun); write.MatchString(f) {
						found[strings.TrimPrefix(path, "../")+": "+f] = true
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for call := range found {
		if !slices.Contains(writers, call) {
			t.Errorf("%s: may it raise SIGPIPE?", call)
		}
	}
	for _, call := range writers {
		if !found[call] {
			t.Errorf("%s is not there any more", call)
		}
	}
}
