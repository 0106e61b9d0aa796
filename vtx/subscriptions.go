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

// fromPeer records what a subscriber sent and tells an XSUB pipe. Each frame may be a subscription, as for libzmq; what
// else there is stays together, an XSUB application's message to the publisher.
func (t subscriptions) fromPeer(m Message, out *teller) {
	var others [][]byte
	for more := true; more; {
		var body []byte
		more, body, m = m.cut()
		switch {
		case len(body) == 0 || body[0] > 1:
			others = append(others, body)
		case body[0] == 1:
			t[string(body[1:])]++
			out.tell(body)
		default:
			t.cancel(string(body[1:]), body, out)
		}
	}
	if len(others) > 0 {
		out.tell(others...)
	}
}

// cancel takes a topic back, by a message that says so. XSUB forwards a cancellation only when it has been told as many
// as there were subscriptions, while one from the wire means that the peer wants no more of the topic.
func (t subscriptions) cancel(topic string, message []byte, out *teller) {
	for range t[topic] {
		out.tell(message)
	}
	delete(t, topic)
}

// cancelAll takes every topic back from an XSUB pipe, and empties the table.
func (t subscriptions) cancelAll(out *teller) {
	for topic := range t {
		t.cancel(topic, append([]byte{0}, topic...), out)
	}
}

// teller tells an XSUB pipe what a subscriber wants, many messages at a time, but not all: where a peer has repeated
// itself a million times, one cancellation is as many.
type teller struct {
	batch *Batch
	pipe  pipeEnd

	bytes, messages int // told so far
	err             error
}

// tellAtOnce ends a batch at the first message that reaches it, in bytes.
const tellAtOnce = 64 << 10

func (t *teller) tell(frames ...[]byte) {
	t.batch.Append(frames...)
	if t.batch.Size() >= tellAtOnce {
		t.end()
	}
}

// end tells what is left. An XSUB pipe has no high-water mark: all of it is taken.
func (t *teller) end() error {
	if t.batch.Len() > 0 && t.err == nil {
		var bytes, messages int
		bytes, messages, t.err = t.pipe.Send(t.batch.buf)
		t.bytes += bytes
		t.messages += messages
	}
	t.batch.Reset()
	return t.err
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
