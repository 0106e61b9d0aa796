package interop

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/test/interop/native"
	"github.com/libvtx/libvtx/vtx"
	zmq "github.com/pebbe/zmq4"
)

// security is a server and who comes to it.
type security struct {
	name            string
	server          options
	guest, stranger options
	list            guestList
	user            string // the guest's
}

func keypair(t testing.TB) (public, secret string) {
	t.Helper()
	public, secret, err := zmq.NewCurveKeypair()
	if err != nil {
		t.Fatal(err)
	}
	return public, secret
}

func plainSecurity(testing.TB) security {
	return security{
		name:     "PLAIN",
		server:   options{"plain_server": "1", "zap_domain": "interop"},
		guest:    options{"plain_username": "alice", "plain_password": "open sesame"},
		stranger: options{"plain_username": "alice", "plain_password": "wrong"},
		list:     guestList{users: map[string]string{"alice": "open sesame"}},
		user:     "alice",
	}
}

func curveSecurity(t testing.TB) security {
	t.Helper()
	serverPublic, serverSecret := keypair(t)
	client := func() options {
		public, secret := keypair(t)
		return options{"curve_serverkey": serverPublic, "curve_publickey": public, "curve_secretkey": secret}
	}
	s := security{
		name:     "CURVE",
		server:   options{"curve_server": "1", "curve_publickey": serverPublic, "curve_secretkey": serverSecret, "zap_domain": "interop"},
		guest:    client(),
		stranger: client(),
	}
	s.user = s.guest["curve_publickey"]
	s.list.keys = []string{s.user}
	return s
}

var securities = []func(testing.TB) security{plainSecurity, curveSecurity}

// zapHandler is an application's own (RFC 27), in the application's context, until the end of the test.
// It tells users as "user NAME".
func zapHandler(t testing.TB, o *ours, l guestList) {
	t.Helper()
	rep := o.ctx.Socket(t, int(vtx.Rep))
	rep.Native(true, "inproc://zeromq.zap.01")
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		<-stopped
	})
	go func() {
		defer close(stopped)
		for {
			m, err := rep.RecvWithin(20 * time.Millisecond)
			select {
			case <-stop:
				return
			default:
			}
			if err != nil {
				continue
			}
			status, text, user := "400", "not on the list", ""
			switch {
			case len(m) < 6 || m[0] != "1.0" || m[2] != "interop":
				t.Errorf("a request of another form: %q", m)
			case m[5] == "PLAIN" && len(m) == 8 && l.users[m[6]] == m[7]:
				user = "user " + m[6]
			case m[5] == "CURVE" && len(m) == 7 && slices.Contains(l.keys, zmq.Z85encode(m[6])):
				user = "user " + zmq.Z85encode(m[6])
			case m[5] == "NULL" && len(m) == 6 && slices.Contains(l.addresses, m[3]):
				user = "user at " + m[3]
			}
			if user != "" {
				status, text = "200", "OK"
			}
			if err := rep.TrySend(true, "1.0", m[1], status, text, user, ""); err != nil {
				t.Errorf("ZAP: %v", err)
			}
		}
	}()
}

// visit lets a guest talk to a ROUTER, through frames of all kinds.
func visit(router, guest *end, id string) {
	guest.t.Helper()
	for _, m := range [][]string{{"hello"}, {""}, {"", "a", ""}, {strings.Repeat("x", 255), strings.Repeat("y", 70000)}, {strings.Repeat("z", 3<<20)}} {
		guest.send(m...)
		router.want(append([]string{id}, m...)...)
		router.send(append([]string{id}, m...)...)
		guest.want(m...)
	}
}

func named(id string) options { return options{"routing_id": id} }

// TestTheirServer: we come to servers whose ZAP handler lets us in, or does not.
func TestTheirServer(t *testing.T) {
	for _, l := range libraries {
		l, can := l.(authenticator)
		if !can {
			continue
		}
		for _, transport := range transports {
			for _, make := range securities {
				m := make(t)
				t.Run(l.name()+"/"+transport+"/"+m.name, func(t *testing.T) {
					need(t, l, "routing_id")
					l.authenticate(t, m.list)
					server, at := start(t, l, vtx.Router, m.server), endpoint(t, transport)
					server.bind(at)
					guest := start(t, newOurs(t), vtx.Dealer, m.guest.with(named("guest")))
					guest.connect(at)
					visit(server, guest, "guest")

					denied := newOurs(t).socket(t, vtx.Dealer, m.stranger)
					events := denied.watch(t)
					stranger := &end{t, denied}
					stranger.connect(at)
					stranger.send("never")
					if _, status := events.await(vtx.EventHandshakeFailedAuth); status != 400 {
						t.Errorf("the event's value is %d, want 400", status)
					}
					visit(server, guest, "guest") // and nothing of the stranger
				})
			}
		}
	}
}

// TestOurServer: they come to us, and a ZAP handler in our application's context lets them in, or does not.
func TestOurServer(t *testing.T) {
	for _, l := range libraries {
		for _, transport := range transports {
			for _, make := range securities {
				m := make(t)
				t.Run(l.name()+"/"+transport+"/"+m.name, func(t *testing.T) {
					need(t, l, transport)
					o := newOurs(t)
					zapHandler(t, o, m.list)
					testOurServer(t, o, l, transport, m, "user "+m.user)
				})
			}
		}
	}
	// The handlers that others wrote, in their contexts: VTX joins sockets of any context
	foreign := map[string]struct {
		library authenticator
		context func() *app.Context
	}{
		"zauth":     {czmq{}, func() *app.Context { return &app.Context{P: native.CzmqContext()} }},
		"AuthStart": {pebbe{}, func() *app.Context { return &app.Context{P: pebbeContext(t)} }},
	}
	for name, f := range foreign {
		for _, make := range securities {
			m := make(t)
			t.Run("libzmq/tcp/"+m.name+" with "+name, func(t *testing.T) {
				f.library.authenticate(t, m.list)
				user := m.user
				if name == "AuthStart" && m.name == "CURVE" {
					user = "" // it tells none
				}
				testOurServer(t, joined(t, f.context()), pebbe{}, "tcp", m, user)
			})
		}
	}
}

func testOurServer(t *testing.T, o *ours, l library, transport string, m security, user string) {
	ours := o.socket(t, vtx.Router, m.server)
	server, at := &end{t, ours}, endpoint(t, transport)
	server.bind(at)
	guest := start(t, l, vtx.Dealer, m.guest.with(named("guest")))
	guest.connect(at)
	visit(server, guest, "guest")
	if o.m != nil {
		if got, err := o.m.Meta(ours.P, "user:guest"); got != user || err != nil && user != "" {
			t.Errorf("the guest is the user %q, want %q (%v)", got, user, err)
		}
	}
	events := ours.watch(t)
	told := func() (zmq.Event, int) { return zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400 }
	stranger := start(t, l, vtx.Dealer, m.stranger)
	if p, ok := stranger.s.(*pebbeSocket); ok {
		told = p.awaitEvent(t, failures)
	}
	stranger.connect(at)
	// It sends nothing: turned away, it has no pipe to send to, and would wait for one.
	if _, status := events.await(vtx.EventHandshakeFailedAuth); status != 400 {
		t.Errorf("the event's value is %d, want 400", status)
	}
	event, status := told()
	// libzmq 4.3.4's own PLAIN server says "^RROR", and its client understands nothing else
	if wellFormed := m.name == "PLAIN" && event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL; !wellFormed && (event != zmq.EVENT_HANDSHAKE_FAILED_AUTH || status != 400) {
		t.Errorf("the stranger was told %s %d", event, status)
	}
	visit(server, guest, "guest")
}

// TestNullDomain: where there is a domain, the handler decides about connections without security too.
func TestNullDomain(t *testing.T) {
	user := fmt.Sprintf("localhost:%d:%d:%d", os.Getuid(), os.Getgid(), os.Getpid())
	for _, c := range []struct {
		transport string
		addresses []string
	}{{"tcp", []string{"127.0.0.1"}}, {"tcp", nil}, {"ipc", []string{user}}, {"ipc", nil}} {
		t.Run(fmt.Sprintf("libzmq/%s/%d guests", c.transport, len(c.addresses)), func(t *testing.T) {
			o := newOurs(t)
			zapHandler(t, o, guestList{addresses: c.addresses})
			ours := o.socket(t, vtx.Router, options{"zap_domain": "interop"})
			events := ours.watch(t)
			server, at := &end{t, ours}, endpoint(t, c.transport)
			server.bind(at)
			guest := start(t, pebbe{}, vtx.Dealer, named("guest"))
			guest.connect(at)
			if len(c.addresses) > 0 {
				visit(server, guest, "guest")
				return
			}
			guest.send("never")
			events.await(vtx.EventHandshakeFailedAuth)
		})
	}
}

// TestWrongServerKey: who expects another server does not get in, and nothing of his arrives.
func TestWrongServerKey(t *testing.T) {
	other, _ := keypair(t)
	for _, l := range libraries {
		for _, transport := range transports {
			t.Run(l.name()+"/"+transport, func(t *testing.T) {
				need(t, l, transport, "curve_server")
				m := curveSecurity(t)
				wrong := m.guest.with(options{"curve_serverkey": other})
				t.Run("their server", func(t *testing.T) {
					server, at := start(t, l, vtx.Router, m.server), endpoint(t, transport)
					server.bind(at)
					ours := newOurs(t).socket(t, vtx.Dealer, wrong)
					events := ours.watch(t)
					mistaken := &end{t, ours}
					mistaken.connect(at)
					mistaken.send("never")
					events.await(vtx.EventHandshakeFailed, vtx.EventHandshakeFailedProtocol, vtx.EventDisconnected)
					guest := start(t, newOurs(t), vtx.Dealer, m.guest.with(named("guest")))
					guest.connect(at)
					visit(server, guest, "guest")
				})
				t.Run("our server", func(t *testing.T) {
					ours := newOurs(t).socket(t, vtx.Router, m.server)
					server, at := &end{t, ours}, endpoint(t, transport)
					server.bind(at)
					events := ours.watch(t)
					mistaken := start(t, l, vtx.Dealer, wrong)
					mistaken.connect(at)
					mistaken.send("never")
					events.await(vtx.EventHandshakeFailedProtocol)
					guest := start(t, l, vtx.Dealer, m.guest.with(named("guest")))
					guest.connect(at)
					visit(server, guest, "guest")
				})
			})
		}
	}
}

// TestNoHandler: without a ZAP handler PLAIN lets nobody in, and CURVE everybody who knows the server's key.
func TestNoHandler(t *testing.T) {
	for _, transport := range transports {
		t.Run("libzmq/"+transport, func(t *testing.T) {
			t.Run("PLAIN", func(t *testing.T) {
				m := plainSecurity(t)
				ours := newOurs(t).socket(t, vtx.Router, m.server)
				server, at := &end{t, ours}, endpoint(t, transport)
				server.bind(at)
				events := ours.watch(t)
				guest := start(t, pebbe{}, vtx.Dealer, m.guest)
				guest.connect(at)
				guest.send("never")
				events.await(vtx.EventHandshakeFailed, vtx.EventHandshakeFailedAuth)
				if m, err := server.s.recv(0); !errors.Is(err, errNothing) {
					t.Fatalf("received %q", m)
				}
			})
			t.Run("CURVE", func(t *testing.T) {
				m := curveSecurity(t)
				server, at := start(t, newOurs(t), vtx.Router, m.server), endpoint(t, transport)
				server.bind(at)
				guest := start(t, pebbe{}, vtx.Dealer, m.stranger.with(named("guest")))
				guest.connect(at)
				visit(server, guest, "guest")
			})
		})
	}
}

// TestOtherMechanism: two ends that want different security do not meet, and say why.
func TestOtherMechanism(t *testing.T) {
	curve, plain := curveSecurity(t), plainSecurity(t)
	kinds := []vtx.EventKind{vtx.EventHandshakeFailed, vtx.EventHandshakeFailedProtocol}
	for i, c := range []struct{ server, client options }{
		{nil, plain.guest}, {plain.server, nil}, {plain.server, curve.guest}, {curve.server, plain.guest}, {curve.server, nil},
		{plain.server, plain.server}, {curve.server, curve.server}, {plain.guest, plain.guest},
	} {
		// Two servers wait for each other
		soon := options{"handshake_ivl": "300"}
		t.Run(fmt.Sprintf("libzmq/tcp/%d/our server", i), func(t *testing.T) {
			ours := newOurs(t).socket(t, vtx.Pull, soon.with(c.server))
			events, at := ours.watch(t), endpoint(t, "tcp")
			(&end{t, ours}).bind(at)
			start(t, pebbe{}, vtx.Push, c.client).connect(at)
			events.await(kinds...)
		})
		t.Run(fmt.Sprintf("libzmq/tcp/%d/our client", i), func(t *testing.T) {
			at := endpoint(t, "tcp")
			start(t, pebbe{}, vtx.Pull, c.server).bind(at)
			ours := newOurs(t).socket(t, vtx.Push, soon.with(c.client))
			events := ours.watch(t)
			(&end{t, ours}).connect(at)
			events.await(kinds...)
		})
	}
}
