package sockets

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/libvtx/libvtx/vtx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a net.Listener that does what it is told: each entry is a connection or an error.
type script struct {
	steps  chan any
	once   sync.Once
	closed chan struct{}
}

func newScript(steps ...any) *script {
	s := &script{steps: make(chan any, len(steps)), closed: make(chan struct{})}
	for _, x := range steps {
		s.steps <- x
	}
	return s
}

func (s *script) Accept() (net.Conn, error) {
	select {
	case x := <-s.steps:
		if err, ok := x.(error); ok {
			return nil, err
		}
		return x.(net.Conn), nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *script) Addr() net.Addr { return &net.UnixAddr{Name: "address"} }
func (s *script) Close() error   { s.once.Do(func() { close(s.closed) }); return nil }

// peer is a connection from an address; it notices when it is closed.
type peer struct {
	net.Conn
	from   string
	closed bool
}

func (p *peer) RemoteAddr() net.Addr {
	if a, err := netip.ParseAddrPort(p.from); err == nil {
		return net.TCPAddrFromAddrPort(a)
	}
	return &net.UnixAddr{Name: p.from, Net: "unix"}
}
func (p *peer) Close() error { p.closed = true; return nil }

type news struct {
	vtx.Reporter
	events []vtx.Event
}

func (n *news) Event(e vtx.Event) { n.events = append(n.events, e) }

func listener(s *script, admit func(net.Conn) (net.Conn, error), release func()) (*Listener, *news) {
	n := new(news)
	return Listen(s, &vtx.Config{Endpoint: vtx.Endpoint{Scheme: "some"}, Report: n}, s.Addr(), admit, release), n
}

func everybody(c net.Conn) (net.Conn, error) { return c, nil }

// Who is turned away is told by his address; on a Unix socket, where that may be any name, by ours.
func TestRefusals(t *testing.T) {
	bad, named, good := &peer{from: "192.0.2.1:1"}, &peer{from: "@bad\n"}, &peer{from: "@good"}
	l, n := listener(newScript(bad, named, good), func(c net.Conn) (net.Conn, error) {
		if c != net.Conn(good) {
			return nil, fmt.Errorf("not this one: %w", syscall.EACCES)
		}
		return c, nil
	}, nil)
	defer l.Close()
	if c, err := l.Accept(); c != net.Conn(good) || err != nil {
		t.Fatal(c, err)
	}
	if !bad.closed || !named.closed || good.closed {
		t.Error("closed:", bad.closed, named.closed, good.closed)
	}
	want := []vtx.Event{
		{Kind: vtx.EventAcceptFailed, Value: uint32(syscall.EACCES), Endpoint: "some://192.0.2.1:1", Reason: "not this one: permission denied"},
		{Kind: vtx.EventAcceptFailed, Value: uint32(syscall.EACCES), Endpoint: "some://address", Reason: "not this one: permission denied"},
	}
	if fmt.Sprint(n.events) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", n.events, want)
	}
}

// An error of the system is told, and the next call goes on.
func TestAcceptErrors(t *testing.T) {
	l, _ := listener(newScript(syscall.EMFILE, &peer{}), everybody, nil)
	defer l.Close()
	for _, want := range []error{syscall.EMFILE, nil} {
		if _, err := l.Accept(); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

func TestClose(t *testing.T) {
	s := newScript()
	released := 0
	l, _ := listener(s, everybody, func() {
		select {
		case <-s.closed:
			t.Error("closed before it was released")
		default:
			released++
		}
	})
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if released != 1 {
		t.Errorf("released %d times", released)
	}
}

func TestInterfaceAddrs(t *testing.T) {
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		list, err := InterfaceAddrs(&i)
		if err != nil {
			t.Error(err)
		}
		for _, a := range list {
			if a.Is4In6() || (a.Zone() == i.Name) != (a.Is6() && a.IsLinkLocalUnicast()) {
				t.Errorf("%s: %s", i.Name, a)
			}
		}
		if i.Flags&net.FlagLoopback != 0 && len(list) == 0 {
			t.Error("loopback has no address")
		}
	}
}

func TestBindOnly(t *testing.T) {
	options := []vtx.OptionSpec{{Name: "some.filter"}}
	for name, ok := range map[string]bool{"filter": false, "some.filter": false, "other": true, "some.other": true} {
		e := vtx.Endpoint{Scheme: "some", Address: "x", Params: map[string]string{name: "1"}}
		if err := BindOnly(e, options); (err == nil) != ok || err != nil && !errors.Is(err, vtx.ErrNotSupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The resolver's questions go by NoSignal where they go over a stream.
func TestResolverRaisesNoSignal(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	stream, err := resolver.Dial(context.Background(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if _, bare := stream.(*net.TCPConn); bare {
		t.Error("over TCP it writes as Go does")
	}
	datagrams, err := resolver.Dial(context.Background(), "udp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	if _, ok := datagrams.(net.PacketConn); !ok {
		t.Errorf("over UDP it would ask as over TCP: %T", datagrams)
	}
	if _, err := resolver.Dial(context.Background(), "tcp", "127.0.0.1:-1"); err == nil {
		t.Error("it finds a port that there is none of")
	}
	if found, err := LookupNetIP(context.Background(), "ip4", "localhost"); err != nil || len(found) == 0 {
		t.Errorf("localhost: %v %v", found, err)
	}
}
