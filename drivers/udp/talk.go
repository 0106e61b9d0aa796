package udp

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// talker sends messages as they are: PUB, XPUB and PUSH, which count them, and DEALER, PAIR and
// a ROUTER with such a peer, which as in the original repeat the number they heard last.
type talker struct {
	stateless
	counts bool
	number atomic.Uint32 // of the next message
}

func (t *talker) next() byte {
	if t.counts {
		return byte(t.number.Add(1)-1) & nom.SequenceMask
	}
	return byte(t.number.Load())
}

func (t *talker) receive(l *link, h nom.Header, body []byte, in *inbox) {
	if t.counts {
		l.dropped(vtx.DropStray, 1) // these patterns hear nothing
		return
	}
	t.number.Store(uint32(h.Sequence))
	in.frames = in.frames[:0]
	in.add(l, body)
}

// send sends all of b, as many messages at a time as one system call takes.
func (t *talker) send(l *link, b *vtx.Batch) error {
	out := departurePool.Get().(*departures)
	defer departurePool.Put(out)
	for b.Len() > 0 {
		if err := l.Err(); err != nil {
			return err
		}
		ahead := *b // b keeps what has not been sent
		t.fill(l, out, &ahead)
		sent, failed, err := l.sendAll(out)
		if errors.Is(err, syscall.EMSGSIZE) { // a path of less than NOM-1 needs
			sent, failed, err = sent+1, failed+1, nil
		}
		l.dropped(vtx.DropNetwork, failed)
		if err != nil {
			if sent > 0 {
				for range out.taken[sent-1] {
					b.Pop()
				}
			}
			return over(l, err)
		}
		if sent == out.n {
			*b = ahead
			continue
		}
		for range out.taken[sent-1] {
			b.Pop()
		}
	}
	return nil
}

// fill makes datagrams of the messages at the front of b.
func (t *talker) fill(l *link, out *departures, b *vtx.Batch) {
	out.n = 0
	for taken := 1; out.n < maxBatch && b.Len() > 0; taken++ {
		m := b.Pop()
		if size := wireSize(m, 0); size > nom.MaxDatagram {
			l.tooBig(size)
			continue
		}
		l.begun.Store(true)
		i := out.n
		out.datagrams[i] = appendMessage(out.buffers[i][:0], nom.Header{Command: nom.NOM, Sequence: t.next()}, m, 0)
		out.taken[i] = taken
		out.n++
	}
}

// over is the error of a Send whose link is no more.
func over(l *link, err error) error {
	if why := l.Err(); why != nil && errors.Is(err, net.ErrClosed) {
		return why
	}
	return err
}

// wireSize is the size of m's datagram without its first skip frames.
func wireSize(m vtx.Message, skip int) int {
	size := nom.HeaderSize
	for f := range m.Frames() {
		if skip > 0 {
			skip--
			continue
		}
		size += nom.FrameSize(len(f))
	}
	return size
}

// appendMessage makes m's datagram, without its first skip frames.
func appendMessage(dst []byte, h nom.Header, m vtx.Message, skip int) []byte {
	dst = nom.AppendHeader(dst, h)
	for f := range m.Frames() {
		if skip > 0 {
			skip--
			continue
		}
		dst = nom.AppendFrame(dst, f)
	}
	return dst
}
