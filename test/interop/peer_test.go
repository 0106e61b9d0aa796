package interop

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

// library is an implementation of ZeroMQ sockets.
type library interface {
	name() string
	// lacks says why the library has no such thing, "" if it has it. What is asked for is a transport, a socket
	// type, an option or one of the features below.
	lacks(what string) string
	// open makes a socket with LINGER 0 that is closed at the end of the test.
	open(t testing.TB, typ vtx.SocketType, o options) socket
}

// Features that not every library has.
const (
	longIDs   = "identities of more than 127 bytes"
	counts    = "counting a SUB's subscriptions of one topic"
	tellsSubs = "an XPUB that receives subscriptions"
	upstream  = "messages from XSUB to XPUB"
	answers   = "answering heartbeats"
)

// socket is a library's socket. One goroutine at a time.
type socket interface {
	bind(endpoint string) error
	connect(endpoint string) error
	subscribe(topic string) error
	unsubscribe(topic string) error
	send(frames ...string) error
	// recv gives errNothing if no message comes in time.
	recv(within time.Duration) ([]string, error)
	close()
}

// authenticator is a library that has a ZAP handler, which it runs where its sockets are.
type authenticator interface {
	library
	// authenticate lets in who is in the list, until the end of the test.
	authenticate(t testing.TB, l guestList)
}

// guestList says who may come in.
type guestList struct {
	users map[string]string // passwords
	keys  []string          // public CURVE keys, Z85
	// addresses may come without security. Only zapHandler looks at them.
	addresses []string
}

var errNothing = errors.New("nothing came")

// options are socket options by libzmq's names in lower case.
type options map[string]string

func (o options) with(more options) options {
	all := maps.Clone(o)
	if all == nil {
		all = make(options)
	}
	maps.Copy(all, more)
	return all
}

// fields are the options for a child's command line.
func (o options) fields() []string {
	var f []string
	for _, name := range slices.Sorted(maps.Keys(o)) {
		f = append(f, name, o[name])
	}
	return f
}

// end is a socket in a test, which fails if the socket does.
type end struct {
	t testing.TB
	s socket
}

// start opens a socket, with retries fast enough for a test.
func start(t testing.TB, l library, typ vtx.SocketType, o options) *end {
	t.Helper()
	need(t, l, typ.String())
	need(t, l, slices.Collect(maps.Keys(o))...)
	fast := options{"reconnect_ivl": "10"}
	if l.lacks("reconnect_ivl") != "" {
		fast = nil
	}
	return &end{t, l.open(t, typ, fast.with(o))}
}

// need skips the test if the library lacks something that it is about.
func need(t testing.TB, l library, what ...string) {
	t.Helper()
	for _, w := range what {
		if reason := l.lacks(w); reason != "" {
			t.Skipf("%s: %s", l.name(), reason)
		}
	}
}

func (e *end) bind(endpoint string) {
	e.t.Helper()
	if err := e.s.bind(endpoint); err != nil {
		e.t.Fatalf("bind %s: %v", endpoint, err)
	}
}

func (e *end) connect(endpoint string) {
	e.t.Helper()
	if err := e.s.connect(endpoint); err != nil {
		e.t.Fatalf("connect %s: %v", endpoint, err)
	}
}

func (e *end) subscribe(topic string) {
	e.t.Helper()
	if err := e.s.subscribe(topic); err != nil {
		e.t.Fatalf("subscribe %q: %v", topic, err)
	}
}

func (e *end) unsubscribe(topic string) {
	e.t.Helper()
	if err := e.s.unsubscribe(topic); err != nil {
		e.t.Fatalf("unsubscribe %q: %v", topic, err)
	}
}

func (e *end) send(frames ...string) {
	e.t.Helper()
	if err := e.s.send(frames...); err != nil {
		e.t.Fatalf("sending %.60q: %v", frames, err)
	}
}

func (e *end) recv() []string {
	e.t.Helper()
	m, err := e.s.recv(*patience)
	if err != nil {
		e.t.Fatalf("receiving: %v", err)
	}
	return m
}

func (e *end) want(frames ...string) {
	e.t.Helper()
	if got := e.recv(); !slices.Equal(got, frames) {
		e.t.Fatalf("received %s, want %s", brief(got), brief(frames))
	}
}

// wantTail receives a message after a frame that the receiving end has put in front, and gives that.
func (e *end) wantTail(frames ...string) string {
	e.t.Helper()
	got := e.recv()
	if len(got) == 0 || !slices.Equal(got[1:], frames) {
		e.t.Fatalf("received %s, want an identity and %s", brief(got), brief(frames))
	}
	return got[0]
}

func brief(frames []string) string {
	var all []string
	for _, f := range frames {
		if len(f) > 60 {
			all = append(all, fmt.Sprintf("%.40q… (%d bytes)", f, len(f)))
		} else {
			all = append(all, fmt.Sprintf("%q", f))
		}
	}
	return fmt.Sprint(len(frames), " frames ", all)
}

// publish sends a message, again and again, until the subscriber has it: nothing tells a PUB that somebody is there.
func publish(pub, sub *end, frames ...string) {
	sub.t.Helper()
	for end := time.Now().Add(*patience); time.Now().Before(end); {
		pub.send(frames...)
		got, err := sub.s.recv(20 * time.Millisecond)
		for err == nil {
			if slices.Equal(got, frames) {
				return
			}
			got, err = sub.s.recv(20 * time.Millisecond)
		}
		if !errors.Is(err, errNothing) {
			sub.t.Fatalf("receiving: %v", err)
		}
	}
	sub.t.Fatalf("%q never came", frames)
}

// skipTo receives until the message comes, and fails if an unwanted one comes before it.
func skipTo(sub *end, last string, unwanted ...string) {
	sub.t.Helper()
	for {
		m := sub.recv()
		if slices.Contains(unwanted, m[0]) {
			sub.t.Fatalf("received %q", m)
		}
		if m[0] == last {
			return
		}
	}
}

var endpointSerial atomic.Int64

// endpoint is one that nobody has used: for tcp a loopback address of this process alone.
func endpoint(t testing.TB, transport string) string {
	t.Helper()
	switch transport {
	case "tcp":
		pid := os.Getpid()
		return fmt.Sprintf("tcp://127.%d.%d.1:%d", 1+pid>>8&0x7f, pid&0xff, 10000+endpointSerial.Add(1))
	case "ipc":
		dir, err := os.MkdirTemp("", "interop")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		return "ipc://" + dir + "/s"
	}
	t.Fatalf("no transport %s", transport)
	return ""
}

// dial connects to an endpoint without ZMTP.
func dial(t testing.TB, endpoint string) net.Conn {
	t.Helper()
	network, at := address(endpoint)
	conn, err := net.Dial(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// listen binds an endpoint without ZMTP.
func listen(t testing.TB, endpoint string) net.Listener {
	t.Helper()
	network, at := address(endpoint)
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// address is the endpoint as package net wants it.
func address(endpoint string) (network, at string) {
	if at, ok := strings.CutPrefix(endpoint, "ipc://"); ok {
		return "unix", at
	}
	return "tcp", strings.TrimPrefix(endpoint, "tcp://")
}
