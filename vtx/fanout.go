package vtx

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/internal/zmq"
)

// optShared has the subscribers of a bound PUB or XPUB share one pipe, see fanout. What it says of a subscriber at its
// high-water mark is what ZMQ_XPUB_NODROP says, which the engine cannot read.
const optShared = "pub.shared"

const (
	sharedOff    = "off"
	sharedDrop   = "drop"   // it misses messages
	sharedNoDrop = "nodrop" // the publisher waits for it
)

func checkShared(v string) error {
	if v != sharedOff && v != sharedDrop && v != sharedNoDrop {
		return fmt.Errorf("%s, %s or %s", sharedOff, sharedDrop, sharedNoDrop)
	}
	return nil
}

// fanout is the one pipe of all the subscribers of a binding whose publisher has asked for that. libzmq has a queue,
// a mailbox and a descriptor for each pipe, and a publisher whose subscribers all wait wakes them one by one, inside
// its zmq_send. Here it writes to one pipe and wakes one thread; who gets what, and whose high-water mark is reached,
// is decided by the engine. That is not what libzmq does in all of its corners (the README says which), so it is for
// the application to ask for.
//
// Messages are received into one chunk of memory for all branches, and wait there, each branch having its place.
type fanout struct {
	b       *binding
	most    int          // messages that may wait for one subscriber; 0 = no limit
	patient bool         // nobody is to miss any
	posted  atomic.Bool  // turn will be called
	sending atomic.Int32 // calls into the pipe that may find that it has something

	mu       sync.Mutex
	pipe     *pipe // nil until there is a subscriber, and in the end
	closed   bool
	branches map[*branch]struct{}
	topics   map[string][]*branch
	lengths  []int // of the topics, each once and in order
	counts   map[int]int
	hungry   int    // branches with no more than half of what may wait
	parked   bool   // there is no room: what comes waits in the pipe
	messages uint64 // so far
	chunks   uint64
	spare    *chunk    // to receive into
	woken    []*branch // to be told that there is something for them
}

// branch is one subscriber's part in a fanout.
type branch struct {
	f        *fanout
	readable chan struct{}
	prompt   atomic.Pointer[func()]

	// Under f.mu.
	queue   []piece
	waiting int            // messages in queue
	at      map[string]int // its place among the branches of each topic
	offered uint64         // the last message that it matched, as the fanout numbers them
	used    uint64         // the last chunk that it had a piece of, likewise
}

// piece is a run of whole messages in a chunk.
type piece struct {
	in       *chunk
	from, to int
	n        int
	large    bool // it ends with the head of the chunk's large body
}

// chunk is what was received at once.
type chunk struct {
	buf    []byte
	large  zmq.Large
	pieces int       // that wait
	users  []*branch // those that have had one, while it is given out
	kept   bool      // it is not to be received into again
}

// newFanout makes the fanout of a binding, or none where its peers are not to share a pipe.
func newFanout(b *binding) (*fanout, error) {
	how := b.cfg.Options.Named[optShared]
	if how == "" || how == sharedOff || b.cfg.Type != Pub && b.cfg.Type != XPub {
		return nil, nil
	}
	if b.cfg.Options.InvertMatching {
		return nil, fmt.Errorf("endpoint %s: option %s does not go with ZMQ_INVERT_MATCHING: %w", b.cfg.Endpoint, optShared, ErrInvalid)
	}
	return &fanout{
		b: b, most: b.cfg.Options.SndHWM, patient: how == sharedNoDrop,
		branches: make(map[*branch]struct{}), topics: make(map[string][]*branch), counts: make(map[int]int),
	}, nil
}

// join adds a subscriber. The first one has the pipe join the application's socket.
func (f *fanout) join() (*branch, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errClosing
	}
	if f.pipe == nil {
		if err := f.open(); err != nil {
			return nil, err
		}
	} else if bound, err := f.b.s.m.bound(f.b.inproc); err != nil {
		return nil, err
	} else if !bound {
		return nil, errGone
	}
	return newBranch(f), nil
}

// newBranch adds a branch. The lock is held.
func newBranch(f *fanout) *branch {
	b := &branch{f: f, readable: make(chan struct{}, 1), at: make(map[string]int)}
	f.branches[b] = struct{}{}
	f.hungry++
	f.unpark()
	return b
}

func (f *fanout) open() error {
	m, o := f.b.s.m, f.b.cfg.Options
	pipe, err := m.takePipe(newPipeKind(f.b.cfg.Type, o))
	if err != nil {
		return err
	}
	if err := m.connect(pipe, f.b.inproc); err != nil {
		m.closePipe(pipe)
		return err
	}
	f.pipe = pipe
	pipe.Limit((f.most + 1) / 2)
	pipe.Prompt(f.stirred)
	f.later() // it may have stirred before
	return nil
}

// close ends the pipe, when all branches have left.
func (f *fanout) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.pipe != nil {
		f.pipe.Prompt(nil)
		f.pipe.Drop() // libzmq aborts when half a message has been taken
		f.b.s.m.closePipe(f.pipe)
		f.pipe = nil
	}
	if f.spare != nil {
		f.spare.large.Free()
		f.spare = nil
	}
}

// stirred is called by the polling thread when the pipe has news, and by who finds that in a call of his own.
func (f *fanout) stirred() {
	if f.sending.Load() > 0 {
		f.later()
	} else {
		f.turn()
	}
}

// later has turn called by the polling thread: once, whatever has asked for it meanwhile.
func (f *fanout) later() {
	if !f.posted.Swap(true) {
		f.b.s.m.poller.Post(func() {
			f.posted.Store(false)
			f.turn()
		})
	}
}

// turn receives and gives out what the application has sent. It runs on the polling thread.
func (f *fanout) turn() {
	for range promptTurns {
		c, n, more := f.pull(false)
		f.wake()
		f.keep(c)
		if n == 0 {
			f.b.s.undrained.Store(0) // as peering.used
			f.b.s.checkSoon()
		}
		if !more {
			return
		}
	}
	f.later()
}

// flush gives out all that the application has sent so far, whoever has room, on any goroutine: there will be no more.
func (f *fanout) flush() {
	total := 0
	for more := true; more && (f.most == 0 || total < f.most+mostBehind); {
		var c *chunk
		var n int
		c, n, more = f.pull(true)
		f.keep(c)
		total += n
	}
	f.later() // to wake
}

// pull receives once and gives it to the branches: all of it, or as much as they may have. What they do not take before
// keep(c) is moved then.
func (f *fanout) pull(all bool) (c *chunk, n int, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pipe == nil {
		return nil, 0, false
	}
	if !all && !f.hasRoom() {
		f.parked = true // and the pipe is not looked at: an XSUB takes a frame just to say that there is one
		return nil, 0, false
	}
	if c = f.spare; c == nil {
		c = new(chunk)
	}
	f.spare = nil
	var err error
	c.buf, n, more, err = f.pipe.RecvLarge(c.buf[:0], &c.large)
	if err != nil {
		f.b.s.m.failed(err)
	}
	f.give(c, n, all)
	return c, n, more && err == nil
}

// hasRoom says whether to receive: as much as fits for somebody, or for all.
func (f *fanout) hasRoom() bool {
	if f.patient {
		return f.hungry == len(f.branches)
	}
	return f.hungry > 0 || len(f.branches) == 0
}

// give offers the n messages in c to those who have subscribed to them. The lock is held.
func (f *fanout) give(c *chunk, n int, all bool) {
	f.chunks++
	left := Batch{buf: c.buf, n: n}
	behind := 0
	for ; left.n > 0; left.n-- {
		p := piece{in: c, from: left.off, n: 1}
		var topic []byte
		if left.n == 1 && c.large.Full() {
			left.off, p.large = len(c.buf), true
			if topic = c.large.Bytes(); c.buf[p.from]&frameMore != 0 {
				_, topic, _ = Message(c.buf[p.from:]).cut()
			}
		} else {
			m := left.Front()
			left.off += len(m)
			_, topic, _ = m.cut()
		}
		p.to = left.off
		f.messages++
		for _, length := range f.lengths {
			if length > len(topic) {
				break
			}
			for _, b := range f.topics[string(topic[:length])] {
				if b.offered == f.messages {
					continue
				}
				b.offered = f.messages
				if f.most > 0 && b.waiting >= f.most && !all {
					behind++
					continue
				}
				b.add(p)
			}
		}
	}
	f.b.s.stats.drop(DropSlow, behind)
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

func (f *fanout) unpark() {
	if f.parked {
		f.parked = false
		f.later()
	}
}

// wake tells the branches that had nothing.
func (f *fanout) wake() {
	f.mu.Lock()
	woken := f.woken
	f.woken = nil
	f.mu.Unlock()
	for _, b := range woken {
		if p := b.prompt.Load(); p != nil {
			(*p)()
		} else {
			b.Stir()
		}
	}
	clear(woken)
	f.mu.Lock()
	if f.woken == nil {
		f.woken = woken[:0]
	}
	f.mu.Unlock()
}

// keep moves what still waits in c, which is to be received into again, to memory of its own.
func (f *fanout) keep(c *chunk) {
	if c == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.pieces > 0 {
		for _, b := range c.users {
			b.keep(c)
		}
	}
	next := &chunk{buf: c.buf, users: c.users}
	if c.pieces > 0 {
		c.buf, c.users, c.kept = bytes.Clone(c.buf), nil, true
	} else {
		c.large.Free()
		*c, next = *next, c
	}
	next.buf = trim(next.buf)
	clear(next.users)
	next.users = next.users[:0]
	if f.spare == nil && !f.closed {
		f.spare = next
	}
}

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
	if first == len(b.queue) || size*sparse >= len(c.buf) {
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

// leave ends the branch, which has taken its subscriptions back. It returns how many messages waited.
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
		b.cancel(topic)
	}
	b.count(-waited)
	f.hungry--
	delete(f.branches, b)
	f.unpark()
	return waited
}

func (c *chunk) release() {
	if c.pieces--; c.pieces == 0 && c.kept {
		c.large.Free()
	}
}

// The following makes a branch look like a pipe to its peering.

func (b *branch) socketType() int           { return zmq.TypeXSub }
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
	taken := 0
	for ; taken < len(b.queue) && len(buf) < sharedBatch; taken++ {
		p := b.queue[taken]
		buf = append(arena.Grow(buf, p.to-p.from), p.in.buf[p.from:p.to]...)
		messages += p.n
		if p.large && large != nil {
			err = large.Copy(&p.in.large)
		} else if p.large {
			body := p.in.large.Bytes()
			buf = append(arena.Grow(buf, len(body)), body...)
		}
		p.in.release()
		if p.large {
			taken++
			break
		}
	}
	b.queue = slices.Delete(b.queue, 0, taken)
	b.count(-messages)
	return buf, messages, len(b.queue) > 0, err
}

// sharedBatch ends a batch at the first piece that reaches it, in bytes.
const sharedBatch = 256 << 10

// Send takes what a subscriber has to say. A branch has a topic or does not; that there are several, the pipe counts.
func (b *branch) Send(buf []byte) (taken, messages int, err error) {
	f := b.f
	f.mu.Lock()
	for rest := (Batch{buf: buf, n: 1}); rest.off < len(buf); rest.n = 1 {
		if topic, add, ok := subscription(rest.Pop()); ok && add {
			b.subscribe(string(topic))
		} else if ok {
			b.cancel(string(topic))
		}
	}
	pipe := f.pipe
	f.mu.Unlock()
	if pipe == nil {
		return 0, 0, errClosing
	}
	f.sending.Add(1)
	defer f.sending.Add(-1)
	return pipe.Send(buf)
}

// What a subscriber says is always taken: an XSUB has no high-water mark for it.
func (b *branch) Writable() <-chan struct{}                  { return nil }
func (b *branch) Room(func())                                {}
func (b *branch) SendLarge([]byte, *zmq.Large) (bool, error) { return false, ErrNotSupported }

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

func (b *branch) cancel(topic string) {
	f := b.f
	i, ok := b.at[topic]
	if !ok {
		return
	}
	delete(b.at, topic)
	list := f.topics[topic]
	last := list[len(list)-1]
	if last != b {
		list[i], last.at[topic] = last, i
	}
	list[len(list)-1] = nil
	if list = list[:len(list)-1]; len(list) > 0 {
		f.topics[topic] = list
		return
	}
	delete(f.topics, topic)
	if f.counts[len(topic)]--; f.counts[len(topic)] == 0 {
		delete(f.counts, len(topic))
		i, _ := slices.BinarySearch(f.lengths, len(topic))
		f.lengths = slices.Delete(f.lengths, i, i+1)
	}
}
