package vtx

import (
	"context"
	"math/rand/v2"
	"time"
)

// seek dials until there is a link, and meanwhile serves the pipe. nil: the peering is to end.
func (p *peering) seek(first bool) Link {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	found := make(chan Link, 1)
	go func() { found <- p.dial(ctx, first) }()

	closing := p.closing
	var again <-chan time.Time
	for {
		select {
		case link := <-found:
			if link != nil {
				return link
			}
			found = nil // ZMQ_RECONNECT_IVL -1: no more attempts; the pipe stays until it is disconnected
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
				if link := <-found; link != nil {
					link.Close(errClosing)
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
func (p *peering) dial(ctx context.Context, first bool) Link {
	wait := backoff{next: p.cfg.Options.ReconnectIvl, step: p.cfg.Options.ReconnectIvl, most: p.cfg.Options.ReconnectIvlMax}
	for {
		if !first {
			if wait.step == Forever {
				return nil
			}
			select {
			case <-time.After(wait.interval()):
			case <-ctx.Done():
				return nil
			}
		}
		first = false
		link, err := p.dialer.Dial(ctx)
		if err == nil {
			return link
		}
		if ctx.Err() != nil {
			return nil
		}
		p.s.stats.connectRetries.Add(1)
		if e := failure(0, p.cfg.Endpoint.String(), err); e.Kind != 0 {
			p.s.monitor.send(e)
		}
		e := Event{Kind: EventConnectRetried, Endpoint: p.cfg.Endpoint.String(), Reason: err.Error()}
		if wait.step != Forever {
			e.Value = uint32(wait.next.Milliseconds())
		}
		p.s.monitor.send(e)
	}
}

// backoff computes libzmq's reconnection intervals: ZMQ_RECONNECT_IVL, doubled up to
// ZMQ_RECONNECT_IVL_MAX where that is larger, each with up to ZMQ_RECONNECT_IVL of jitter, so that a
// thousand clients do not come back in the same millisecond.
type backoff struct {
	next, step, most time.Duration
}

func (b *backoff) interval() time.Duration {
	d := b.next
	if b.step > 0 {
		d += rand.N(b.step)
	}
	if b.most > b.step {
		b.next = min(2*b.next, b.most)
	}
	return max(d, time.Millisecond) // ZMQ_RECONNECT_IVL 0 must not spin
}
