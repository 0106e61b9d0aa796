package interop

import (
	"errors"
	"reflect"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
	zmq "github.com/pebbe/zmq4"
)

// pebbe is stock libzmq through github.com/pebbe/zmq4, in that package's own context.
type pebbe struct{}

func (pebbe) name() string             { return "libzmq" }
func (pebbe) lacks(what string) string { return "" }

// pebbeTypes are the package's names of libzmq's types: it has no order that one may count on.
var pebbeTypes = map[vtx.SocketType]zmq.Type{
	vtx.Pair: zmq.PAIR, vtx.Pub: zmq.PUB, vtx.Sub: zmq.SUB, vtx.Req: zmq.REQ, vtx.Rep: zmq.REP, vtx.Dealer: zmq.DEALER,
	vtx.Router: zmq.ROUTER, vtx.Pull: zmq.PULL, vtx.Push: zmq.PUSH, vtx.XPub: zmq.XPUB, vtx.XSub: zmq.XSUB,
}

func (pebbe) open(t testing.TB, typ vtx.SocketType, o options) socket {
	t.Helper()
	return openPebbe(t, typ, o)
}

func openPebbe(t testing.TB, typ vtx.SocketType, o options) *pebbeSocket {
	t.Helper()
	z, err := zmq.NewSocket(pebbeTypes[typ])
	if err != nil {
		t.Fatal(err)
	}
	s := &pebbeSocket{Socket: z, typ: typ}
	t.Cleanup(s.close)
	z.SetLinger(0)
	z.SetSndtimeo(*patience)
	for name, value := range o {
		if err := s.set(name, value); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return s
}

type pebbeSocket struct {
	*zmq.Socket
	typ    vtx.SocketType
	closed bool
}

func (s *pebbeSocket) set(name, value string) error {
	n, _ := strconv.Atoi(value)
	ms := time.Duration(n) * time.Millisecond
	switch name {
	case "routing_id":
		return s.SetIdentity(value)
	case "connect_routing_id":
		return s.SetConnectRid(value)
	case "maxmsgsize":
		return s.SetMaxmsgsize(int64(n))
	case "sndhwm":
		return s.SetSndhwm(n)
	case "rcvhwm":
		return s.SetRcvhwm(n)
	case "linger":
		return s.SetLinger(ms)
	case "reconnect_ivl":
		return s.SetReconnectIvl(ms)
	case "router_mandatory":
		return s.SetRouterMandatory(n)
	case "immediate":
		return s.SetImmediate(n != 0)
	case "xpub_verbose":
		return s.SetXpubVerbose(n)
	case "plain_server":
		return s.SetPlainServer(n)
	case "plain_username":
		return s.SetPlainUsername(value)
	case "plain_password":
		return s.SetPlainPassword(value)
	case "curve_server":
		return s.SetCurveServer(n)
	case "curve_publickey":
		return s.SetCurvePublickey(value)
	case "curve_secretkey":
		return s.SetCurveSecretkey(value)
	case "curve_serverkey":
		return s.SetCurveServerkey(value)
	case "zap_domain":
		return s.SetZapDomain(value)
	case "handshake_ivl":
		return s.SetHandshakeIvl(ms)
	case "heartbeat_ivl":
		return s.SetHeartbeatIvl(ms)
	case "heartbeat_ttl":
		return s.SetHeartbeatTtl(ms)
	case "heartbeat_timeout":
		return s.SetHeartbeatTimeout(ms)
	}
	return errors.New("no such option")
}

func (s *pebbeSocket) bind(endpoint string) error    { return s.Bind(endpoint) }
func (s *pebbeSocket) connect(endpoint string) error { return s.Connect(endpoint) }

func (s *pebbeSocket) subscribe(topic string) error {
	if s.typ == vtx.XSub {
		return s.send("\x01" + topic)
	}
	return s.SetSubscribe(topic)
}

func (s *pebbeSocket) unsubscribe(topic string) error {
	if s.typ == vtx.XSub {
		return s.send("\x00" + topic)
	}
	return s.SetUnsubscribe(topic)
}

func (s *pebbeSocket) send(frames ...string) error {
	_, err := s.SendMessage(frames)
	return err
}

func (s *pebbeSocket) recv(within time.Duration) ([]string, error) {
	s.SetRcvtimeo(within)
	m, err := s.RecvMessage(0)
	if errors.Is(err, zmq.Errno(syscall.EAGAIN)) {
		err = errNothing
	}
	return m, err
}

func (s *pebbeSocket) close() {
	if !s.closed {
		s.closed = true
		s.Close()
	}
}

// Events to wait for.
const (
	disconnected = zmq.EVENT_DISCONNECTED
	failures     = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)

// awaitEvent monitors the socket from now on; what it gives waits for one of the events, and gives that and its value.
func (s *pebbeSocket) awaitEvent(t testing.TB, events zmq.Event) func() (zmq.Event, int) {
	t.Helper()
	endpoint := "inproc://pebbe-" + strconv.FormatInt(monitorSerial.Add(1), 10)
	if err := s.Monitor(endpoint, events); err != nil {
		t.Fatal(err)
	}
	monitor := openPebbe(t, vtx.Pair, nil)
	if err := monitor.connect(endpoint); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Monitor("", 0) }) // before the listener goes, for which libzmq's thread would wait
	return func() (zmq.Event, int) {
		t.Helper()
		monitor.SetRcvtimeo(*patience)
		event, _, value, err := monitor.RecvEvent(0)
		if err != nil {
			t.Fatalf("%s never came: %v", events, err)
		}
		return event, value
	}
}

// pebbeContext is the libzmq context that the package keeps to itself.
func pebbeContext(t testing.TB) unsafe.Pointer {
	t.Helper()
	return reflect.ValueOf(openPebbe(t, vtx.Pair, nil).Socket).Elem().FieldByName("ctx").Elem().FieldByName("ctx").UnsafePointer()
}

// authenticate starts the package's own ZAP handler in its context.
func (pebbe) authenticate(t testing.TB, l guestList) {
	t.Helper()
	if err := zmq.AuthStart(); err != nil {
		t.Fatal(err)
	}
	for user, password := range l.users {
		zmq.AuthPlainAdd("*", user, password)
	}
	zmq.AuthCurveAdd("*", l.keys...)
	zmq.AuthSetMetadataHandler(func(_, _, _, _, _, mechanism string, credentials ...string) map[string]string {
		if mechanism == "PLAIN" {
			return map[string]string{"User-Id": credentials[0]}
		}
		return nil
	})
	t.Cleanup(func() {
		zmq.AuthPlainRemoveAll("*")
		zmq.AuthCurveRemoveAll("*")
		zmq.AuthStop()
		handlerGone(t, &app.Context{P: pebbeContext(t)})
	})
}
