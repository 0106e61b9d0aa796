package vtx

import (
	"slices"
	"sync/atomic"

	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/internal/zmq"
)

// branch is one subscriber's part in a fanout.
type branch struct {
	f        *fanout
	readable chan struct{}
	writable chan struct{}
	prompt   atomic.Pointer[func()]
	room     atomic.Pointer[func()]

	// Under f.mu.
	queue   []piece
	waiting int            // messages in queue
	at      map[string]int // its place among the branches of each topic
	offered uint64         // the last message that it matched, as the fanout numbers them
	used    uint64         // the last chunk that it had a piece of, likewise
}

// newBranch adds a branch. The lock is held.
func newBranch(f *fanout) *branch {
	b := &branch{f: f, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1), at: make(map[string]int)}
	f.branches[b] = struct{}{}
	f.hungry++
	f.unpark()
	return b
}

// add queues a message behind those that wait. The lock is held.
func (b *branch) add(p piece) {
	b.count(1)
	if len(b.queue) > 0 {
		if last := &b.queue[len(b.queue)-1]; last.in == p.in && last.to == p.from {
			last.to, last.n, last.large = p.to, last.n+1, p.large
			return
		}
	} else {
		b.f.woken = append(b.f.woken, b)
	}
	if b.used != b.f.chunks {
		b.used = b.f.chunks
		p.in.users = append(p.in.users, b)
	}
	p.in.pieces++
	b.queue = append(b.queue, p)
}

// count changes how many messages wait. The lock is held.
func (b *branch) count(n int) {
	before := b.isHungry()
	b.waiting += n
	switch after := b.isHungry(); {
	case before && !after:
		b.f.hungry--
	case after && !before:
		b.f.hungry++
		b.f.unpark()
	}
}

func (b *branch) isHungry() bool { return b.f.most == 0 || b.waiting <= b.f.most/2 }

// sparse is the part of a chunk that holds the rest in memory for a slow subscriber. One that waits for less has its part
// copied.
const sparse = 4

// keep copies what waits of c, the last that it got, if that is only a small part of it. The lock is held.
func (b *branch) keep(c *chunk) {
	first, size := len(b.queue), 0
	for ; first > 0 && b.queue[first-1].in == c; first-- {
		p := b.queue[first-1]
		if size += p.to - p.from; p.large {
			return
		}
	}
	if first == len(b.queue) || size*sparse >= len(c.buf)+len(c.large.Bytes()) {
		return
	}
	own := &chunk{buf: make([]byte, 0, size), pieces: 1, kept: true}
	whole := piece{in: own, to: size}
	for _, p := range b.queue[first:] {
		own.buf = append(own.buf, c.buf[p.from:p.to]...)
		whole.n += p.n
		c.pieces--
	}
	b.queue = append(slices.Delete(b.queue, first, len(b.queue)), whole)
}

// leave ends the branch, and takes its subscriptions back. It returns how many messages waited.
func (b *branch) leave() int {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	waited := b.waiting
	for _, p := range b.queue {
		p.in.release()
	}
	b.queue = nil
	for topic := range b.at {
		if b.cancel(topic) && f.pipe != nil {
			f.untold.Append(append([]byte{0}, topic...))
		}
	}
	if f.pipe != nil {
		f.tell()
	}
	f.stalled = slices.DeleteFunc(f.stalled, func(o *branch) bool { return o == b })
	b.count(-waited)
	f.hungry--
	delete(f.branches, b)
	f.unpark()
	return waited
}

// The following makes a branch look like a pipe to its peering.

func (b *branch) socketType() int           { return zmq.TypeDealer }
func (b *branch) Readable() <-chan struct{} { return b.readable }
func (b *branch) Stir()                     { signal(b.readable) }

func (b *branch) Prompt(f func()) {
	if f == nil {
		b.prompt.Store(nil)
	} else {
		b.prompt.Store(&f)
	}
}

// Check: what the application has sent so far is there.
func (b *branch) Check() error {
	b.f.flush()
	return nil
}

// RecvLarge is zmq.Socket.RecvLarge.
func (b *branch) RecvLarge(buf []byte, large *zmq.Large) (_ []byte, messages int, more bool, err error) {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	taken, waited := 0, 0
	for ; taken < len(b.queue) && len(buf) < sharedBatch; taken++ {
		p := b.queue[taken]
		if buf, err = p.appendTo(buf, large); err == nil {
			messages += p.n
		}
		waited += p.n
		p.in.release()
		if p.large || err != nil {
			taken++
			break
		}
	}
	b.queue = slices.Delete(b.queue, 0, taken)
	b.count(-waited)
	return buf, messages, len(b.queue) > 0, err
}

// appendTo appends the messages to buf, with a large body in large, if that is not nil. Errors: as RecvLarge, and buf is as it
// was.
func (p *piece) appendTo(buf []byte, large *zmq.Large) ([]byte, error) {
	body := p.in.large.Bytes()
	if !p.large || large != nil {
		body = nil
	}
	buf, err := arena.GrowOwn(buf, p.to-p.from+len(body))
	if err == nil && p.large && large != nil {
		err = large.Copy(&p.in.large)
	}
	if err != nil {
		return buf, err
	}
	return append(append(buf, p.in.buf[p.from:p.to]...), body...), nil
}

// sharedBatch ends a batch at the first piece that reaches it, in bytes.
const sharedBatch = 256 << 10

// Send takes what a subscriber has to say, or nothing of it while the application has not taken what was said before.
func (b *branch) Send(buf []byte) (taken, messages int, err error) {
	f := b.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pipe == nil {
		return 0, 0, errClosing
	}
	if !f.tell() {
		f.stalled = append(f.stalled, b)
		return 0, 0, nil
	}
	for rest := Message(buf); len(rest) > 0; messages++ {
		rest = b.hear(rest)
	}
	f.tell()
	return len(buf), messages, nil
}

// hear takes the first of the messages in framed. Each frame may be a subscription, as for libzmq; what else there is stays
// together, an XSUB application's message to the publisher. To the one pipe of all branches a topic ends with the last of
// them. The lock is held.
func (b *branch) hear(framed Message) (rest Message) {
	var others [][]byte
	for more := true; more; {
		var body []byte
		more, body, framed = framed.cut()
		switch topic, add, ok := subscription(body); {
		case !ok:
			others = append(others, body)
		case add:
			b.subscribe(string(topic))
			b.f.untold.Append(body)
		case b.cancel(string(topic)):
			b.f.untold.Append(body)
		}
	}
	if len(others) > 0 {
		b.f.untold.Append(others...)
	}
	return framed
}

func (b *branch) Writable() <-chan struct{}                  { return b.writable }
func (b *branch) SendLarge([]byte, *zmq.Large) (bool, error) { return false, ErrNotSupported }

func (b *branch) Room(f func()) {
	if f == nil {
		b.room.Store(nil)
	} else {
		b.room.Store(&f)
	}
}

func (b *branch) subscribe(topic string) {
	f := b.f
	if _, ok := b.at[topic]; ok {
		return
	}
	b.at[topic] = len(f.topics[topic])
	if len(f.topics[topic]) == 0 {
		if f.counts[len(topic)]++; f.counts[len(topic)] == 1 {
			i, _ := slices.BinarySearch(f.lengths, len(topic))
			f.lengths = slices.Insert(f.lengths, i, len(topic))
		}
	}
	f.topics[topic] = append(f.topics[topic], b)
}

// cancel says whether nobody has the topic any more, who had it before.
func (b *branch) cancel(topic string) (last bool) {
	f := b.f
	i, ok := b.at[topic]
	if !ok {
		return false
	}
	delete(b.at, topic)
	list := f.topics[topic]
	if other := list[len(list)-1]; other != b {
		list[i], other.at[topic] = other, i
	}
	list[len(list)-1] = nil
	if list = list[:len(list)-1]; len(list) > 0 {
		f.topics[topic] = list
		return false
	}
	delete(f.topics, topic)
	if f.counts[len(topic)]--; f.counts[len(topic)] == 0 {
		delete(f.counts, len(topic))
		i, _ := slices.BinarySearch(f.lengths, len(topic))
		f.lengths = slices.Delete(f.lengths, i, i+1)
	}
	return true
}
