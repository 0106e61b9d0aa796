package vtx

import (
	"sync/atomic"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
)

// feed is a publisher's pipe as those see it who have subscriptions for it: it takes them in turns.
type feed struct {
	poller   *zmq.Poller
	turns    turns
	room     atomic.Pointer[func()] // called instead of signalling writable
	writable chan struct{}
}

func newFeed(s *zmq.Socket, poller *zmq.Poller) *feed {
	f := &feed{poller: poller, writable: make(chan struct{}, 1)}
	s.Room(f.stirred)
	return f
}

// stirred is called by the polling thread when there may be room.
func (f *feed) stirred() {
	rest, round := f.turns.stirred(time.Now())
	if rest > 0 {
		time.AfterFunc(rest, func() {
			if f.turns.rested(round) {
				f.poller.Post(f.wake)
			}
		})
		return
	}
	f.wake()
}

func (f *feed) wake() {
	if room := f.room.Load(); room != nil {
		(*room)()
	} else {
		signal(f.writable)
	}
}

// restart is for a pipe that goes to another peer.
func (f *feed) restart() {
	f.turns.restart()
	select {
	case <-f.writable: // that was about the last one
	default:
	}
}

// The following replaces what the pipe would do as a mere zmq.Socket.

// Send is zmq.Socket.Send, but takes nothing while the pipe rests.
func (p *pipe) Send(buf []byte) (taken, messages int, err error) {
	if p.feed == nil {
		return p.Socket.Send(buf)
	}
	if p.feed.turns.rests() {
		return 0, 0, nil
	}
	taken, messages, err = p.Socket.Send(buf)
	if err == nil && taken < len(buf) {
		p.feed.turns.filled(time.Now())
	}
	return taken, messages, err
}

// SendLarge is zmq.Socket.SendLarge likewise.
func (p *pipe) SendLarge(prefix []byte, large *zmq.Large) (bool, error) {
	if p.feed == nil {
		return p.Socket.SendLarge(prefix, large)
	}
	if p.feed.turns.rests() {
		return false, nil
	}
	taken, err := p.Socket.SendLarge(prefix, large)
	if err == nil && !taken {
		p.feed.turns.filled(time.Now())
	}
	return taken, err
}

// Room is zmq.Socket.Room.
func (p *pipe) Room(f func()) {
	switch {
	case p.feed == nil:
		p.Socket.Room(f)
	case f == nil:
		p.feed.room.Store(nil)
	default:
		p.feed.room.Store(&f)
	}
}

// Writable is zmq.Socket.Writable.
func (p *pipe) Writable() <-chan struct{} {
	if p.feed == nil {
		return p.Socket.Writable()
	}
	return p.feed.writable
}
