package udp

import (
	"sync"
	"sync/atomic"

	"github.com/libvtx/libvtx/vtx"
)

// The bounds of what waits for the application to make room, in bytes.
const (
	maxBacklog  = 4 << 20  // of one link
	maxBacklogs = 64 << 20 // of all links of the process
)

// backlogged counts the bytes of all backlogs.
var backlogged atomic.Int64

// backlog is what has arrived and did not find room in the application's socket: a burst outlives the moments in which the
// application is not on a processor, while questions from the peer are answered all the same.
type backlog struct {
	mu     sync.Mutex
	batch  vtx.Batch
	size   int // of what waits, reckoned in backlogged
	held   int // of the batch's memory in use: what has been delivered is in it for a while
	closed bool
	early  bool                  // what comes before the link is started waits too
	ending atomic.Pointer[error] // the peer has ended the peering with this; what waits is delivered first
}

// deliver hands over what is in b, keeps what finds no room where the sink can say when there is some, and gives the
// number of messages that are lost. The sink is asked for while start cannot come in between.
func (k *backlog) deliver(open func() vtx.Sink, b *vtx.Batch) (lost int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	sink := open()
	if sink == nil && !k.early || k.closed {
		return b.Len()
	}
	if sink != nil && k.batch.Len() == 0 {
		_ = sink.TryDeliver(b) // an error means that the peering is ending: what is left counts
	}
	if _, roomy := sink.(vtx.RoomySink); !roomy && !k.early || b.Len() == 0 || k.over() != nil {
		return b.Len()
	}
	for m := b.Front(); m != nil; m = b.Front() {
		if k.size+len(m) > maxBacklog {
			break
		}
		if backlogged.Add(int64(len(m))) > maxBacklogs {
			backlogged.Add(-int64(len(m)))
			break
		}
		k.size += len(m)
		k.held += len(m)
		k.batch.AppendFramed(m, 1)
		b.Pop()
	}
	return b.Len()
}

// waits says whether something waits for the application.
func (k *backlog) waits() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.batch.Len() > 0 && !k.early
}

// start delivers what came before the link was started. It gives what room does.
func (k *backlog) start(sink vtx.Sink) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.early = false
	return k.roomy(sink)
}

// room is called when the application's socket may have room again. It gives the reason to end the link for, if it is
// time for that.
func (k *backlog) room(sink vtx.Sink) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.roomy(sink)
}

// roomy is room. k.mu is held.
func (k *backlog) roomy(sink vtx.Sink) error {
	if k.batch.Len() == 0 {
		return nil
	}
	_ = sink.TryDeliver(&k.batch)
	if k.batch.Len() > 0 {
		k.shrink()
		return nil
	}
	k.clear()
	return k.over()
}

// endAfter says whether the link can end now; else it does when the backlog has been delivered.
func (k *backlog) endAfter(why error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.batch.Len() == 0 {
		return true
	}
	k.ending.CompareAndSwap(nil, &why)
	return false
}

// over gives the error with which the peer has ended the peering, while there is something to be delivered, or nil.
func (k *backlog) over() error {
	if why := k.ending.Load(); why != nil {
		return *why
	}
	return nil
}

// drop forgets everything, for good, and says how many messages that were.
func (k *backlog) drop() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.batch.Len()
	k.clear()
	k.closed = true
	return n
}

// shrink reckons with what is left, and gives the memory back when most of it has been delivered: a busy application may
// keep up for hours and never see the end.
func (k *backlog) shrink() {
	left := k.batch.Size()
	backlogged.Add(int64(left - k.size))
	k.size = left
	if k.held <= 2*left {
		return
	}
	var rest vtx.Batch
	_ = k.batch.Offer(func(framed []byte) (bytes, messages int, err error) {
		rest.AppendFramed(framed, k.batch.Len())
		return 0, 0, nil
	})
	k.batch, k.held = rest, left
}

func (k *backlog) clear() {
	backlogged.Add(-int64(k.size))
	k.batch, k.size, k.held = vtx.Batch{}, 0, 0
}
