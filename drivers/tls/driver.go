// Package tls is the driver of tls://: ZMTP over TLS over TCP. TLS is the Go library's, and TCP the tcp driver's.
//
// Options says what may be set, store turns that into TLS configurations and follows the files it came from, conn is one
// connection, and explain puts what failed into words.
package tls

import (
	"context"
	"net"

	"github.com/libvtx/libvtx/drivers/tcp"
	"github.com/libvtx/libvtx/vtx"
)

// Driver is the tls driver. The zero value is ready to use.
type Driver struct{ tcp tcp.Driver }

// Scheme is the endpoint prefix.
func (*Driver) Scheme() string { return "tls" }

// Options are the driver's VTX options. Those of tcp hold too.
func (*Driver) Options() []vtx.OptionSpec { return optionSpecs }

// Listen binds cfg.Endpoint. Errors: those of tcp's Listen; ErrInvalid where the options do not fit together or a
// file's content is not usable; the operating system's own for a file that cannot be read.
func (d *Driver) Listen(cfg *vtx.Config) (net.Listener, error) {
	s, err := newServerStore(cfg)
	if err != nil {
		return nil, err
	}
	ln, err := d.tcp.Listen(cfg)
	if err != nil {
		return nil, err
	}
	return listener{ln, s}, nil
}

// listener puts TLS on the connections that another one accepts. It does not shake hands: a peer that is slow in that
// must not keep others waiting.
type listener struct {
	net.Listener
	store *store
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.store.secure(c), nil
}

// Dialer checks cfg.Endpoint and the options. Errors: as Listen.
func (d *Driver) Dialer(cfg *vtx.Config) (vtx.StreamDialer, error) {
	dial, err := d.tcp.Dialer(cfg)
	if err != nil {
		return nil, err
	}
	s, err := newClientStore(cfg)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return s.secure(c), nil
	}, nil
}
