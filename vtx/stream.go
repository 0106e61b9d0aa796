package vtx

import (
	"context"
	"net"
)

// StreamDriver is a transport of byte streams: it listens and dials, and the engine speaks ZMTP over what it
// gets, so that stock libzmq is a possible peer. It is the whole contract for tcp, ipc, tls and their like.
//
// A net.Conn's RemoteAddr().String() becomes the peer's address in events, metadata and ROUTER identities; an
// implementation whose stream ends have no names gives them the endpoint's. Where the conn has CloseWrite, as TCP, Unix
// and TLS connections do, the engine says goodbye with it, so that what was sent last is not lost.
type StreamDriver interface {
	// Scheme is the endpoint prefix in lower case, "tcp" for tcp://.
	Scheme() string

	// Options are the driver's VTX options (see Traits.Options).
	Options() []OptionSpec

	// Listen claims cfg.Endpoint before it returns. The listener's Addr().String() is the address that was really
	// bound, in the form of an endpoint without its scheme. Accept may turn connections away by itself; it
	// returns net.ErrClosed after Close, and any other error is reported and followed by another call. Errors: as
	// Driver.Listen.
	Listen(cfg *Config) (net.Listener, error)

	// Dialer checks cfg.Endpoint without touching the network. Errors: as Driver.Dialer.
	Dialer(cfg *Config) (StreamDialer, error)
}

// StreamDialer makes one connection; it is called again, with pauses, when that fails or ends. The context
// carries ZMQ_CONNECT_TIMEOUT.
type StreamDialer func(ctx context.Context) (net.Conn, error)

// RegisterStream makes a stream driver known to every manager of the process, as RegisterDriver does.
func RegisterStream(d StreamDriver) { RegisterDriver(stream{d}) }

// stream makes a driver of a stream driver.
type stream struct{ StreamDriver }

func (d stream) Traits() Traits {
	return Traits{Subscriptions: true, Security: true, Options: d.Options()}
}

func (d stream) Listen(cfg *Config) (Listener, error) { panic("not yet") }
func (d stream) Dialer(cfg *Config) (Dialer, error)   { panic("not yet") }
