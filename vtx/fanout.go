package vtx

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

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
	soon    soon         // turn will be called
	telling atomic.Int32 // calls into the pipe that may find that it has something

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
	untold   Batch     // what subscribers have said, and the pipe has not taken
	stalled  []*branch // to be told that they may say something again
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

func (f *fanout) open() error {
	o := f.b.cfg.Options
	pipe, err := f.b.s.m.joinedPipe(newPipeKind(f.b.cfg.Type, o), f.b.inproc, o, false, false, "")
	if err != nil {
		return err
	}
	f.pipe = pipe
	pipe.Limit((f.most + 1) / 2)
	pipe.Prompt(f.stirred)
	pipe.Room(f.roomy)
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
		f.pipe.Room(nil)
		f.pipe.Drop() // libzmq aborts when half a message has been taken
		f.b.s.m.closePipe(f.pipe)
		f.pipe = nil
	}
	if f.spare != nil {
		f.spare.large.Free()
		trim(f.spare.buf)
		f.spare = nil
	}
}

// stirred is called by the polling thread when the pipe has news, and by who finds that in a call of his own.
func (f *fanout) stirred() {
	if f.telling.Load() > 0 {
		f.later()
	} else {
		f.turn()
	}
}

// later has turn called by the polling thread.
func (f *fanout) later() { f.soon.call(f.b.s.m.poller, f.turn) }

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
		f.parked = true
		return nil, 0, false
	}
	if c = f.spare; c == nil {
		c = new(chunk)
	}
	f.spare = nil
	var err error
	c.buf, n, more, err = f.pipe.RecvLarge(c.buf[:0], &c.large)
	f.b.s.unreceived(err)
	f.give(c, n, all)
	return c, n, more && (err == nil || errors.Is(err, syscall.ENOMEM))
}

// tell gives the pipe what is untold; false: not all of it, roomy will be called. The lock is held.
func (f *fanout) tell() bool {
	if f.untold.Len() == 0 {
		return true
	}
	f.telling.Add(1)
	defer f.telling.Add(-1)
	if err := f.untold.Offer(f.pipe.Send); err != nil {
		f.b.s.m.failed(err)
		return false
	}
	if f.untold.Len() > 0 {
		return false
	}
	f.untold.buf = trim(f.untold.buf)
	f.untold.off = 0
	return true
}

// roomy is called by the polling thread when the pipe may take more.
func (f *fanout) roomy() {
	f.mu.Lock()
	var stalled []*branch
	if f.pipe != nil && f.tell() {
		stalled, f.stalled = f.stalled, nil
	}
	f.mu.Unlock()
	for _, b := range stalled {
		if room := b.room.Load(); room != nil {
			(*room)()
		} else {
			signal(b.writable)
		}
	}
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
		if cap(c.buf) > keptArena { // not to be copied, nor to be received into again
			next.buf = nil
		} else {
			c.buf = bytes.Clone(c.buf)
		}
		c.users, c.kept = nil, true
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

func (c *chunk) release() {
	if c.pieces--; c.pieces == 0 && c.kept {
		c.large.Free()
		trim(c.buf)
	}
}
