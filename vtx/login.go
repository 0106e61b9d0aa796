package vtx

import (
	"context"
	"maps"
	"net"

	"github.com/libvtx/libvtx/internal/zmtp"
)

// LoginConn is what a stream driver returns in the place of a net.Conn whose peers log in by SASL (RFC 4422), in the
// place of the mechanism that the socket's options name. One of Server and Client is set; it is called when the
// connection underneath is protected, and makes what is used for this connection only.
type LoginConn struct {
	// Conn is the connection underneath, which may be a *SecureConn.
	net.Conn
	// Server makes the server's end. ctx ends with the handshake: until then it may keep the peer waiting.
	Server func(ctx context.Context, ask Ask) zmtp.SASLServer
	// Client makes the client's end.
	Client func() zmtp.SASLClient
	// Facts are what the log-in has established, see Identity. It is called once the peer is logged in.
	Facts func() map[string]string
}

// Ask asks the application's ZAP handler (RFC 27) about a peer with these credentials. user is the handler's name for it.
// Where there is no handler, the peer may come in, unless its mechanism is PLAIN or OAUTHBEARER, which nobody else can
// check.
type Ask = zmtp.Authenticate

// login makes one connection's end of the SASL mechanism.
func (cfg *Config) login(ctx context.Context, conn net.Conn, l *LoginConn) zmtp.Mechanism {
	if l.Client != nil {
		return zmtp.NewSASLClient(l.Client())
	}
	return zmtp.NewSASLServer(l.Server(ctx, func(mechanism string, credentials ...[]byte) (string, error) {
		return cfg.authenticate(ctx, conn, mechanism, credentials)
	}))
}

// add adds to what is established.
func (id *Identity) add(facts map[string]string) {
	if id.Facts == nil {
		id.Facts = make(map[string]string)
	}
	maps.Copy(id.Facts, facts)
}
