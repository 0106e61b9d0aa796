package zmq

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The bounds of spin: how long, and how many hot waits without one follow where it was in vain, or where others want
// the processor.
const (
	spinTime      = 50 * time.Microsecond
	spinMost      = 4 // messages since the wait before
	restAfterVain = 8
	restIfCrowded = 1000
)

// spin looks for the next event without sleeping. Where request and reply follow each other within microseconds, most
// of the time between them is that of processors falling asleep and being woken. Whoever else wants this processor gets
// it; if that is somebody busy it is given back only after milliseconds, and sleeping would have been quicker.
//
// Where many messages come at a time the processors are busy enough, and with what the spinning would take from them.
func (p *Poller) spin(events []unix.EpollEvent) int {
	if p.moved.Swap(0) > spinMost {
		p.rest = restAfterVain
	}
	if p.rest > 0 {
		p.rest--
		return 0
	}
	for end := time.Now().Add(spinTime); ; {
		if n := p.waitRaw(events, 0); n > 0 {
			return n
		}
		unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		switch late := time.Since(end); {
		case late > 2*spinTime:
			p.rest = restIfCrowded
			return 0
		case late > 0:
			p.rest = restAfterVain
			return 0
		}
	}
}

// waitRaw is epoll_wait without telling the Go scheduler.
func (p *Poller) waitRaw(events []unix.EpollEvent, milliseconds int) int {
	n, _, failed := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(milliseconds), 0, 0)
	if failed != 0 {
		return 0
	}
	return int(n)
}
