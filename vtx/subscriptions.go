package vtx

import "github.com/libvtx/libvtx/internal/zmq"

// subscriptions is the table of one peering's topics. Published messages need it on both sides of a link,
// because libzmq counts subscriptions inside a process and the wire does not.
type subscriptions map[string]int

// subscription reads a message as \x01topic or \x00topic (RFC 29, subscriptions).
func subscription(m Message) (topic []byte, add, ok bool) {
	more, body, _ := m.cut()
	if more || len(body) == 0 || body[0] > 1 {
		return nil, false, false
	}
	return body[1:], body[0] == 1, true
}

// fromPeer records what a subscriber sent and appends to out what the XSUB pipe has to be told. XSUB
// forwards a cancellation only when it has been told as many as there were subscriptions, while one
// from the wire means that the peer wants no more of the topic.
func (t subscriptions) fromPeer(m Message, out *Batch) {
	topic, add, ok := subscription(m)
	switch {
	case !ok:
		out.AppendMessage(m, 0, false) // an XSUB application's message to the publisher
	case add:
		t[string(topic)]++
		out.AppendMessage(m, 0, false)
	default:
		for range t[string(topic)] {
			out.AppendMessage(m, 0, false)
		}
		delete(t, string(topic))
	}
}

// cancelAll appends what takes every topic back from an XSUB pipe, and empties the table.
func (t subscriptions) cancelAll(out *Batch) {
	for topic, n := range t {
		for range n {
			out.Append(append([]byte{0}, topic...))
		}
	}
	clear(t)
}

// fromApplication records what the application's SUB or XSUB said; false if m is no subscription.
func (t subscriptions) fromApplication(m Message) bool {
	topic, add, ok := subscription(m)
	if ok && add {
		t[string(topic)] = 1
	} else if ok {
		delete(t, string(topic))
	}
	return ok
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
		if p.subs[""] == 0 {
			pipe.SetBytes(zmq.Unsubscribe, nil)
		}
	}
	for topic := range p.subs { // where the pipe knows them already nothing changes
		p.match([]byte(topic), true)
	}
	return nil
}

// replay appends every topic as a subscription, for a link that has just come up.
func (t subscriptions) replay(out *Batch) {
	for topic := range t {
		out.Append(append([]byte{1}, topic...))
	}
}
