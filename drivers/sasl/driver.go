// Package sasl is the driver of sasl:// and sasl+tls://: ZMTP over TCP, or over TLS over TCP, whose peers log in by SASL
// (RFC 4422). SASL.md says what stands on the wire.
//
// Options says what may be set and mechanisms what is used when; server and client are the two ends of an exchange. The
// server's users come from the file that store follows, and failures slows down who guesses.
package sasl

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"

	"github.com/xdg-go/scram"

	"github.com/libvtx/libvtx/drivers/tcp"
	vtxtls "github.com/libvtx/libvtx/drivers/tls"
	"github.com/libvtx/libvtx/internal/zmtp"
	"github.com/libvtx/libvtx/vtx"
)

// Driver is the driver of one of the two schemes.
type Driver struct {
	scheme  string
	under   vtx.StreamDriver
	options []vtx.OptionSpec
}

// New makes the driver of sasl://.
func New() *Driver { return &Driver{"sasl", &tcp.Driver{}, optionSpecs} }

// NewTLS makes the driver of sasl+tls://, whose options are those of both.
func NewTLS() *Driver {
	under := &vtxtls.Driver{}
	return &Driver{"sasl+tls", under, slices.Concat(under.Options(), optionSpecs)}
}

// Scheme is the endpoint prefix.
func (d *Driver) Scheme() string { return d.scheme }

// Options are the driver's VTX options. Those of the driver underneath hold too.
func (d *Driver) Options() []vtx.OptionSpec { return d.options }

func (d *Driver) overTLS() bool { return d.scheme != "sasl" }

// Listen binds cfg.Endpoint, as the server of the log-ins. Errors: those of the driver underneath; ErrInvalid where there
// is nothing to know the users by, or a file's content is not usable; the operating system's own for a file that cannot be
// read.
func (d *Driver) Listen(cfg *vtx.Config) (net.Listener, error) {
	s, err := newServer(cfg, d.overTLS())
	if err != nil {
		return nil, err
	}
	ln, err := d.under.Listen(cfg)
	if err != nil {
		return nil, err
	}
	return listener{ln, s}, nil
}

// listener has those log in whose connections another one accepts.
type listener struct {
	net.Listener
	server *server
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	x := &serverExchange{server: l.server, address: host(c.RemoteAddr()), channel: watch(c)}
	return &vtx.LoginConn{
		Conn: c, Facts: func() map[string]string { return facts(x.mechanism) },
		Server: func(ctx context.Context, ask vtx.Ask) zmtp.SASLServer {
			x.ctx, x.ask = ctx, ask
			return x
		},
	}, nil
}

// Dialer checks cfg.Endpoint and the options. Errors: those of the driver underneath; ErrInvalid where there are no
// credentials, or none that may be used.
func (d *Driver) Dialer(cfg *vtx.Config) (vtx.StreamDialer, error) {
	c, err := newClient(cfg, d.overTLS())
	if err != nil {
		return nil, err
	}
	dial, err := d.under.Dialer(cfg)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		x := &clientExchange{client: c, channel: watch(conn)}
		return &vtx.LoginConn{
			Conn: conn, Client: func() zmtp.SASLClient { return x },
			Facts: func() map[string]string { return facts(x.mechanism) },
		}, nil
	}, nil
}

func facts(mechanism string) map[string]string { return map[string]string{"sasl.mechanism": mechanism} }

// channel is what an exchange may know of the connection that it runs on. The zero value is one in the clear.
type channel struct {
	tls bool
	// binding stands for this one TLS connection (RFC 9266). There is none in TLS 1.2 without extended master secrets.
	binding scram.ChannelBinding
	// verified: the peer's certificate is good. certificate and subject are a client's.
	verified             bool
	certificate, subject []byte
}

// watch notes what TLS finds out. What the engine would ask about the client's certificate is left to the exchange.
func watch(c net.Conn) *channel {
	ch := &channel{}
	secure, ok := c.(*vtx.SecureConn)
	if !ok {
		return ch
	}
	protect := secure.Protect
	secure.Protect = func(ctx context.Context, under net.Conn) (vtx.Protected, vtx.Identity, error) {
		p, id, err := protect(ctx, under)
		if err != nil {
			return p, id, err
		}
		conn, ok := p.(interface{ ConnectionState() tls.ConnectionState })
		if !ok {
			return nil, id, fmt.Errorf("%T does not tell its state", p)
		}
		state := conn.ConnectionState()
		ch.tls = true
		ch.binding, _ = scram.NewTLSExporterBinding(&state)
		ch.verified = id.Facts["tls.certificate"] != ""
		if len(id.Credentials) == 2 {
			ch.certificate, ch.subject = id.Credentials[0], id.Credentials[1]
			id.Credentials = nil
		}
		return p, id, nil
	}
	return ch
}

// host is an address without its port, "" where it has none.
func host(a net.Addr) string {
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return ""
	}
	return h
}
