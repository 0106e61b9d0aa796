package vtx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/zmtp"
)

// How a connection becomes a link: the handshake, and what it says about the peer.

// newStreamLink greets the peer at the other end of conn, within ZMQ_HANDSHAKE_IVL. If that fails conn is the caller's, to
// hang up.
func newStreamLink(ctx context.Context, conn net.Conn, cfg *Config, listening bool) (Link, error) {
	address := conn.RemoteAddr().String()
	login, _ := conn.(*LoginConn)
	if login != nil {
		conn = login.Conn
	}
	secure, _ := conn.(*SecureConn)
	if secure != nil {
		conn = secure.Conn
	}
	conn = readableAhead(conn)
	session, on, err := handshake(ctx, conn, secure, login, cfg, listening)
	if err == nil {
		var peer Peer
		if peer, err = streamPeer(session, on, address); err == nil {
			z := &zmtpLink{
				cfg: cfg, session: session, peer: peer, listening: listening,
				beat: heartbeat{begun: time.Now()}, done: make(chan struct{}), flushed: make(chan struct{}),
			}
			if os.Getenv(envPump) != "off" {
				if fd, ok := takeDescriptor(conn); ok {
					return newFDLink(z, fd, on.shield), nil
				}
			}
			if on.shield != nil {
				return newConnLink(z, shieldedConn{conn, on.shield.Protected}), nil
			}
			return newConnLink(z, NoSignal(conn)), nil
		}
	}
	return nil, handshakeError(cfg.Endpoint.Scheme+"://"+address, err)
}

// envPump, if it is "off", has a goroutine for each connection do what the polling thread does otherwise: slower, and for
// tests, which must show the same with both.
const envPump = "VTX_PUMP"

// security is what a transport has put on a connection; the zero value: nothing.
type security struct {
	shield *shield
	id     Identity
	user   string // who that is for the ZAP handler, if the mechanism has not asked
}

func handshake(ctx context.Context, conn net.Conn, secure *SecureConn, login *LoginConn, cfg *Config, listening bool) (*zmtp.Session, security, error) {
	var on security
	if d := cfg.Options.HandshakeIvl; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	stop := endWith(ctx, conn)
	defer stop()
	stream := io.ReadWriter(NoSignal(conn))
	if secure != nil {
		under := &carrier{Conn: NoSignal(conn)}
		protected, id, err := secure.Protect(ctx, under)
		if err != nil {
			return nil, on, errors.Join(context.Cause(ctx), err)
		}
		on = security{shield: &shield{protected, under}, id: id}
		stream = protected
	}
	var mechanism zmtp.Mechanism
	if login != nil {
		mechanism = cfg.login(ctx, conn, login)
	} else {
		var err error
		if mechanism, on.user, err = cfg.mechanism(ctx, conn, on.id, listening); err != nil {
			return nil, on, err
		}
	}
	session, err := zmtp.Handshake(stream, &zmtp.Config{
		SocketType: cfg.Type.String(),
		Identity:   cfg.Options.RoutingID,
		Metadata:   cfg.metadata(),
		Listening:  listening,
		Mechanism:  mechanism,
		MaxMessage: cfg.Options.MaxMsgSize,
	})
	if err == nil && login != nil {
		on.id.add(login.Facts())
	}
	if !stop() { // the deadline has been set
		return nil, on, errors.Join(context.Cause(ctx), err)
	}
	return session, on, err
}

// streamPeer is what the handshake told of the peer.
func streamPeer(s *zmtp.Session, on security, address string) (Peer, error) {
	peer := Peer{Address: address, Type: TypeUnknown, RoutingID: s.Identity, User: cmp.Or(s.User, on.user), Properties: s.Properties, Facts: on.id.Facts}
	if s.SocketType != "" { // a ZMTP 1.0 peer does not tell
		if peer.Type = typeNamed(s.SocketType); peer.Type == TypeUnknown {
			return peer, fmt.Errorf("socket type %s: %w", quoted(s.SocketType), zmtp.ErrProtocol)
		}
	}
	return peer, nil
}

// handshakeError tells a failure in the words of the monitor's events.
func handshakeError(peer string, err error) error {
	var refused *zmtp.RefusedError
	var denied *zmtp.DeniedError
	var told *HandshakeError
	h := &HandshakeError{Kind: EventHandshakeFailed, Reason: peer + ": " + err.Error(), Err: err}
	switch {
	case errors.As(err, &told):
		h.Kind, h.Value, h.Reason = told.Kind, told.Value, peer+": "+told.Reason
	case errors.As(err, &refused):
		h.Kind, h.Value = EventHandshakeFailedProtocol, protocolUnspecified
		if status, ok := statusCode(refused.Reason); ok {
			h.Kind, h.Value = EventHandshakeFailedAuth, status
		}
	case errors.As(err, &denied):
		h.Kind = EventHandshakeFailedAuth
		h.Value, _ = statusCode(denied.Status)
	case errors.Is(err, zmtp.ErrMechanism):
		h.Kind, h.Value = EventHandshakeFailedProtocol, protocolMechanism
	case errors.Is(err, zmtp.ErrSecurity):
		h.Kind, h.Value = EventHandshakeFailedProtocol, protocolCryptographic
	case errors.Is(err, zmtp.ErrProtocol), errors.Is(err, zmtp.ErrTooBig):
		h.Kind, h.Value = EventHandshakeFailedProtocol, protocolUnspecified
	default:
		h.Value = uint32(errnoOf(err))
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			h.Reason, h.Value = peer+": the handshake took too long", uint32(syscall.ETIMEDOUT)
		}
	}
	return h
}

// What libzmq's EventHandshakeFailedProtocol says (ZMQ_PROTOCOL_ERROR_…).
const (
	protocolUnspecified   = 0x10000000
	protocolCryptographic = 0x11000001
	protocolMechanism     = 0x11000002
)

// statusCode reads a reply of RFC 27: three digits, beginning with 3, 4 or 5.
func statusCode(s string) (uint32, bool) {
	if len(s) != 3 || s[0] < '3' || s[0] > '5' || s[1] < '0' || s[1] > '9' || s[2] < '0' || s[2] > '9' {
		return 0, false
	}
	return uint32(s[0]-'0')*100 + uint32(s[1]-'0')*10 + uint32(s[2]-'0'), true
}
