package vtx

import (
	"sync/atomic"

	"github.com/libvtx/libvtx/internal/zmq"
)

// soon has the polling thread call a function once, however often that is asked for before it does.
type soon struct{ posted atomic.Bool }

func (s *soon) call(poller *zmq.Poller, f func()) {
	if !s.posted.Swap(true) {
		poller.Post(func() {
			s.posted.Store(false)
			f()
		})
	}
}
