package interop

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/test/interop/native"
	"github.com/libvtx/libvtx/vtx"

	_ "github.com/libvtx/libvtx/drivers/all"
)

// reference puts plain libzmq where VTX would be: what these tests want of VTX is what libzmq does.
var reference = flag.Bool("reference", os.Getenv("INTEROP_REFERENCE") != "", "test libzmq itself in place of VTX")

// ours is an application whose sockets VTX joins to its peers.
type ours struct {
	t   testing.TB
	ctx *app.Context
	m   *vtx.Manager // nil in the reference
}

// vtxLibrary makes a new application for each socket.
type vtxLibrary struct{}

func (vtxLibrary) name() string             { return "vtx" }
func (vtxLibrary) lacks(what string) string { return "" }
func (vtxLibrary) open(t testing.TB, typ vtx.SocketType, o options) socket {
	return newOurs(t).open(t, typ, o)
}

func newOurs(t testing.TB) *ours {
	t.Helper()
	return joined(t, app.NewContext(t))
}

// joined is the application of a context that is somebody else's.
func joined(t testing.TB, ctx *app.Context) *ours {
	t.Helper()
	o := &ours{t: t, ctx: ctx}
	if *reference {
		return o
	}
	var err error
	if o.m, err = vtx.NewManager(ctx.P); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.m.Destroy() })
	return o
}

func (o *ours) name() string             { return "vtx" }
func (o *ours) lacks(what string) string { return "" }

type option struct {
	number int
	kind   rune // i: int, l: 64 bits, s: string, x: an option of VTX
}

var optionNumbers = map[string]option{
	"routing_id":         {5, 's'},
	"backlog":            {19, 'i'},
	"maxmsgsize":         {22, 'l'},
	"sndhwm":             {23, 'i'},
	"rcvhwm":             {24, 'i'},
	"linger":             {17, 'i'},
	"reconnect_ivl":      {18, 'i'},
	"router_mandatory":   {33, 'i'},
	"immediate":          {39, 'i'},
	"xpub_verbose":       {40, 'i'},
	"plain_server":       {44, 'i'},
	"plain_username":     {45, 's'},
	"plain_password":     {46, 's'},
	"curve_server":       {47, 'i'},
	"curve_publickey":    {48, 's'},
	"curve_secretkey":    {49, 's'},
	"curve_serverkey":    {50, 's'},
	"zap_domain":         {55, 's'},
	"connect_routing_id": {61, 'x'},
	"router_handover":    {56, 'i'},
	"handshake_ivl":      {66, 'i'},
	"heartbeat_ivl":      {75, 'i'},
	"heartbeat_ttl":      {76, 'i'},
	"heartbeat_timeout":  {77, 'i'},
}

func (o *ours) open(t testing.TB, typ vtx.SocketType, opts options) socket {
	return o.socket(t, typ, opts)
}

// socket opens one of the application's.
func (o *ours) socket(t testing.TB, typ vtx.SocketType, opts options) *ourSocket {
	t.Helper()
	s := &ourSocket{o: o, Socket: o.ctx.Socket(t, int(typ)), typ: typ}
	for name, value := range opts {
		opt, known := optionNumbers[name]
		if !known {
			t.Fatalf("no option %s", name)
		}
		switch n, err := strconv.Atoi(value); {
		case opt.kind == 'x' && o.m != nil:
			if err := o.m.SetOption(s.P, strings.Replace(name, "_", ".", 1), value); err != nil {
				t.Fatal(err)
			}
		case opt.kind == 's' || opt.kind == 'x':
			s.SetString(opt.number, value)
		case err != nil:
			t.Fatal(err)
		case opt.kind == 'l':
			b := binary.NativeEndian.AppendUint64(nil, uint64(n))
			s.SetString(opt.number, string(b))
		default:
			s.Set(opt.number, n)
		}
	}
	s.Set(28, int(patience.Milliseconds()))
	return s
}

type ourSocket struct {
	*app.Socket
	o   *ours
	typ vtx.SocketType
}

func (s *ourSocket) bind(endpoint string) error {
	if s.o.m == nil {
		s.Native(true, endpoint)
		return nil
	}
	return s.o.m.Bind(s.P, endpoint)
}

func (s *ourSocket) connect(endpoint string) error {
	if s.o.m == nil {
		s.Native(false, endpoint)
		return nil
	}
	return s.o.m.Connect(s.P, endpoint)
}

func (s *ourSocket) subscribe(topic string) error {
	if s.typ == vtx.XSub {
		return s.send("\x01" + topic)
	}
	s.SetString(zmq.Subscribe, topic)
	return nil
}

func (s *ourSocket) unsubscribe(topic string) error {
	if s.typ == vtx.XSub {
		return s.send("\x00" + topic)
	}
	s.SetString(zmq.Subscribe+1, topic)
	return nil
}

func (s *ourSocket) send(frames ...string) error { return s.TrySend(true, frames...) }

func (s *ourSocket) recv(within time.Duration) ([]string, error) {
	m, err := s.RecvWithin(within)
	if errors.Is(err, syscall.EAGAIN) {
		err = errNothing
	}
	return m, err
}

// close sends what waits, within LINGER.
func (s *ourSocket) close() {
	if s.o.m == nil {
		s.Close()
		return
	}
	s.Forget()
	if err := s.o.m.Close(s.P); err != nil {
		s.o.t.Errorf("closing: %v", err)
	}
}

// peers waits until the socket has so many. The reference cannot tell.
func (s *ourSocket) peers(t testing.TB, n int) {
	t.Helper()
	if s.o.m == nil {
		return
	}
	app.Eventually(t, fmt.Sprintf("%d peers", n), func() bool {
		v, err := s.o.m.Meta(s.P, "peers")
		return err == nil && v == strconv.Itoa(n)
	})
}

// news are the events of one of our sockets.
type news struct {
	t testing.TB
	s *app.Socket
}

var monitorSerial atomic.Int64

// watch monitors the socket from now on.
func (s *ourSocket) watch(t testing.TB) *news {
	t.Helper()
	endpoint := fmt.Sprintf("inproc://monitor-%d", monitorSerial.Add(1))
	monitor := func(p unsafe.Pointer, endpoint string, events int) error { return native.Monitor(p, endpoint, events) }
	if s.o.m != nil {
		monitor = s.o.m.Monitor
	}
	if err := monitor(s.P, endpoint, 0xffff); err != nil {
		t.Fatal(err)
	}
	n := &news{t, s.o.ctx.Socket(t, int(vtx.Pair))}
	n.s.Set(zmq.RcvHWM, 0) // libzmq's thread would wait for one that does not listen
	n.s.Native(false, endpoint)
	if s.o.m == nil {
		t.Cleanup(func() { native.Monitor(s.P, "", 0) }) // before the listener goes, for which libzmq's thread would wait
	}
	return n
}

// await receives events until one of the kinds comes, and gives its kind and value.
func (n *news) await(kinds ...vtx.EventKind) (vtx.EventKind, uint32) {
	n.t.Helper()
	var seen []string
	for end := time.Now().Add(*patience); time.Now().Before(end); {
		frames, err := n.s.RecvWithin(time.Until(end))
		if err != nil || len(frames) < 2 || len(frames[0]) != 6 {
			break
		}
		kind := vtx.EventKind(binary.NativeEndian.Uint16([]byte(frames[0])))
		for _, k := range kinds {
			if k == kind {
				return kind, binary.NativeEndian.Uint32([]byte(frames[0][2:]))
			}
		}
		seen = append(seen, fmt.Sprintf("%#x %q", uint16(kind), frames[1:]))
	}
	n.t.Fatalf("no event %#x came, but %s", kinds, strings.Join(seen, ", "))
	return 0, 0
}

// handlerGone waits until a context's ZAP handler has gone: libzmq gives the endpoint of a closed socket back some time
// later, and a handler that comes before that finds it taken.
func handlerGone(t testing.TB, c *app.Context) {
	t.Helper()
	const zap = "inproc://zeromq.zap.01"
	rep := c.Socket(t, int(vtx.Rep))
	defer rep.Close()
	app.Eventually(t, "the ZAP handler is gone", func() bool {
		h := zmq.Handle(rep.P)
		return zmq.Bind(h, zap) == nil && zmq.Unbind(h, zap) == nil
	})
}
