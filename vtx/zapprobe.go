package vtx

import (
	"errors"

	"github.com/libvtx/libvtx/internal/zmq"
)

// zapProbe tells that nobody is bound to zapEndpoint without a message: what is sent on a connection that pends reaches
// whoever binds later, however it is closed, and he would be asked about a peer of the past.
//
//   - A ROUTER with ZMQ_ROUTER_MANDATORY is not writable before it knows its peer, and of one that pends it knows nothing.
//   - Nor is it when its peer has gone. A DEALER then is not writable either, but is where it pends.
//
// Both pend until somebody binds, and then have the same peer: he tells both that he goes before the ROUTER forgets him.
type zapProbe struct{ dealer, router *zmq.Socket }

func openZAPProbe(m *Manager) (*zapProbe, error) {
	dealer, err := zmq.Open(m.ctx, zmq.TypeDealer, m.poller)
	if err != nil {
		return nil, err
	}
	router, err := zmq.Open(m.ctx, zmq.TypeRouter, m.poller)
	if err != nil {
		dealer.Close()
		return nil, err
	}
	p := &zapProbe{dealer: dealer, router: router}
	// In this order: a handler that goes in between is seen to have gone.
	if err := errors.Join(router.SetInt(zmq.RouterMandatory, 1), dealer.Connect(zapEndpoint), router.Connect(zapEndpoint)); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// nobody: nobody is bound, and nobody has been since the probe was opened. The order matters, as above.
func (p *zapProbe) nobody() bool { return !p.router.CanSend() && p.dealer.CanSend() }

func (p *zapProbe) close() {
	p.dealer.Close()
	p.router.Close()
}

// noZAPHandler gives errNoZAPHandler if nobody is bound. A probe that says so is kept, since libzmq does not let go of
// connections that pend. One that has met somebody says nothing about who is bound now. The lock is held.
func (m *Manager) noZAPHandler() error {
	z := &m.zap
	if z.probe != nil {
		if z.probe.nobody() {
			return errNoZAPHandler
		}
		z.probe.close()
		z.probe = nil
	}
	p, err := openZAPProbe(m)
	if err != nil {
		return err
	}
	if p.nobody() {
		z.probe = p
		return errNoZAPHandler
	}
	p.close()
	return nil
}
