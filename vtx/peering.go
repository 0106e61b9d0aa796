package vtx

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// peering joins a pipe to a peer. An incoming one lives as long as its one link; an outgoing one lives
// from vtx_connect to vtx_disconnect, through as many links as it takes.
//
// One goroutine, run, owns it: it alone touches the fields of the middle group, but that it may share the
// pump with the polling thread. Inbound messages do not pass through it; they go from the link's own
// goroutine through a sink straight into the pipe.
type peering struct {
	s        *Socket
	cfg      *Config
	traits   Traits  // the driver's
	dialer   Dialer  // nil: incoming
	endpoint string  // as the application wrote it
	inproc   string  // where pipe and application meet
	fanout   *fanout // not nil: it shares its pipe

	moving   sync.Mutex // guards carry, and the pipe's receiving side, while there is a link
	pipe     pipeEnd    // nil while not joined
	id       string     // the routing id that a ROUTER application knows the peer by
	ours     bool       // the pipe is joined by its own connect, not by the application's
	invited  bool       // outgoing, and the application's socket is bound to inproc; under the socket's lock
	cut      bool       // by vtx_disconnect; likewise
	sink     *sink      // of the current link
	carry    Batch      // taken from the pipe, not yet taken by a link
	more     bool       // there may be more in the pipe, which will not say so again
	large    bool       // the link takes large bodies apart from their batch
	subs     topics     // what the application has subscribed to; where it publishes, the peer, if that is noted
	wire     bool       // the current link carries subscriptions
	greedily bool       // the XPUB pipe has subscribed to everything (see takeSubscriptions)

	live    atomic.Pointer[liveLink] // the current link's facts, nil while there is none
	once    sync.Once
	closing chan struct{}   // closed by finish
	ctx     context.Context // ends when LINGER has run out
	cancel  context.CancelFunc
	done    chan struct{} // closed when everything is released
}

// liveLink is what metadata may show of a link.
type liveLink struct {
	peer Peer
	id   string
}

// newPeering makes a peering; the caller starts run.
func newPeering(s *Socket, cfg *Config, traits Traits, endpoint, inproc string) *peering {
	p := &peering{
		s: s, cfg: cfg, traits: traits, endpoint: endpoint, inproc: inproc,
		subs:    make(topics),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// finish asks the peering to end: at once if nothing is waiting to be sent, otherwise when it is sent or
// linger has passed. Of several calls the most impatient one counts. It does not wait: done tells.
func (p *peering) finish(linger time.Duration) {
	p.once.Do(func() { close(p.closing) })
	switch {
	case linger == 0:
		p.cancel()
	case linger > 0:
		time.AfterFunc(linger, p.cancel)
	}
}

// cancelWhenAlone ends a finishing peering, however patient, as soon as its peer is not there.
func (p *peering) cancelWhenAlone() {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for p.live.Load() != nil {
		select {
		case <-look.C:
		case <-p.done:
			return
		}
	}
	p.cancel()
}

func (p *peering) finishing() bool {
	select {
	case <-p.closing:
		return true
	default:
		return false
	}
}

// single says that the peering ends with its link: it has accepted it, or ZMQ_RECONNECT_IVL says that there is no other.
func (p *peering) single() bool { return p.dialer == nil || !p.cfg.Options.reconnects() }

// run is the peering's life. An incoming peering brings its link.
func (p *peering) run(link Link) {
	defer close(p.done)
	defer p.release()
	for first := true; ; first = false {
		if p.dialer != nil {
			if link = p.seek(first); link == nil {
				return
			}
		}
		err := p.attach(link)
		if err == nil {
			err = p.pump(link)
			p.detach(link, err)
		} else {
			p.refused(link, err)
		}
		if p.single() {
			return
		}
	}
}

// attach makes link the current one: the pipe is joined, and messages begin to flow inbound.
func (p *peering) attach(link Link) error {
	peer := link.Peer()
	if !p.cfg.Type.TalksTo(peer.Type) {
		return &HandshakeError{Kind: EventHandshakeFailedProtocol, Value: protocolUnspecified,
			Reason: "a " + p.cfg.Type.String() + " does not talk to a " + peer.Type.String()}
	}
	fresh := p.pipe == nil
	if fresh {
		if err := p.join(peer); err != nil {
			return err
		}
	}
	p.wire = p.traits.Subscriptions && !peer.Unfiltered
	if err := p.filter(fresh); err != nil {
		return err
	}
	if p.cfg.Type.publishes() {
		if err := p.meetSubscriber(link, fresh); err != nil {
			return err
		}
	}
	p.s.show(p, &liveLink{peer: peer, id: p.id})
	p.sink = newSink(p.s, p.pipe, link, p.notes())
	if p.traits.Crowd {
		link.Start(p.sink)
		return nil
	}
	news{p.s}.Peers(1)
	link.Start(p.sink)
	kind := EventConnected
	if p.dialer == nil {
		kind = EventAccepted
	}
	p.tell(kind, peer, nil)
	p.s.monitor.send(Event{Kind: EventHandshakeSucceeded, Endpoint: p.address(peer), Reason: userNote(peer)})
	return nil
}

// detach takes the current link off. What it did not take stays for the next one, if there can be one.
func (p *peering) detach(link Link, reason error) {
	p.sink.close()
	p.large = false
	p.s.stats.drop(DropUnsent, p.carry.abandon())
	if p.single() {
		p.part() // before the link goes, so that what it leaves may go to the application another way
	}
	link.Close(reason)
	if f, ok := link.(Flusher); ok && p.finishing() {
		select { // the program may end as soon as we are done
		case <-f.Flushed():
		case <-p.ctx.Done():
		}
	}
	live := p.s.show(p, nil)
	if !p.traits.Crowd {
		news{p.s}.Peers(-1)
		p.tell(EventDisconnected, live.peer, reason)
	}
	if p.pipe != nil && p.ours && p.cfg.Options.Immediate {
		// ZMQ_IMMEDIATE: the application must not queue for a peer that is away. What it has queued waits here.
		p.unjoin(true)
	}
}

// part takes the peering from the application for good, before that is told.
func (p *peering) part() {
	p.s.lost(p) // first: when the application sees the pipe go, it may connect at once
	if p.pipe != nil {
		p.unjoin(false)
	}
}

// refused turns a peer away before it could talk.
func (p *peering) refused(link Link, err error) {
	if p.single() {
		p.part()
	}
	link.Close(err)
	p.s.stats.refusals.Add(1)
	kind := EventAcceptFailed
	if p.dialer != nil {
		kind = EventHandshakeFailed
	}
	p.tell(kind, link.Peer(), err)
}

// release gives everything back when the peering has ended.
func (p *peering) release() {
	p.cancel()
	if p.pipe != nil {
		p.unjoin(false)
	}
	p.s.stats.drop(DropUnsent, p.carry.Len())
	p.carry.giveBack()
	if p.dialer != nil {
		p.dialer.Close()
	}
	p.s.forget(p)
}

// userNote is what the monitor is told of a peer that authentication has given a name.
func userNote(peer Peer) string {
	if peer.User == "" {
		return ""
	}
	return "user " + quoted(peer.User)
}

// address is the peer's endpoint for events and identities.
func (p *peering) address(peer Peer) string { return p.cfg.Endpoint.Scheme + "://" + peer.Address }

func (p *peering) tell(kind EventKind, peer Peer, reason error) {
	p.s.monitor.send(failure(kind, p.address(peer), reason))
}
