package vtx

import (
	"errors"
	"sync"
	"syscall"

	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/internal/zmq"
)

// sink is the inbound way of one link: it ends with the link, so that nothing that comes late
// reaches a pipe that already serves another peer.
type sink struct {
	s    *Socket
	pipe pipeEnd
	link Link
	done chan struct{}

	roomy bool // the link waits by Room; set before messages flow

	delivering sync.Mutex // held by Deliver

	mu    sync.Mutex
	open  bool
	notes *notes // nil: what the peer says need not be looked into
}

func newSink(s *Socket, p pipeEnd, link Link, notes *notes) *sink {
	return &sink{s: s, pipe: p, link: link, notes: notes, open: true, done: make(chan struct{})}
}

// TryDeliver implements Sink.
func (k *sink) TryDeliver(b *Batch) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.open {
		return errClosing
	}
	if err := k.claim(b); err != nil {
		return err
	}
	if k.notes == nil {
		_, err := k.send(b, len(b.buf))
		return err
	}
	for b.Len() > 0 {
		begin := b.off
		size := k.notes.allowed(b.buf[begin:])
		if size == 0 {
			k.open = false
			refusal := k.notes.refusal()
			go k.link.Close(refusal) // which may want what our caller has locked
			return refusal           // the link may end by itself, with this
		}
		taken, err := k.send(b, begin+size)
		k.notes.topics.fromPeer(b.buf[begin : begin+taken])
		if err != nil || taken < size {
			return err
		}
	}
	return nil
}

// send gives the pipe b's messages up to end.
func (k *sink) send(b *Batch, end int) (bytes int, err error) {
	bytes, messages, err := k.pipe.Send(b.buf[b.off:end])
	b.off += bytes
	b.n -= messages
	k.s.stats.messagesIn.Add(int64(messages))
	k.s.stats.bytesIn.Add(int64(bytes))
	return bytes, ending(err)
}

// ending is what an error of the pipe's means to a link.
func ending(err error) error {
	if err == nil || errors.Is(err, syscall.ENOMEM) {
		return err
	}
	return errClosing // the context has been terminated
}

// claimFrom is from how many bytes on it is asked first whether libzmq will have memory for them: it ends the process where it
// has none for a part of a message, and half a message cannot be taken back.
const claimFrom = 256 << 10

// What libzmq takes for a frame, and for a byte of a topic, beside it, in bytes: a message, and a node of a trie.
const (
	eachFrame     = 64
	eachTopicByte = 32
)

// claim asks whether there is memory for what the peer has sent.
func (k *sink) claim(b *Batch) error {
	size := b.Size()
	if k.s.typ.publishes() {
		size *= eachTopicByte
	}
	if size < claimFrom {
		return nil
	}
	for range Message(b.buf[b.off:]).Frames() {
		size += eachFrame
	}
	return arena.Claim(size)
}

// TryDeliverLarge hands over one message: the whole frames in prefix, and large as the last. false: not now. Only where
// takesLarge says so.
func (k *sink) TryDeliverLarge(prefix []byte, large *zmq.Large) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.open {
		return false, errClosing
	}
	size := len(large.Bytes())
	taken, err := k.pipe.SendLarge(prefix, large)
	if taken {
		k.s.stats.messagesIn.Add(1)
		k.s.stats.bytesIn.Add(int64(len(prefix) + largeHead + size))
	}
	return taken, ending(err)
}

// takesLarge: nobody has to look into the messages, nor to reckon with what libzmq makes of them.
func (k *sink) takesLarge() bool { return !k.s.typ.publishes() }

// largeHead is the length of a large frame's head, in bytes.
const largeHead = 9

// Deliver implements Sink.
func (k *sink) Deliver(b *Batch) error {
	k.delivering.Lock()
	defer k.delivering.Unlock()
	for {
		if err := k.TryDeliver(b); err != nil || b.Len() == 0 {
			b.Reset()
			return err
		}
		select {
		case <-k.pipe.Writable():
		case <-k.done:
			b.Reset()
			return errClosing
		}
	}
}

// Room has the polling thread call f when a TryDeliver that left something may be tried again, in place of waking
// a Deliver: a link uses one of the two. It may be called for other reasons too.
func (k *sink) Room(f func()) {
	k.roomy = true
	k.pipe.Room(f)
}

// close ends the sink; when it returns, no message of this link is being written any more. Nor does anybody wait: he might
// take the wake-up of the next link's.
func (k *sink) close() {
	close(k.done)
	k.delivering.Lock()
	defer k.delivering.Unlock()
	if k.roomy {
		k.pipe.Room(nil)
	}
	k.mu.Lock()
	k.open = false
	k.mu.Unlock()
}
