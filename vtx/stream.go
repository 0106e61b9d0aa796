package vtx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// StreamDriver is a transport of byte streams: it listens and dials, and the engine speaks ZMTP over what it
// gets, so that stock libzmq is a possible peer. It is the whole contract for tcp, ipc, tls and their like.
//
// A net.Conn's RemoteAddr().String() becomes the peer's address in events, metadata and ROUTER identities; an
// implementation whose stream ends have no names gives them the endpoint's. A ZAP handler is told its host, or what the conn's
// ZAPAddress() string says, where it has that. Where the conn has CloseWrite, as TCP, Unix
// and TLS connections do, the engine says goodbye with it, so that what was sent last is not lost. A conn that
// implements syscall.Conn is used through its descriptor alone, a stream socket: only one whose bytes are the descriptor's
// may. What protects them is put on by a *SecureConn, and a log-in in the place of libzmq's mechanisms by a *LoginConn.
// Nothing that is written may raise SIGPIPE, which would end a C program: of a conn that is no syscall.Conn, and of what a
// driver writes by itself, its driver sees to that, with NoSignal.
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
// carries ZMQ_CONNECT_TIMEOUT. The engine names the endpoint in the errors.
type StreamDialer func(ctx context.Context) (net.Conn, error)

// RegisterStream makes a stream driver known to every manager of the process, as RegisterDriver does.
func RegisterStream(d StreamDriver) { RegisterDriver(stream{d}) }

// stream makes a driver of a stream driver.
type stream struct{ StreamDriver }

// Traits are ZMTP's.
func (d stream) Traits() Traits {
	return Traits{Subscriptions: true, Security: true, Options: d.Options()}
}

func (d stream) Listen(cfg *Config) (Listener, error) {
	ln, err := d.StreamDriver.Listen(cfg)
	if err != nil {
		return nil, err
	}
	l := &streamListener{cfg: cfg, ln: ln, half: newHalfOpen(cfg.Options), begun: make(chan struct{}), greeted: make(chan Link)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.all.Go(l.run)
	return l, nil
}

func (d stream) Dialer(cfg *Config) (Dialer, error) {
	dial, err := d.StreamDriver.Dialer(cfg)
	if err != nil {
		return nil, err
	}
	return streamDialer{cfg, dial}, nil
}

// streamListener greets the connections of one net.Listener, all at the same time: one that says nothing
// must not keep others waiting. Only so many, which halfOpen sees to.
type streamListener struct {
	cfg     *Config
	ln      net.Listener
	half    *halfOpen
	begin   sync.Once
	begun   chan struct{} // closed by the first Accept
	greeted chan Link
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	all     sync.WaitGroup // run, and the handshakes
}

// acceptPause keeps a lasting error, such as no descriptors being left, from becoming a loop.
const acceptPause = 50 * time.Millisecond

func (l *streamListener) run() {
	select {
	case <-l.begun:
	case <-l.ctx.Done():
	}
	for {
		conn, err := l.ln.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			l.refused(err)
			select {
			case <-time.After(acceptPause):
			case <-l.ctx.Done():
			}
		default:
			s, err := l.half.enter(l.ctx, conn)
			if err != nil {
				conn.Close()
				if l.ctx.Err() == nil {
					l.refused(handshakeError(l.cfg.Endpoint.Scheme+"://"+conn.RemoteAddr().String(), err))
				}
				continue
			}
			l.all.Go(func() { l.greet(conn, s) })
		}
	}
}

// greet makes a peer of a connection, which keeps its seat up to then. Of one that fails, until it is closed.
func (l *streamListener) greet(conn net.Conn, s *seat) {
	defer s.leave()
	link, err := newStreamLink(s.ctx, conn, l.cfg, true)
	if err != nil {
		l.refused(err)
		hangUp(s.ctx, conn)
		return
	}
	if !s.keep() {
		link.Close(errClosing) // without a word: libzmq does not come back after an ERROR
		l.refused(handshakeError(l.cfg.Endpoint.Scheme+"://"+link.Peer().Address, context.Cause(s.ctx)))
		return
	}
	select {
	case l.greeted <- link:
	case <-l.ctx.Done():
		link.Close(errClosing)
	}
}

// refused tells at once: Accept may be kept waiting by peers that have come.
func (l *streamListener) refused(err error) { l.cfg.Report.(news).refused(l.Addr(), err) }

func (l *streamListener) Addr() string { return l.cfg.Endpoint.Scheme + "://" + l.ln.Addr().String() }

// Accept implements Listener. It says nothing of connections that fail: that has been told.
func (l *streamListener) Accept() (Link, error) {
	l.begin.Do(func() { close(l.begun) })
	select {
	case link := <-l.greeted:
		return link, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l *streamListener) Close() error {
	l.cancel()
	err := l.ln.Close()
	l.all.Wait()
	return err
}

// streamDialer dials a stream driver's connections and greets the peer.
type streamDialer struct {
	cfg  *Config
	dial StreamDialer
}

func (d streamDialer) Dial(ctx context.Context) (Link, error) {
	limited, cancel := ctx, context.CancelFunc(func() {})
	if d.cfg.Options.ConnectTimeout > 0 {
		limited, cancel = context.WithTimeout(ctx, d.cfg.Options.ConnectTimeout)
	}
	conn, err := d.dial(limited)
	cancel()
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", d.cfg.Endpoint, err)
	}
	link, err := newStreamLink(ctx, conn, d.cfg, false)
	if err != nil {
		go hangUp(context.Background(), conn)
		return nil, err // not link: a nil pointer is no nil Link
	}
	return link, nil
}

func (streamDialer) Close() error { return nil }
