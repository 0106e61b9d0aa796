package vtx

import (
	"fmt"
	"strconv"

	"github.com/libvtx/libvtx/internal/zmq"
)

// topics is a set of what somebody has subscribed to.
type topics map[string]struct{}

func (t topics) add(topic []byte) {
	if _, known := t[string(topic)]; !known { // this look makes no string
		t[string(topic)] = struct{}{}
	}
}

func (t topics) remove(topic []byte) { delete(t, string(topic)) }

func (t topics) has(topic []byte) bool {
	_, known := t[string(topic)]
	return known
}

// subscription reads a frame as \x01topic or \x00topic (RFC 29, subscriptions).
func subscription(frame []byte) (topic []byte, add, ok bool) {
	if len(frame) == 0 || frame[0] > 1 {
		return nil, false, false
	}
	return frame[1:], frame[0] == 1, true
}

// fromApplication records what the application's SUB or XSUB said; false if m is no subscription.
func (t topics) fromApplication(m Message) bool {
	topic, add, ok := m.subscription()
	if ok && add {
		t.add(topic)
	} else if ok {
		t.remove(topic)
	}
	return ok
}

// subscription reads a message of one frame.
func (m Message) subscription() (topic []byte, add, ok bool) {
	more, body, _ := m.cut()
	if more {
		return nil, false, false
	}
	return subscription(body)
}

// fromPeer records what a subscriber has told its publisher. Each frame may be a subscription, as for libzmq. That is a set
// there, of each peer: one cancellation takes back all subscriptions to a topic.
func (t topics) fromPeer(framed []byte) {
	for rest := Message(framed); len(rest) > 0; {
		var body []byte
		_, body, rest = rest.cut()
		if topic, add, ok := subscription(body); ok && add {
			t.add(topic)
		} else if ok {
			t.remove(topic)
		}
	}
}

// replay appends every topic as a subscription, for a link that has just come up.
func (t topics) replay(out *Batch) {
	for topic := range t {
		out.Append(append([]byte{1}, topic...))
	}
}

// optSubscriptions bounds the topics that one peer of a PUB or XPUB may have subscribed to at a time.
const optSubscriptions = "subscriptions"

func checkSubscriptions(v string) error {
	if n, err := strconv.ParseUint(v, 10, 31); err != nil || v != strconv.FormatUint(n, 10) {
		return fmt.Errorf("a number from 0, which is no limit, to %d", 1<<31-1)
	}
	return nil
}

// maxSubscriptions is that bound, or 0 where there is none.
func (o *Options) maxSubscriptions() int {
	n, _ := strconv.Atoi(o.Named[optSubscriptions])
	return n
}

// notes is what is kept of one subscriber's topics, where somebody wants to know: libzmq has them all, and shows them to
// nobody.
type notes struct {
	topics topics
	limit  int // topics that the peer may have at a time; 0: as many as it wants
}

// notes is what the sink of the peering's next link is to note, nil for nothing. A pipe that stays is to be told what is not
// wanted any more.
func (p *peering) notes() *notes {
	limit := p.cfg.Options.maxSubscriptions()
	if !p.cfg.Type.publishes() || p.dialer == nil && limit == 0 {
		return nil
	}
	return &notes{p.subs, limit}
}

// allowed gives how much of framed the peer may say, in whole messages. It may be less than all where all is allowed: then
// there is more when that has been taken.
func (n *notes) allowed(framed []byte) (size int) {
	if n.limit == 0 {
		return len(framed)
	}
	room := n.limit - len(n.topics)
	for rest := Message(framed); len(rest) > 0; size = len(framed) - len(rest) {
		for more := true; more; {
			var body []byte
			more, body, rest = rest.cut()
			if topic, add, ok := subscription(body); ok && add && !n.topics.has(topic) {
				room--
			}
		}
		if room < 0 {
			break
		}
	}
	return size
}

// refusal is what a peer is told that subscribes to too much.
func (n *notes) refusal() error {
	return &HandshakeError{Kind: EventRefused, Reason: fmt.Sprintf("more than %d subscriptions of one peer, which is what the option %s allows",
		n.limit, optSubscriptions)}
}

// match has the XPUB pipe let pass what the application has just subscribed to. Where the driver never carries
// subscriptions the pipe does that by itself (see configure).
func (p *peering) match(topic []byte, add bool) {
	pipe := p.pipe.(*pipe)
	switch {
	case !p.wire && add:
		pipe.SetBytes(zmq.Subscribe, topic)
	case !p.wire:
		pipe.SetBytes(zmq.Unsubscribe, topic)
	case !p.greedily:
		// The publisher filters: whatever arrives from now on is wanted.
		pipe.SetBytes(zmq.Subscribe, nil)
		p.greedily = true
	}
}

// filter prepares an XPUB pipe for a link that has just come up: either the publisher filters, or the pipe does. A pipe
// that was joined for this link has not heard of any subscription, and takes none before it has.
func (p *peering) filter(fresh bool) error {
	if !p.traits.Subscriptions || p.pipe.socketType() != zmq.TypeXPub {
		return nil
	}
	pipe := p.pipe.(*pipe)
	if err := pipe.SetInt(zmq.InvertMatching, boolInt(p.cfg.Options.InvertMatching && !p.wire)); err != nil {
		return err
	}
	if fresh {
		return nil
	}
	if !p.wire && p.greedily {
		p.greedily = false
		if !p.subs.has(nil) {
			pipe.SetBytes(zmq.Unsubscribe, nil)
		}
	}
	for topic := range p.subs { // where the pipe knows them already nothing changes
		p.match([]byte(topic), true)
	}
	return nil
}

// meetSubscriber readies a publisher's pipe for a peer that has not subscribed to anything yet. A pipe that was there before
// the link still has what the last peer wanted: the connection inside the process ends only with the pipe.
func (p *peering) meetSubscriber(link Link, fresh bool) error {
	if fresh {
		clear(p.subs)
	} else if err := p.forgetSubscriber(link); err != nil {
		return err
	}
	if p.wire || p.cfg.Options.InvertMatching { // inverted, no subscription is all
		return nil
	}
	var all Batch
	all.Append([]byte{1})
	p.subs.add(nil)
	return p.toPipe(&all, link)
}

// tellAtOnce ends a batch at the first message that reaches it, in bytes.
const tellAtOnce = 64 << 10

// forgetSubscriber takes all subscriptions of the peer before back from the application.
func (p *peering) forgetSubscriber(link Link) error {
	var b Batch
	for topic := range p.subs {
		delete(p.subs, topic)
		b.Append(append([]byte{0}, topic...))
		if b.Size() < tellAtOnce && len(p.subs) > 0 {
			continue
		}
		if err := p.toPipe(&b, link); err != nil {
			for m := b.Pop(); m != nil; m = b.Pop() { // for the next time
				topic, _, _ := m.subscription()
				p.subs.add(topic)
			}
			return err
		}
		b.Reset()
	}
	return nil
}

// toPipe gives a publisher's pipe all of b, before link has started: it waits until the application makes room.
func (p *peering) toPipe(b *Batch, link Link) error {
	for {
		if err := b.Offer(p.pipe.Send); err != nil {
			p.s.m.failed(err)
			return err
		}
		if b.Len() == 0 {
			return nil
		}
		select {
		case <-p.pipe.Writable():
		case <-link.Done():
			return link.Err()
		case <-p.closing:
			return errClosing
		}
	}
}
