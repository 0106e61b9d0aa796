package udp

import (
	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// inbox collects what one receive call brought for one link, so that the engine is called once
// for all of it. It belongs to a reader, which uses it for one link after another.
type inbox struct {
	batch  vtx.Batch
	frames [][]byte // scratch; what stands in it goes in front of the next message
}

// Memory above these is not kept, or one storm of datagrams would be paid for until the end.
const (
	keptBatch  = 2 << 20
	keptFrames = 1 << 10
)

// add reads a NOM's frames and appends them, after the envelope in in.frames, to the
// batch. It says whether that was possible.
func (in *inbox) add(l *link, body []byte) bool {
	envelope := in.frames
	frames, err := nom.AppendFrames(envelope, body)
	in.frames = in.frames[:0]
	if err != nil {
		l.dropped(vtx.DropMalformed, 1)
		return false
	}
	if limit := l.cfg.Options.MaxMsgSize; limit >= 0 {
		for _, f := range frames[len(envelope):] {
			if int64(len(f)) > limit {
				l.dropped(vtx.DropTooBig, 1)
				return false
			}
		}
	}
	in.append(frames)
	return true
}

func (in *inbox) append(frames [][]byte) {
	in.batch.Append(frames...)
	if cap(frames) <= keptFrames {
		in.frames = frames[:0]
	}
}

// addFramed is add for an extended peer's message, of which there has to be exactly one.
func (in *inbox) addFramed(l *link, message []byte) bool {
	m, rest, err := nom.CutMessage(message)
	frames := in.frames
	in.frames = in.frames[:0]
	switch {
	case err != nil || len(rest) > 0:
		l.dropped(vtx.DropMalformed, 1)
		return false
	case len(m) > l.ext.puzzle.limit:
		l.dropped(vtx.DropTooBig, 1)
		return false
	}
	for f := range vtx.Message(m).Frames() {
		frames = append(frames, f)
	}
	in.append(frames)
	return true
}

// flush hands over what was collected. What the application does not take waits, or is lost, and counted.
func (in *inbox) flush(l *link) {
	in.handOver(func() { l.dropped(vtx.DropFull, l.backlog.deliver(l.open, &in.batch)) })
}

// offer hands over what was collected, forgets it, and says how much was not taken. Before the link is started it may wait.
func (in *inbox) offer(l *link) (left int) {
	in.handOver(func() {
		if sink := l.open(); sink != nil {
			_ = sink.TryDeliver(&in.batch) // an error means that the peering is ending: what is left counts
		} else {
			l.backlog.deliver(l.open, &in.batch)
		}
		left = in.batch.Len()
	})
	return left
}

// handOver has deliver take what was collected, and forgets it.
func (in *inbox) handOver(deliver func()) {
	if in.batch.Len() == 0 {
		return
	}
	big := in.batch.Size() > keptBatch
	deliver()
	in.batch.Reset()
	if big {
		in.batch = vtx.Batch{}
	}
}
