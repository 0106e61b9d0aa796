package vtx_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

const zapEndpoint = "inproc://zeromq.zap.01"

// handler is a ZAP handler that the test plays itself.
type handler struct{ *app.Socket }

func (h *host) handler(typ vtx.SocketType) handler {
	h.t.Helper()
	s := handler{h.socket(typ)}
	s.Native(true, zapEndpoint)
	return s
}

// unbind leaves the connections as they are.
func (h handler) unbind(t *testing.T) {
	t.Helper()
	if err := zmq.Unbind(zmq.Handle(h.P), zapEndpoint); err != nil {
		t.Fatal(err)
	}
}

// question is one that a ROUTER has received.
type question []string

func (h handler) question() question { return h.Recv() }

func (q question) id() string         { return q[3] }
func (q question) credential() string { return q[len(q)-1] }

// answer answers it, with a status for 200's user's sake.
func (h handler) answer(q question, status, user string) {
	h.Send(q[0], "", "1.0", q.id(), status, "text", user, "")
}

// verdict receives events until a handshake has succeeded or failed.
func verdict(events *app.Socket) (kind vtx.EventKind, value uint32, reason string) {
	for {
		m := events.Recv()
		kind := vtx.EventKind(m[0][0]) | vtx.EventKind(m[0][1])<<8
		switch kind {
		case vtx.EventHandshakeSucceeded, vtx.EventHandshakeFailed, vtx.EventHandshakeFailedAuth, vtx.EventHandshakeFailedProtocol:
			value := uint32(m[0][2]) | uint32(m[0][3])<<8 | uint32(m[0][4])<<16 | uint32(m[0][5])<<24
			return kind, value, strings.Join(m[2:], "")
		}
	}
}

// plainUser connects a stock libzmq client, which tries again and again.
func plainUser(t *testing.T, typ vtx.SocketType, user, endpoint string) *app.Socket {
	t.Helper()
	s := app.NewContext(t).Socket(t, int(typ))
	plainClient(s, user, user)
	s.SetString(zmq.RoutingID, user)
	s.Set(zmq.ReconnectIvl, 10)
	s.Native(false, "tcp://"+strings.TrimPrefix(endpoint, "loop://"))
	return s
}

// askedRouter is a ROUTER whose peers the ZAP handler is asked about, by PLAIN.
func askedRouter(h *host, scheme string) (router, events *app.Socket, endpoint string) {
	router = h.socket(vtx.Router)
	plainServer(router)
	router.SetString(zmq.ZAPDomain, "home")
	events = h.events(router)
	return router, events, h.bound(router, scheme)
}

// Once there was a handler only its answer lets in, whatever becomes of it then.
func TestZAPHandlerThatGoes(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	server, client := newKeys(t), newKeys(t)
	for how, c := range map[string]struct {
		play func(h handler)
		in   bool
	}{
		"denies and goes": {func(h handler) {
			q := h.Recv()
			h.Send("1.0", q[1], "400", "no", "", "")
		}, false},
		"lets in and goes": {func(h handler) {
			q := h.Recv()
			h.Send("1.0", q[1], "200", "OK", "u", "")
		}, true},
		"goes within its answer": {func(h handler) {
			h.Recv()
			h.SendPart("1.0")
		}, false},
		"goes without an answer": {func(h handler) { h.Recv() }, false},
	} {
		for _, mechanism := range []string{"NULL", "PLAIN", "CURVE"} {
			for _, enforce := range []int{0, 1} {
				t.Run(fmt.Sprintf("%s/%s/enforce=%d", how, mechanism, enforce), func(t *testing.T) {
					for range rounds {
						near, far := newHost(t), app.NewContext(t)
						zap := near.handler(vtx.Rep)
						pull, push := near.socket(vtx.Pull), far.Socket(t, int(vtx.Push))
						pull.SetString(zmq.ZAPDomain, "home")
						pull.Set(zmq.ZAPEnforceDomain, enforce)
						switch mechanism {
						case "PLAIN":
							plainServer(pull)
							plainClient(push, "u", "p")
						case "CURVE":
							curveServer(pull, server)
							curveClient(push, client, server.public)
						}
						events := near.events(pull)
						endpoint := near.bound(pull, "loop")
						push.Set(zmq.ReconnectIvl, -1)
						push.Native(false, "tcp://"+strings.TrimPrefix(endpoint, "loop://"))
						played := make(chan struct{})
						go func() {
							defer close(played)
							c.play(zap)
							zap.Close()
						}()
						kind, value, reason := verdict(events)
						<-played
						if in := kind == vtx.EventHandshakeSucceeded; in != c.in {
							t.Fatalf("let in: %v (event %#x, %d %q)", in, kind, value, reason)
						}
						near.Destroy()
					}
				})
			}
		}
	}
}

// Questions that are not answered keep nobody else out, and cost no sockets. Who leaves takes his question with him.
func TestUnansweredQuestions(t *testing.T) {
	const silent = 200
	h := smallHost(t, 40)
	router, events, endpoint := askedRouter(h, "loop")
	zap := h.handler(vtx.Router)
	x := &target{t: t, at: strings.TrimPrefix(endpoint, "loop://")}
	var conns []net.Conn
	for i := range silent {
		conn := x.dial()
		conn.Write(plainHello(fmt.Sprint("silent ", i)))
		conns = append(conns, conn)
	}
	for range silent {
		zap.question()
	}
	letIn := func(user string) {
		t.Helper()
		peer := plainUser(t, vtx.Dealer, user, endpoint)
		q := zap.question()
		if q.credential() != user {
			t.Fatalf("the handler is asked %q", q)
		}
		zap.answer(q, "200", user)
		peer.Send("hello")
		router.Want(user, "hello")
	}
	letIn("alice")
	for _, c := range conns {
		c.Close()
	}
	for range silent {
		if value, reason := await(t, events, vtx.EventHandshakeFailed); value != uint32(syscall.EPIPE) {
			t.Fatalf("a peer that has left is told as %d %q", value, reason)
		}
	}
	letIn("bob")
}

// Questions for which the handler has no room wait until it has. One whose peer has left meanwhile is not asked; and when
// the handler goes, all end.
func TestQuestionsWithoutRoom(t *testing.T) {
	const n = 30
	h := newHost(t)
	_, events, endpoint := askedRouter(h, "loop")
	zap := handler{h.socket(vtx.Router)}
	zap.Set(zmq.RcvHWM, 1)
	zap.Native(true, zapEndpoint)
	x := &target{t: t, at: strings.TrimPrefix(endpoint, "loop://")}
	ask := func() (conns []*net.TCPConn) {
		t.Helper()
		for i := range n {
			conn := x.dial()
			conn.Write(plainHello(fmt.Sprint("user ", i)))
			conns = append(conns, conn)
		}
		return conns
	}
	welcomed := func(conn net.Conn) {
		t.Helper()
		if _, err := io.ReadFull(conn, make([]byte, 64+2+len("\x07WELCOME"))); err != nil {
			t.Fatal(err)
		}
	}
	conns := ask()
	asked := make(map[string]bool)
	for len(asked) < n {
		q := zap.question()
		asked[q.credential()] = true
		zap.answer(q, "200", "u")
	}
	for _, conn := range conns {
		welcomed(conn)
		conn.Close()
		await(t, events, vtx.EventHandshakeFailed)
	}

	first := x.dial() // fills what room there is, with the next
	first.Write(plainHello("first"))
	conns = ask()
	for _, conn := range conns {
		conn.Close()
	}
	for range n {
		if value, reason := await(t, events, vtx.EventHandshakeFailed); value != uint32(syscall.EPIPE) {
			t.Fatalf("told as %d %q", value, reason)
		}
	}
	last := x.dial()
	last.Write(plainHello("last"))
	for count := 1; ; count++ {
		q := zap.question()
		zap.answer(q, "200", "u")
		if q.credential() == "last" {
			break
		}
		if count == n {
			t.Fatal("those who have left are asked about too")
		}
	}
	welcomed(first)
	welcomed(last)
	first.Close()
	last.Close()
	await(t, events, vtx.EventHandshakeFailed)
	await(t, events, vtx.EventHandshakeFailed)

	ask()
	zap.question()
	zap.Close()
	for range n {
		if value, reason := await(t, events, vtx.EventHandshakeFailed); value != uint32(syscall.EFAULT) {
			t.Fatalf("told as %d %q", value, reason)
		}
	}
}

// plainHello is a greeting and HELLO, with the name for a password too.
func plainHello(user string) []byte {
	word := string(rune(len(user))) + user
	return append(rawGreeting("PLAIN"), rawFrame(4, "\x05HELLO"+word+word)...)
}

// A peer that leaves while the handler is asked is missed; what a peer has sent meanwhile is not lost.
func TestLeavingWhileAsked(t *testing.T) {
	for _, scheme := range streamSchemes {
		t.Run(scheme, func(t *testing.T) {
			h := newHost(t)
			zap := h.handler(vtx.Router)
			router := h.socket(vtx.Router)
			router.SetString(zmq.ZAPDomain, "home")
			router.Set(zmq.HandshakeIvl, 0)
			events := h.events(router)
			x := &target{t: t, at: strings.TrimPrefix(h.bound(router, scheme), scheme+"://")}
			hello := append(rawGreeting("NULL"), rawReady("DEALER")...)

			for _, more := range []string{"", "and something more"} {
				conn := x.dial()
				conn.Write(hello)
				zap.question()
				if more != "" {
					conn.Write(rawFrame(0, more))
				}
				conn.CloseWrite()
				if kind, value, reason := verdict(events); kind != vtx.EventHandshakeFailed || value != uint32(syscall.EPIPE) {
					t.Fatalf("leaving is told as %#x, %d %q", kind, value, reason)
				}
				ends(t, conn)
			}

			conn := x.dial()
			conn.Write(hello)
			q := zap.question()
			conn.Write(rawFrame(1, "early"))
			zap.answer(q, "200", "u")
			conn.Write(rawFrame(0, "late"))
			if got := router.Recv(); len(got) != 3 || got[1] != "early" || got[2] != "late" {
				t.Fatalf("received %q", got)
			}
		})
	}
}

// A question ends with the time of its handshake.
func TestSilentZAPHandler(t *testing.T) {
	h := newHost(t)
	zap := h.handler(vtx.Router)
	router := h.socket(vtx.Router)
	router.SetString(zmq.ZAPDomain, "home")
	router.Set(zmq.HandshakeIvl, 100)
	events := h.events(router)
	x := &target{t: t, at: strings.TrimPrefix(h.bound(router, "loop"), "loop://")}
	conn := x.dial()
	conn.Write(append(rawGreeting("NULL"), rawReady("DEALER")...))
	zap.question()
	if kind, value, reason := verdict(events); kind != vtx.EventHandshakeFailed || value != uint32(syscall.ETIMEDOUT) {
		t.Fatalf("told as %#x, %d %q", kind, value, reason)
	}
	ends(t, conn)
}

// An answer that is none harms at most who it was for.
func TestBadZAPAnswers(t *testing.T) {
	h := newHost(t)
	router, events, endpoint := askedRouter(h, "loop")
	zap := h.handler(vtx.Router)
	x := &target{t: t, at: strings.TrimPrefix(endpoint, "loop://")}
	ask := func(user string) question {
		conn := x.dial()
		conn.Write(plainHello(user))
		return zap.question()
	}
	refused := func(why string) {
		t.Helper()
		if kind, value, reason := verdict(events); kind != vtx.EventHandshakeFailedAuth || value != 500 {
			t.Fatalf("%s: told as %#x, %d %q", why, kind, value, reason)
		}
	}
	alice := plainUser(t, vtx.Dealer, "alice", endpoint)
	good := zap.question()
	for why, answer := range map[string]func(q question) []string{
		"another version":  func(q question) []string { return []string{"", "2.0", q.id(), "200", "OK", "", ""} },
		"a frame too few":  func(q question) []string { return []string{"", "1.0", q.id(), "200", "OK", ""} },
		"a frame too many": func(q question) []string { return []string{"", "1.0", q.id(), "200", "OK", "", "", ""} },
		"no delimiter":     func(q question) []string { return []string{"x", "1.0", q.id(), "200", "OK", "", ""} },
		"no status":        func(q question) []string { return []string{"", "1.0", q.id(), "201", "OK", "", ""} },
	} {
		q := ask("mallory")
		zap.Send(append([]string{q[0]}, answer(q)...)...)
		refused(why)
	}
	// What is nobody's
	for _, frames := range [][]string{
		{"", "1.0", "another", "200", "OK", "", ""}, {"", "1.0", "", "400", "no", "", ""}, {""}, {"", "1.0"}, {"", "", "", "", "", "", "", "", ""},
		{"", "1.0", good.id() + "0", "400", "no", "", ""},
	} {
		zap.Send(append([]string{good[0]}, frames...)...)
	}
	zap.answer(good, "200", "alice")
	zap.answer(good, "400", "")
	alice.Send("hello")
	router.Want("alice", "hello")
	// The only one who waits: natively too it is refused at once
	other := h.socket(vtx.Router)
	other.SetString(zmq.ZAPDomain, "home")
	events = h.events(other)
	x.at = strings.TrimPrefix(h.bound(other, "loop"), "loop://")
	x.dial().Write(append(rawGreeting("NULL"), rawReady("DEALER")...))
	zap.Send(zap.question()[0], "", "what?")
	refused("no id")
}

// A handler is asked about those who come while it is bound, and not about those who came when nobody was: neither the
// first nor one that follows another.
func TestZAPHandlerThatComesLate(t *testing.T) {
	h := newHost(t)
	pull := h.socket(vtx.Pull)
	pull.SetString(zmq.ZAPDomain, "home")
	events := h.events(pull)
	x := &target{t: t, at: strings.TrimPrefix(h.bound(pull, "loop"), "loop://")}
	come := func() {
		conn := x.dial()
		conn.Write(append(rawGreeting("NULL"), rawReady("PUSH")...))
		t.Cleanup(func() { conn.Close() })
	}
	letIn := func() {
		t.Helper()
		if kind, value, reason := verdict(events); kind != vtx.EventHandshakeSucceeded {
			t.Fatalf("told as %#x, %d %q", kind, value, reason)
		}
	}
	for i := range 3 {
		for range 3 {
			come()
			letIn()
		}
		if i == 1 { // one that nobody has met
			passing := h.handler(vtx.Router)
			passing.unbind(t)
			passing.Close()
		}
		zap := h.handler(vtx.Router)
		if q, err := zap.RecvWithin(0); err == nil {
			t.Fatalf("the handler is asked %q", q)
		}
		for range 2 {
			come()
			zap.answer(zap.question(), "200", "u")
			letIn()
		}
		zap.unbind(t)
		zap.Close()
	}
}

// Whoever is bound is asked: one that has been unbound is not, whether it answered, is silent or has gone.
func TestZAPHandlerIsReplaced(t *testing.T) {
	h := newHost(t)
	router, _, endpoint := askedRouter(h, "loop")
	first := h.handler(vtx.Router)
	alice := plainUser(t, vtx.Dealer, "alice", endpoint)
	first.answer(first.question(), "200", "u")
	alice.Send("hello")
	router.Want("alice", "hello")

	first.unbind(t)
	second := h.handler(vtx.Router)
	bob := plainUser(t, vtx.Dealer, "bob", endpoint)
	second.answer(second.question(), "200", "u")
	bob.Send("hello")
	router.Want("bob", "hello")

	waiting := plainUser(t, vtx.Dealer, "carol", endpoint)
	unanswered := second.question()
	second.unbind(t)
	third := h.handler(vtx.Router)
	// As long as its question is young others go the same way; then they ask the third
	x := &target{t: t, at: strings.TrimPrefix(endpoint, "loop://")}
	for asked := false; !asked; {
		conn := x.dial()
		conn.Write(plainHello("dave"))
		app.Eventually(t, "somebody is asked", func() bool {
			if q, err := third.RecvWithin(0); err == nil {
				third.answer(q, "200", "u")
				asked = true
				return true
			}
			_, err := second.RecvWithin(0)
			return err == nil
		})
		conn.Close()
	}
	second.answer(unanswered, "200", "u") // it may still
	waiting.Send("hello")
	router.Want("carol", "hello")
	second.Close()
	third.unbind(t)
	third.Close()
	for i := range 5 {
		next, user := h.handler(vtx.Router), fmt.Sprint("user ", i)
		peer := plainUser(t, vtx.Dealer, user, endpoint)
		next.answer(next.question(), "200", "u")
		peer.Send("hello")
		router.Want(user, "hello")
		next.unbind(t)
		next.Close()
	}
}

// Neither the end of the manager nor that of the context waits for answers.
func TestEndWhileTheZAPHandlerIsAsked(t *testing.T) {
	for _, how := range []string{"manager", "context", "nobody there"} {
		t.Run(how, func(t *testing.T) {
			h := newHost(t)
			router := h.socket(vtx.Router)
			router.SetString(zmq.ZAPDomain, "home")
			router.Set(zmq.HandshakeIvl, 0)
			x := &target{t: t, at: strings.TrimPrefix(h.bound(router, "loop"), "loop://")}
			var zap handler
			if how != "nobody there" {
				zap = h.handler(vtx.Router)
			}
			conn := x.dial()
			conn.Write(append(rawGreeting("NULL"), rawReady("DEALER")...))
			if how == "nobody there" {
				if _, err := io.ReadFull(conn, make([]byte, 66)); err != nil {
					t.Fatal(err)
				}
				return
			}
			zap.question()
			if how == "manager" {
				if err := h.Destroy(); err != nil {
					t.Fatal(err)
				}
				ends(t, conn)
			} // else the test's end does
		})
	}
}
