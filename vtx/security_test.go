package vtx_test

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/nacl/box"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/internal/zmtp"
	"github.com/libvtx/libvtx/vtx"
)

// zapHandler answers the questions of RFC 27 in a context, with what decide returns: status, text, user.
func zapHandler(t *testing.T, h *host, decide func(q []string) (status, text, user string)) {
	t.Helper()
	rep := h.socket(vtx.Router)
	rep.Native(true, "inproc://zeromq.zap.01")
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			q, err := rep.RecvWithin(10e6)
			if err == nil {
				status, text, user := decide(q[2:])
				rep.TrySend(true, q[0], "", "1.0", q[3], status, text, user, "")
				continue
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
	})
}

type keys struct{ public, secret string }

func newKeys(t *testing.T) keys {
	t.Helper()
	public, secret, err := box.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return keys{string(public[:]), string(secret[:])}
}

func plainServer(s *app.Socket) { s.Set(zmq.PlainServer, 1) }

func plainClient(s *app.Socket, user, password string) {
	s.SetString(zmq.PlainUsername, user)
	s.SetString(zmq.PlainPassword, password)
}

func curveServer(s *app.Socket, k keys) {
	s.Set(zmq.CurveServer, 1)
	s.SetString(zmq.CurveSecretKey, k.secret)
}

func curveClient(s *app.Socket, k keys, server string) {
	s.SetString(zmq.CurvePublicKey, k.public)
	s.SetString(zmq.CurveSecretKey, k.secret)
	s.SetString(zmq.CurveServerKey, server)
}

// events opens a monitor of a socket.
func (h *host) events(s *app.Socket) *app.Socket {
	h.t.Helper()
	endpoint := strings.Replace(name("inproc"), "inproc://", "inproc://events-", 1)
	if err := h.Monitor(s.P, endpoint, -1); err != nil {
		h.t.Fatal(err)
	}
	m := h.socket(vtx.Pair)
	m.Native(false, endpoint)
	return m
}

// await receives events until one of a kind comes, and returns its value and third frame.
func await(t *testing.T, events *app.Socket, kind vtx.EventKind) (value uint32, reason string) {
	t.Helper()
	for {
		m := events.Recv()
		got := vtx.EventKind(m[0][0]) | vtx.EventKind(m[0][1])<<8
		if got != kind {
			continue
		}
		if len(m) > 2 {
			reason = m[2]
		}
		return uint32(m[0][2]) | uint32(m[0][3])<<8 | uint32(m[0][4])<<16 | uint32(m[0][5])<<24, reason
	}
}

// The application's ZAP handler decides, for each mechanism; who was let in has the name that it gave him.
func TestZAP(t *testing.T) {
	server, alice, mallory := newKeys(t), newKeys(t), newKeys(t)
	good := map[string]func(*app.Socket){
		"NULL":  func(s *app.Socket) { s.SetString(zmq.RoutingID, "good") },
		"PLAIN": func(s *app.Socket) { s.SetString(zmq.RoutingID, "good"); plainClient(s, "alice", "secret") },
		"CURVE": func(s *app.Socket) { s.SetString(zmq.RoutingID, "good"); curveClient(s, alice, server.public) },
	}
	bad := map[string]func(*app.Socket){
		"PLAIN": func(s *app.Socket) { plainClient(s, "alice", "wrong") },
		"CURVE": func(s *app.Socket) { curveClient(s, mallory, server.public) },
	}
	for _, mechanism := range []string{"NULL", "PLAIN", "CURVE"} {
		t.Run(mechanism, func(t *testing.T) {
			near, far := newHost(t), newHost(t)
			questions := make(chan []string, 100)
			zapHandler(t, near, func(q []string) (string, string, string) {
				questions <- q
				switch f := q[6:]; {
				case mechanism == "NULL",
					mechanism == "PLAIN" && f[0] == "alice" && f[1] == "secret",
					mechanism == "CURVE" && f[0] == alice.public:
					return "200", "OK", "alice"
				}
				return "400", "no such user", ""
			})
			router := near.socket(vtx.Router)
			router.SetString(zmq.ZAPDomain, "home")
			switch mechanism {
			case "PLAIN":
				plainServer(router)
			case "CURVE":
				curveServer(router, server)
			}
			events := near.events(router)
			endpoint := near.bound(router, "loop")

			dealer := far.socket(vtx.Dealer)
			good[mechanism](dealer)
			far.connect(dealer, endpoint)
			dealer.Send("let me in")
			router.Want("good", "let me in")
			if _, reason := await(t, events, vtx.EventHandshakeSucceeded); reason != `user "alice"` {
				t.Errorf("the monitor says %q", reason)
			}
			if user := near.meta(router, "user:good"); user != "alice" {
				t.Errorf("user %q", user)
			}
			if typ := near.meta(router, "property:socket-type:good"); typ != "DEALER" {
				t.Errorf("property socket-type %q", typ)
			}
			if q := <-questions; q[0] != "1.0" || q[2] != "home" || q[3] != "127.0.0.1" || q[5] != mechanism {
				t.Errorf("the handler was asked %q", q)
			}

			if bad[mechanism] == nil {
				return
			}
			intruder := far.socket(vtx.Dealer)
			bad[mechanism](intruder)
			seen := far.events(intruder)
			far.connect(intruder, endpoint)
			for _, e := range []*app.Socket{seen, events} {
				if status, reason := await(t, e, vtx.EventHandshakeFailedAuth); status != 400 || reason == "" {
					t.Errorf("refused with %d %q", status, reason)
				}
			}
			dealer.Send("still here")
			router.Want("good", "still here")
		})
	}
}

// Without a handler PLAIN lets nobody in, NULL and CURVE everybody, unless the domain is enforced; and nobody hangs.
func TestNoZAPHandler(t *testing.T) {
	server, client := newKeys(t), newKeys(t)
	for _, c := range []struct {
		mechanism string
		enforce   int
		admitted  bool
	}{
		{"NULL", 0, true}, {"NULL", 1, false}, {"PLAIN", 0, false}, {"CURVE", 0, true}, {"CURVE", 1, false},
	} {
		near, far := newHost(t), newHost(t)
		rep, req := near.socket(vtx.Rep), far.socket(vtx.Req)
		rep.SetString(zmq.ZAPDomain, "home")
		rep.Set(zmq.ZAPEnforceDomain, c.enforce)
		switch c.mechanism {
		case "PLAIN":
			plainServer(rep)
			plainClient(req, "alice", "secret")
		case "CURVE":
			curveServer(rep, server)
			curveClient(req, client, server.public)
		}
		events := near.events(rep)
		endpoint := near.bound(rep, "loop")
		far.connect(req, endpoint)
		if !c.admitted {
			await(t, events, vtx.EventHandshakeFailed)
			continue
		}
		req.Send("hello")
		rep.Want("hello")
	}
}

// A body that stays in libzmq's memory until it is sealed, or is opened where it is to stay, is in its place among the others.
func TestSealedBodiesOfAllSizes(t *testing.T) {
	server, client := newKeys(t), newKeys(t)
	near, far := newHost(t), app.NewContext(t)
	ours := near.socket(vtx.Dealer)
	curveServer(ours, server)
	address := strings.TrimPrefix(near.bound(ours, "loop"), "loop://")
	theirs := far.Socket(t, int(vtx.Dealer))
	curveClient(theirs, client, server.public)
	theirs.Native(false, "tcp://"+address)
	var messages [][]string
	for i, size := range []int{0, 1, 255, 256, zmq.LargeBody - 1, zmq.LargeBody, zmq.LargeBody + 1, 100000, 1 << 20} {
		body := strings.Repeat(string(rune('a'+i)), size)
		messages = append(messages, []string{body}, []string{"first", "", body}, []string{body, body, "last"}, []string{"small"})
	}
	for _, way := range [][2]*app.Socket{{ours, theirs}, {theirs, ours}} {
		var sending sync.WaitGroup
		sending.Go(func() {
			for _, m := range messages {
				way[0].Send(m...)
			}
		})
		for i, m := range messages {
			if got := way[1].Recv(); !slices.Equal(got, m) {
				t.Errorf("message %d is %.20q, not %.20q", i, got, m)
			}
		}
		sending.Wait()
	}
}

// Connections that nobody could be asked about cost no sockets of the context once they are gone: libzmq does not let
// go of one that is connected to a handler that is not there.
func TestNoZAPHandlerCostsNothing(t *testing.T) {
	server, client := newKeys(t), newKeys(t)
	near := newHost(t)
	router := near.socket(vtx.Router)
	curveServer(router, server)
	address := strings.TrimPrefix(near.bound(router, "loop"), "loop://")
	far := app.NewContext(t)
	ask := func(times int) {
		for range times {
			dealer := far.Socket(t, int(vtx.Dealer))
			curveClient(dealer, client, server.public)
			dealer.Native(false, "tcp://"+address)
			dealer.Send("hello")
			router.Recv()
			dealer.Close()
			app.Eventually(t, "no peers", func() bool {
				_, _ = router.RecvWithin(time.Millisecond) // so that libzmq lets go of its end of the pipe
				return near.meta(router, "peers") == "0"
			})
		}
	}
	ask(10)
	before := openDescriptors()
	ask(50)
	app.Eventually(t, "as many descriptors as before", func() bool { return openDescriptors() < before+20 })
}

// A handler that has been closed leaves nobody hanging, and one that comes later is asked.
func TestZAPHandlerComesAndGoes(t *testing.T) {
	near, far := newHost(t), newHost(t)
	rep := near.socket(vtx.Rep)
	rep.SetString(zmq.ZAPDomain, "home")
	rep.Set(zmq.ZAPEnforceDomain, 1)
	events := near.events(rep)
	endpoint := near.bound(rep, "loop")
	req := far.socket(vtx.Req)
	req.Set(zmq.ReconnectIvl, 1)
	far.connect(req, endpoint)
	await(t, events, vtx.EventHandshakeFailed)
	zapHandler(t, near, func([]string) (string, string, string) { return "200", "OK", "bob" })
	req.Send("hello")
	rep.Want("hello")
	if user := near.meta(rep, "user"); user != "bob" {
		t.Errorf("user %q", user)
	}
}

// Different security on the two ends never connects, and both ends say why.
func TestSecurityMismatch(t *testing.T) {
	near, far := newHost(t), newHost(t)
	rep, req := near.socket(vtx.Rep), far.socket(vtx.Req)
	plainServer(rep)
	events, seen := near.events(rep), far.events(req)
	far.connect(req, near.bound(rep, "loop"))
	for _, e := range []*app.Socket{events, seen} {
		if value, reason := await(t, e, vtx.EventHandshakeFailedProtocol); value != 0x11000002 || reason == "" {
			t.Errorf("mismatch is told as %#x %q", value, reason)
		}
	}
}

// Options that VTX cannot honour are refused with a sentence.
func TestRefusedOptions(t *testing.T) {
	const useFD, socksProxy = zmq.UseFD, zmq.SocksProxy
	h := newHost(t)
	fd, proxy := h.socket(vtx.Rep), h.socket(vtx.Req)
	fd.Set(useFD, 0)
	if err := h.Bind(fd.P, "loop://127.0.0.1:0"); !errors.Is(err, vtx.ErrNotSupported) || !strings.Contains(err.Error(), "ZMQ_USE_FD") {
		t.Errorf("ZMQ_USE_FD: %v", err)
	}
	proxy.SetString(socksProxy, "127.0.0.1:1080")
	if err := h.Connect(proxy.P, "loop://127.0.0.1:1"); !errors.Is(err, vtx.ErrNotSupported) || !strings.Contains(err.Error(), "SOCKS") {
		t.Errorf("ZMQ_SOCKS_PROXY: %v", err)
	}
}

// The application's own properties reach the peer.
func TestMetadata(t *testing.T) {
	near, far := newHost(t), newHost(t)
	rep, req := near.socket(vtx.Rep), far.socket(vtx.Req)
	if err := far.SetOption(req.P, "zmtp.metadata", "X-Name:Rosa;X-Role:worker"); err != nil {
		t.Fatal(err)
	}
	if err := far.SetOption(req.P, "zmtp.metadata", "Name:Rosa"); !errors.Is(err, vtx.ErrInvalid) {
		t.Errorf("a name without X-: %v", err)
	}
	far.connect(req, near.bound(rep, "loop"))
	req.Send("hello")
	rep.Want("hello")
	if role := near.meta(rep, "property:x-role"); role != "worker" {
		t.Errorf("X-Role is %q", role)
	}
	if _, err := near.Meta(rep.P, "property:X-Age"); !errors.Is(err, vtx.ErrNotFound) {
		t.Errorf("a property that nobody told: %v", err)
	}
}

// A message that comes sealed together with a PING in front of it is not left until something else comes.
func TestSealedTogetherWithAPing(t *testing.T) {
	for _, scheme := range streamSchemes {
		t.Run(scheme, func(t *testing.T) {
			server, client := newKeys(t), newKeys(t)
			h := newHost(t)
			router := h.socket(vtx.Router)
			curveServer(router, server)
			x := &target{t: t, h: h, router: router, at: strings.TrimPrefix(h.bound(router, scheme), scheme+"://")}
			conn := x.dial()
			mechanism, err := zmtp.NewCurveClient([]byte(client.public), []byte(client.secret), []byte(server.public))
			if err != nil {
				t.Fatal(err)
			}
			session, err := zmtp.Handshake(conn, &zmtp.Config{
				SocketType: "DEALER", Identity: []byte("peer"), Mechanism: mechanism, MaxMessage: -1,
			})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				conn.Write(session.Encode(session.AppendPing(nil, 0, nil), rawFrame(0, "behind it")))
				router.Want("peer", "behind it")
			}
		})
	}
}
