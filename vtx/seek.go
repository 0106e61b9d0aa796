package vtx

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// dialled is the outcome of dialling: a link or, where that is not tried again, an error.
type dialled struct {
	link Link
	err  error
}

// seek dials until there is a link, and meanwhile serves the pipe. nil: the peering is to end.
func (p *peering) seek(first bool) Link {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	found := make(chan dialled, 1)
	go func() { found <- p.dial(ctx, first) }()

	closing := p.closing
	var again <-chan time.Time
	for {
		select {
		case d := <-found:
			if d.err == nil {
				return d.link
			}
			var met *HandshakeError
			if errors.As(d.err, &met) { // there was a peer: it is lost, as if a link had ended
				p.part()
			}
			p.tried(d.err, 0)
			if met != nil {
				return nil
			}
			found = nil // nobody was there: as natively, the pipe stays until it is disconnected
		case <-p.readable():
			p.stirred()
		case <-closing:
			closing = nil
		case <-again:
		}
		kept := closing == nil && p.kept()
		if again = nil; kept { // nobody says when it goes
			again = time.After(keptPause)
		}
		if closing == nil && (found == nil || p.ctx.Err() != nil || !p.unsent() && !kept) {
			cancel()
			if found != nil {
				if d := <-found; d.link != nil {
					d.link.Close(errClosing)
				}
			}
			return nil
		}
	}
}

// readable is the pipe's, if there is one yet.
func (p *peering) readable() <-chan struct{} {
	if p.pipe == nil {
		return nil
	}
	return p.pipe.Readable()
}

// keptPause is between two looks at what the dialer keeps.
const keptPause = 20 * time.Millisecond

// kept says whether the dialer has something to send that no link has any more.
func (p *peering) kept() bool {
	k, ok := p.dialer.(Keeper)
	return ok && k.Unsent() > 0
}

// dial tries until it succeeds, ctx ends, or the options say that it is not to be tried again.
func (p *peering) dial(ctx context.Context, first bool) dialled {
	wait := backoff{next: p.cfg.Options.ReconnectIvl, step: p.cfg.Options.ReconnectIvl, most: p.cfg.Options.ReconnectIvlMax}
	for {
		if !first {
			select {
			case <-time.After(wait.interval()):
			case <-ctx.Done():
				return dialled{}
			}
		}
		first = false
		link, err := p.dialer.Dial(ctx)
		if err == nil {
			return dialled{link: link}
		}
		if ctx.Err() != nil {
			return dialled{}
		}
		if !p.cfg.Options.reconnects() {
			return dialled{err: err}
		}
		p.tried(err, wait.next)
	}
}

// tried tells of an attempt that failed, and of the pause before the next; 0: there is none.
func (p *peering) tried(err error, pause time.Duration) {
	p.s.stats.connectRetries.Add(1)
	if e := failure(0, p.cfg.Endpoint.String(), err); e.Kind != 0 {
		p.s.monitor.send(e)
	}
	p.s.monitor.send(Event{
		Kind: EventConnectRetried, Value: uint32(pause.Milliseconds()), Endpoint: p.cfg.Endpoint.String(), Reason: err.Error(),
	})
}

// backoff computes libzmq's reconnection intervals: ZMQ_RECONNECT_IVL, doubled up to
// ZMQ_RECONNECT_IVL_MAX where that is larger, each with up to ZMQ_RECONNECT_IVL of jitter, so that a
// thousand clients do not come back in the same millisecond.
type backoff struct {
	next, step, most time.Duration
}

func (b *backoff) interval() time.Duration {
	d := b.next + rand.N(b.step)
	if b.most > b.step {
		b.next = min(2*b.next, b.most)
	}
	return d
}
