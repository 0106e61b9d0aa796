package vtx

import (
	"context"
	"errors"
	"sync"
	"syscall"

	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/internal/zmq"
)

// This is the one place where a pipe and a link meet: the outbound way of a peering.

// pump moves what the application sends to link, until the link ends or the peering has nothing more to send.
func (p *peering) pump(link Link) error {
	stop := context.AfterFunc(p.ctx, func() { link.Close(errClosing) })
	defer stop()
	if p.wire && p.cfg.Type.subscribes() {
		if err := p.replay(link); err != nil {
			return p.heardOut(link, err)
		}
	}
	if t, ok := link.(trySender); ok {
		if err := p.pumpPromptly(link, t); err != nil {
			return err
		}
	} else if p.traits.Prompt {
		defer p.startPrompt(link)()
	}
	closing, woken := p.closing, false
	for {
		p.moving.Lock()
		n, err := p.move(link)
		p.moving.Unlock()
		if err != nil {
			return p.heardOut(link, err)
		}
		if n > 0 {
			woken = false
			continue
		}
		if closing == nil {
			return errClosing
		}
		if woken {
			p.used()
		}
		select {
		case <-p.pipe.Readable():
			woken = true
		case <-link.Done():
			return link.Err()
		case <-closing:
			closing = nil // once more round, for what is still in the pipe, or has not come to this end of it
			if err := p.pipe.Check(); err != nil {
				p.s.m.failed(err)
			}
		}
	}
}

// heardOut waits, when nothing can be sent any more, until what the peer said before is delivered: but no longer than
// somebody is there to read it, or a peering that is ending would never end where its pipe is full. It gives the reason of
// the link's end.
func (p *peering) heardOut(link Link, unsent error) error {
	select {
	case <-link.Done():
		return link.Err()
	case <-p.closing:
		return unsent
	}
}

// trySender is a link whose sending is done by the polling thread alone.
type trySender interface {
	// TrySend takes off the front of b what can be sent without waiting. It may leave a message of which a part has
	// been sent: it goes on with that at the next call, so b must still be what it was.
	TrySend(b *Batch) error
	// Room has the polling thread call f when a TrySend that left something may be tried again.
	Room(f func())
	// takesLarge: batches may have a large body apart.
	takesLarge() bool
}

// pumpPromptly has the polling thread move what the application sends, until the peering is to end; then it
// returns nil, and what is left is for a Send that waits.
func (p *peering) pumpPromptly(link Link, t trySender) error {
	pipe, stopped := p.pipe, false // stopped is under p.moving
	var soon soon
	var turn func()
	later := func() { soon.call(p.s.m.poller, turn) }
	turn = func() {
		if !p.moving.TryLock() {
			return // the peering is ending
		}
		defer p.moving.Unlock()
		if stopped {
			pipe.Stir() // the wake-up is for whoever looks after the pipe now
			return
		}
		for range promptTurns {
			n, err := p.moveWith(t.TrySend)
			if n == 0 && err == nil {
				p.used()
				return
			}
			if err != nil || p.carry.Len() > 0 {
				p.more = true // the pipe may stir in vain meanwhile
				return        // the link has something to say, sooner or later
			}
			if !p.more {
				p.carry.giveBack()
				return
			}
		}
		later()
	}
	p.large = t.takesLarge() && pipe.socketType() != zmq.TypeXPub // subscriptions are looked into
	t.Room(turn)
	pipe.Prompt(turn)
	defer func() {
		pipe.Prompt(nil)
		t.Room(func() {})
		p.moving.Lock()
		stopped = true
		p.moving.Unlock()
	}()
	later()
	for {
		select {
		case <-pipe.Readable(): // signalled by the receiver before
			later()
		case <-link.Done():
			return link.Err()
		case <-p.closing:
			return nil
		}
	}
}

// promptTurns is how many batches one peering gets before it is the others' turn.
const promptTurns = 4

// move takes one batch from the pipe, if the last one is through, and sends it. It returns how many
// messages there were, and gives the batch's memory back when there were none. p.moving is held.
func (p *peering) move(link Link) (int, error) { return p.moveWith(link.Send) }

func (p *peering) moveWith(send func(*Batch) error) (int, error) {
	if p.carry.Len() == 0 {
		p.fill()
	}
	n, size := p.carry.Len(), p.carry.Size()
	if n == 0 {
		p.carry.giveBack()
		return 0, nil
	}
	err := send(&p.carry)
	p.s.stats.messagesOut.Add(int64(n - p.carry.Len()))
	p.s.stats.bytesOut.Add(int64(size - p.carry.Size()))
	return n, err
}

// promptBatch is the most that the polling thread moves for one peering before a goroutine takes over: with
// that much traffic, the switch between threads does not count any more, and others want the polling thread.
const promptBatch = 16

// startPrompt has the polling thread move what the application sends, without handing it to another thread
// first, until the function that it returns is called.
func (p *peering) startPrompt(link Link) (stop func()) {
	pipe := p.pipe
	stopped := false // under p.moving
	pipe.Prompt(func() {
		if !p.moving.TryLock() {
			pipe.Stir() // the pump is at it, and may just have looked
			return
		}
		defer p.moving.Unlock()
		if stopped {
			pipe.Stir() // the wake-up is for whoever looks after the pipe now
			return
		}
		switch n, err := p.move(link); {
		case err != nil || n >= promptBatch || p.more:
			pipe.Stir()
		case n == 0:
			p.used()
		default:
			p.carry.giveBack()
		}
	})
	return func() {
		pipe.Prompt(nil)
		p.moving.Lock()
		defer p.moving.Unlock()
		stopped = true
	}
}

// used notes a wake-up without a message: the application has used its socket, or closed it.
func (p *peering) used() {
	p.s.undrained.Store(0)
	p.s.checkSoon()
}

// fill takes the next messages from the pipe into carry, which is empty.
func (p *peering) fill() {
	p.carry.borrow()
	var large *zmq.Large
	if p.large {
		large = &p.carry.large
	}
	var n int
	for again := true; again; {
		var err error
		p.carry.buf, p.carry.n, p.more, err = p.pipe.RecvLarge(p.carry.buf, large)
		n = p.carry.n
		p.s.unreceived(err)
		again = n == 0 && errors.Is(err, syscall.ENOMEM)
	}
	if n > 0 && p.s.undrained.Load() > 0 {
		p.s.undrained.Store(0)
	}
	if p.pipe.socketType() == zmq.TypeXPub && n > 0 {
		p.takeSubscriptions()
	}
}

// unreceived obeys an error in receiving from a pipe.
func (s *Socket) unreceived(err error) {
	if errors.Is(err, syscall.ENOMEM) {
		s.stats.drop(DropTooBig, 1)
		s.monitor.send(Event{Kind: EventRefused, Value: uint32(syscall.ENOMEM), Reason: "there is no memory for a message of the application's: " + err.Error()})
		return
	}
	if err != nil {
		s.m.failed(err)
	}
}

// takeSubscriptions records the subscriptions among what the application's SUB or XSUB sent, and leaves in
// carry what has to go to the publisher: all of it where the link carries subscriptions, else nothing.
func (p *peering) takeSubscriptions() {
	rest := p.carry
	for m := rest.Pop(); m != nil; m = rest.Pop() {
		if p.subs.fromApplication(m) && p.traits.Subscriptions {
			topic, add, _ := m.subscription()
			p.match(topic, add)
		}
	}
	if !p.wire {
		p.carry.Reset()
	}
}

// stirred serves a pipe that woke while there is no link. Messages stay where they are, under the
// application's high-water mark; subscriptions must not, since libzmq drops them when they do not fit.
func (p *peering) stirred() {
	if p.pipe.socketType() == zmq.TypeXPub {
		for p.more = true; p.more; {
			p.fill()
			p.carry.giveBack() // the table is replayed when the link is there
		}
	} else if err := p.pipe.Check(); err != nil {
		p.s.m.failed(err)
	}
	p.s.checkAlive()
}

// replay sends a new link all the topics that the application wants.
func (p *peering) replay(link Link) error {
	var b Batch
	p.subs.replay(&b)
	return link.Send(&b)
}

// unsent says whether anything waits to be sent.
func (p *peering) unsent() bool {
	if p.carry.Len() == 0 && p.pipe != nil {
		p.fill()
	}
	return p.carry.Len() > 0
}

// arenas lends batches their memory while they have something in them: a thousand idle peerings hold none.
var arenas sync.Pool

// keptArena is the most that goes back to this pool, in bytes; a larger one was for one large message.
const keptArena = 512 << 10

// trim keeps b's memory for the next time, unless it was for one large message.
func trim(b []byte) []byte {
	if cap(b) > keptArena {
		arena.Put(b)
		return nil
	}
	return b[:0]
}

func (b *Batch) borrow() {
	if b.n > 0 {
		return
	}
	b.off = 0
	if b.buf = b.buf[:0]; cap(b.buf) == 0 {
		if a, ok := arenas.Get().(*[]byte); ok {
			b.buf = *a
		}
	}
}

func (b *Batch) giveBack() {
	if buf := trim(b.buf); cap(buf) > 0 {
		arenas.Put(&buf)
	}
	b.large.Free()
	*b = Batch{}
}
