package interop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-zeromq/goczmq/v4"
	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/test/interop/native"
	"github.com/libvtx/libvtx/vtx"
)

// czmq is czmq through github.com/go-zeromq/goczmq, in czmq's one context.
type czmq struct{}

func (czmq) name() string { return "czmq" }
func (czmq) lacks(what string) string {
	return ""
}

func (czmq) open(t testing.TB, typ vtx.SocketType, o options) socket {
	t.Helper()
	native.CzmqContext()
	s := &czmqSocket{Sock: goczmq.NewSock(int(typ)), typ: typ}
	t.Cleanup(s.close)
	s.SetOption(goczmq.SockSetLinger(0))
	s.SetOption(goczmq.SockSetSndtimeo(int(patience.Milliseconds())))
	for name, value := range o {
		n, _ := strconv.Atoi(value)
		if number, known := czmqNumbers[name]; known {
			s.SetOption(number(n))
		} else if text, known := czmqStrings[name]; known {
			s.SetOption(text(value))
		} else {
			t.Fatalf("no option %s", name)
		}
	}
	return s
}

var czmqNumbers = map[string]func(int) goczmq.SockOption{
	"maxmsgsize":        goczmq.SockSetMaxmsgsize,
	"sndhwm":            goczmq.SockSetSndhwm,
	"rcvhwm":            goczmq.SockSetRcvhwm,
	"linger":            goczmq.SockSetLinger,
	"reconnect_ivl":     goczmq.SockSetReconnectIvl,
	"router_mandatory":  goczmq.SockSetRouterMandatory,
	"immediate":         goczmq.SockSetImmediate,
	"xpub_verbose":      goczmq.SockSetXPubVerbose,
	"plain_server":      goczmq.SockSetPlainServer,
	"curve_server":      goczmq.SockSetCurveServer,
	"handshake_ivl":     goczmq.SockSetHandshakeIvl,
	"heartbeat_ivl":     goczmq.SockSetHeartbeatIvl,
	"heartbeat_ttl":     goczmq.SockSetHeartbeatTtl,
	"heartbeat_timeout": goczmq.SockSetHeartbeatTimeout,
}

var czmqStrings = map[string]func(string) goczmq.SockOption{
	"routing_id":         goczmq.SockSetIdentity,
	"connect_routing_id": goczmq.SockSetConnectRid,
	"plain_username":     goczmq.SockSetPlainUsername,
	"plain_password":     goczmq.SockSetPlainPassword,
	"curve_publickey":    goczmq.SockSetCurvePublickey,
	"curve_secretkey":    goczmq.SockSetCurveSecretkey,
	"curve_serverkey":    goczmq.SockSetCurveServerkey,
	"zap_domain":         goczmq.SockSetZapDomain,
}

type czmqSocket struct {
	*goczmq.Sock
	typ    vtx.SocketType
	closed bool
}

func (s *czmqSocket) bind(endpoint string) error {
	_, err := s.Bind(endpoint)
	return err
}

func (s *czmqSocket) connect(endpoint string) error { return s.Connect(endpoint) }

func (s *czmqSocket) subscribe(topic string) error {
	if s.typ == vtx.XSub {
		return s.send("\x01" + topic)
	}
	s.SetOption(goczmq.SockSetSubscribe(topic))
	return nil
}

func (s *czmqSocket) unsubscribe(topic string) error {
	if s.typ == vtx.XSub {
		return s.send("\x00" + topic)
	}
	s.SetOption(goczmq.SockSetUnsubscribe(topic))
	return nil
}

// The package does not tell a call that a signal has interrupted, as Go's runtime does all the time, from one whose time
// is up. Neither has done anything.

func (s *czmqSocket) send(frames ...string) error {
	end := time.Now().Add(*patience)
	for i, f := range frames {
		flags := 0
		if i < len(frames)-1 {
			flags = goczmq.FlagMore
		}
		for {
			err := s.SendFrame([]byte(f), flags)
			if err == nil {
				break
			}
			if time.Now().After(end) {
				return err
			}
		}
	}
	return nil
}

func (s *czmqSocket) recv(within time.Duration) ([]string, error) {
	end := time.Now().Add(within)
	var parts [][]byte
	err := goczmq.ErrRecvFrame
	for first := true; err != nil; first = false {
		left := time.Until(end)
		if left < 0 && !first {
			return nil, errNothing
		}
		s.SetOption(goczmq.SockSetRcvtimeo(int(max(left, 0).Milliseconds())))
		if parts, err = s.RecvMessage(); len(parts) > 0 {
			break
		}
	}
	var frames []string
	for _, p := range parts {
		frames = append(frames, string(p))
	}
	return frames, err
}

func (s *czmqSocket) close() {
	if !s.closed {
		s.closed = true
		s.Destroy()
	}
}

// authenticate starts czmq's zauth.
func (czmq) authenticate(t testing.TB, l guestList) {
	t.Helper()
	native.CzmqContext()
	auth := goczmq.NewAuth()
	t.Cleanup(func() {
		auth.Destroy()
		handlerGone(t, &app.Context{P: native.CzmqContext()})
	})
	users := ""
	for user, password := range l.users {
		users += user + "=" + password + "\n"
	}
	file := filepath.Join(t.TempDir(), "passwords")
	if err := errors.Join(os.WriteFile(file, []byte(users), 0o600), auth.Plain(file), auth.Curve(certificates(t, l.keys))); err != nil {
		t.Fatal(err)
	}
}

// certificates are public keys in files of czmq's form, in a directory, as czmq's and pyzmq's handlers want them.
func certificates(t testing.TB, keys []string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		text := fmt.Sprintf("metadata\n    name = \"guest\"\ncurve\n    public-key = \"%s\"\n", key)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i, ".key")), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
