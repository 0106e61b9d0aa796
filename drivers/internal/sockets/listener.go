package sockets

import (
	"errors"
	"net"
	"sync"
	"syscall"

	"github.com/libvtx/libvtx/vtx"
)

// Listener accepts the peers that the driver admits. Its methods may be called from any goroutine.
type Listener struct {
	net.Listener
	cfg     *vtx.Config
	addr    net.Addr
	admit   func(net.Conn) (net.Conn, error)
	release func()
	once    sync.Once
}

// Listen wraps ln, which is bound to what addr calls it. Each connection goes through admit, which returns it ready for
// use, or an error for a peer that is to be turned away: admit leaves the closing to the listener. release,
// where there is one, is called once, before ln is closed.
func Listen(ln net.Listener, cfg *vtx.Config, addr net.Addr, admit func(net.Conn) (net.Conn, error), release func()) *Listener {
	return &Listener{Listener: ln, cfg: cfg, addr: addr, admit: admit, release: release}
}

// Addr is the address that was bound.
func (l *Listener) Addr() net.Addr { return l.addr }

// Accept returns the next peer that was admitted; of the others it tells the monitor.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		admitted, err := l.admit(c)
		if err == nil {
			return admitted, nil
		}
		l.refuse(c, err)
	}
}

func (l *Listener) refuse(c net.Conn, why error) {
	peer := c.RemoteAddr()
	if peer.Network() == "unix" { // its name, if it has one, is whatever it likes
		peer = l.addr
	}
	_ = c.Close()
	e := vtx.Event{Kind: vtx.EventAcceptFailed, Endpoint: l.cfg.Endpoint.Scheme + "://" + peer.String(), Reason: why.Error()}
	var errno syscall.Errno
	if errors.As(why, &errno) {
		e.Value = uint32(errno)
	}
	l.cfg.Report.Event(e)
}

// Close releases the address and makes Accept return. Idempotent.
func (l *Listener) Close() (err error) {
	l.once.Do(func() {
		if l.release != nil {
			l.release()
		}
		err = l.Listener.Close()
	})
	return err
}
