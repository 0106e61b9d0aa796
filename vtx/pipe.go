package vtx

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
)

// A pipe is the engine's end of one peering inside libzmq: a socket of the type that complements the
// application's, joined to it over inproc. Which end binds decides what the application can see:
//
//   - outgoing: the pipe binds and the application's socket connects, inside vtx_connect. The connection
//     exists when the call returns, as with a native zmq_connect.
//   - incoming: the application's socket binds, inside vtx_bind, and a pipe connects for each peer.
type pipe struct {
	*zmq.Socket
	kind  pipeKind
	last  *Socket   // that it served, while idle
	held  heldName  // likewise
	since time.Time // likewise
	left  topics    // while parting
}

// pipeEnd is what a peering has of libzmq: a pipe of its own, or a branch of one that many share.
type pipeEnd interface {
	socketType() int // the pipe's, of zmq.Type…

	// As of zmq.Socket.
	Readable() <-chan struct{}
	Prompt(f func())
	Stir()
	Check() error
	RecvLarge(buf []byte, large *zmq.Large) (_ []byte, messages int, more bool, err error)
	Writable() <-chan struct{}
	Room(f func())
	Send(buf []byte) (taken, messages int, err error)
	SendLarge(prefix []byte, large *zmq.Large) (bool, error)
}

func (p *pipe) socketType() int { return p.kind.typ }

// pipeKind is what two pipes must have in common to be exchangeable.
type pipeKind struct {
	app SocketType // of the application's socket
	typ int        // of the pipe
	// What the pipe adds to the application's ZMQ_SNDHWM and ZMQ_RCVHWM, in messages: an inproc connection's high-water
	// mark is the sum of both ends.
	behind, ahead int
}

// mostBehind is the most that pipeKind.behind comes to.
const mostBehind = 2

// newPipeKind chooses the high-water marks. What the application sends waits under its own, and the pipe adds as little as
// it can: one message or two, so that the sum is even. A reader gives credit at each half of the sum, rounded up: an odd
// one is used up before the second half is through, and a PUB, which never waits, then gets half the credit. What the
// application is to receive has its own room once more: with half as many wake-ups small messages cost a tenth less. So have
// subscriptions: libzmq takes up what waits inside one call of the application's, and a publisher that makes few calls would
// wait long for them. With much more room, one call would last for as long as more of them come.
func newPipeKind(app SocketType, o *Options) pipeKind {
	return pipeKind{app: app, typ: complement[app], behind: mostBehind - o.SndHWM%2, ahead: max(o.RcvHWM, 1)}
}

// complement gives the pipe type for each application socket type. To a PUB it is not an XSUB, which libzmq does not demand
// inside a process: an XSUB keeps all subscriptions a second time, counts them where the wire does not, and loses what does
// not fit. To a SUB it cannot be a plain DEALER, which would be quicker and smaller: libzmq marks what a SUB sends as
// subscription or cancellation with a flag that it shows to nobody but an XPUB.
var complement = map[SocketType]int{
	Pair:   zmq.TypePair,
	Pub:    zmq.TypeDealer,
	XPub:   zmq.TypeDealer,
	Sub:    zmq.TypeXPub,
	XSub:   zmq.TypeXPub,
	Req:    zmq.TypeDealer,
	Rep:    zmq.TypeDealer,
	Dealer: zmq.TypeDealer,
	Router: zmq.TypeDealer,
	Pull:   zmq.TypePush,
	Push:   zmq.TypePull,
}

// inprocSerial numbers the private inproc endpoints of the process, whichever manager makes them:
// several managers may share a context.
var inprocSerial atomic.Uint64

func newInproc() string { return fmt.Sprintf("inproc://vtx-%d", inprocSerial.Add(1)) }

// prepare sets what is the same for every peering of a pipe's kind. It comes before the first join: setting a
// high-water mark later makes libzmq tell pipes that may already be half gone, and crash.
func (p *pipe) prepare() error {
	snd, rcv := p.kind.ahead, p.kind.behind
	if p.kind.typ == zmq.TypeXPub {
		// libzmq drops what a SUB subscribes to without a word at the mark: there is none.
		rcv = 0
		// A full application pushes back, and every subscription is seen.
		if err := errors.Join(p.SetInt(zmq.XPubNoDrop, 1), p.SetInt(zmq.XPubVerbose, 1)); err != nil {
			return err
		}
	}
	return errors.Join(p.SetInt(zmq.SndHWM, snd), p.SetInt(zmq.RcvHWM, rcv))
}

// configure sets what one peering needs; it acts on the joins that follow.
func (p *pipe) configure(o *Options, carriesSubscriptions, conflate bool, routingID string) error {
	var err error
	switch p.kind.typ {
	case zmq.TypeXPub:
		// Where the publisher filters, filtering here again would only lose what is under way while
		// subscriptions change: then the pipe lets everything pass (see takeSubscriptions).
		err = errors.Join(p.SetInt(zmq.XPubManual, boolInt(carriesSubscriptions)),
			p.SetInt(zmq.InvertMatching, boolInt(o.InvertMatching && !carriesSubscriptions)))
	case zmq.TypePub:
		err = errors.Join(p.SetInt(zmq.InvertMatching, boolInt(o.InvertMatching)),
			p.SetInt(zmq.Conflate, boolInt(conflate)))
	case zmq.TypeDealer, zmq.TypePush, zmq.TypePull:
		// Between a publisher and its subscriber it would keep only the last subscription too.
		err = p.SetInt(zmq.Conflate, boolInt(conflate && !p.kind.app.publishes()))
	}
	if routingID != "" {
		err = errors.Join(err, p.SetBytes(zmq.RoutingID, []byte(routingID)))
	}
	return err
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
