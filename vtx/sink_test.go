package vtx

import (
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
)

// fullPipe is a pipe without room.
type fullPipe struct {
	pipeEnd
	awaited  func() // called as somebody is about to wait for room
	writable chan struct{}
}

func (p *fullPipe) Send([]byte) (taken, messages int, err error) { return 0, 0, nil }
func (p *fullPipe) Room(func())                                  {}

func (p *fullPipe) Writable() <-chan struct{} {
	p.awaited()
	return p.writable
}

func (p *fullPipe) SendLarge([]byte, *zmq.Large) (bool, error) { return false, nil }

// Whoever waits for room when a sink is closed is gone when it is closed: the wake-up that comes then is for the next sink
// at the pipe.
func TestClosedSinkTakesNoWakeUp(t *testing.T) {
	for range 50 {
		pipe := &fullPipe{writable: make(chan struct{}, 1)}
		sink := newSink(&Socket{}, pipe, nil, nil)
		waiting, closed, woken := make(chan struct{}), make(chan struct{}), false
		pipe.awaited = func() { // held up between finding no room and waiting for it
			close(waiting)
			<-sink.done
			select {
			case <-closed:
				pipe.writable <- struct{}{} // the next sink's
				woken = true
			case <-time.After(time.Millisecond): // close waits for us
			}
		}
		delivered := make(chan struct{})
		go func() {
			defer close(delivered)
			var b Batch
			b.Append([]byte("x"))
			if err := sink.Deliver(&b); err == nil {
				t.Error("a closed sink has delivered something")
			}
		}()
		<-waiting
		sink.close()
		close(closed)
		<-delivered
		if woken && len(pipe.writable) == 0 {
			t.Fatal("the next sink's wake-up is gone")
		}
	}
}
