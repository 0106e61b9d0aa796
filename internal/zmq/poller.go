package zmq

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Poller watches descriptors from one thread, which blocks in epoll_wait and calls what is to be called itself.
// It is what libzmq calls an I/O thread. The Go runtime's own poller would do the same with several futex calls
// and thread switches more for each message that comes alone; and it would close descriptors of libzmq's.
type Poller struct {
	epoll int
	wake  int // eventfd that ends run
	tick  int // timerfd that ends a hot wait
	done  chan struct{}

	closing    atomic.Bool
	moved      atomic.Int64  // messages through its sockets since the last wait
	processors int           // GOMAXPROCS
	waited     time.Duration // when run began to wait, since started; its own
	rest       int           // hot waits before the next spin; run's own
	ticking    bool          // tick is set; run's own

	mu      sync.Mutex
	ready   map[int32]func(events uint32)
	posts   []func() // to be called by run before it waits again
	waiting bool     // run is not going to look at posts unless it is roused
}

// Events of WatchStream.
const (
	CanRead  = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	CanWrite = unix.EPOLLOUT | unix.EPOLLHUP | unix.EPOLLERR
	HasEnded = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR // among those of CanRead
)

// NewPoller starts a poller.
func NewPoller() (*Poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	tick, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		unix.Close(wake)
		unix.Close(epoll)
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	p := &Poller{epoll: epoll, wake: wake, tick: tick, done: make(chan struct{}), ready: make(map[int32]func(uint32)),
		processors: runtime.GOMAXPROCS(0)}
	if err := errors.Join(p.watch(wake, unix.EPOLLIN, nil), p.watch(tick, unix.EPOLLIN, p.cool)); err != nil {
		p.closeAll()
		return nil, err
	}
	pollers.Add(1)
	go p.run()
	return p, nil
}

// Close ends the poller; it must not be called from a ready function. The sockets must have been closed before.
func (p *Poller) Close() {
	p.closing.Store(true)
	p.rouse()
	<-p.done
	pollers.Add(-1)
	p.closeAll()
}

func (p *Poller) closeAll() {
	unix.Close(p.tick)
	unix.Close(p.wake)
	unix.Close(p.epoll)
}

// Watch calls ready whenever fd has something to read, again and again until it is read. ready must not
// block: everything else waits for it. It may still be running when Unwatch returns.
func (p *Poller) Watch(fd int, ready func()) error {
	return p.watch(fd, unix.EPOLLIN, func(uint32) { ready() })
}

// WatchStream calls ready with some of CanRead and CanWrite when fd begins to have something to read or room to
// write: once each time, so that whoever is called goes on until the system says EAGAIN. Otherwise as Watch.
func (p *Poller) WatchStream(fd int, ready func(events uint32)) error {
	return p.watch(fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET, ready)
}

// WatchEnd calls ended when the peer of a stream socket will send nothing more, however much of what it has sent waits to
// be read. It reads nothing.
func (p *Poller) WatchEnd(fd int, ended func()) error {
	return p.watch(fd, unix.EPOLLRDHUP|unix.EPOLLET, func(uint32) { ended() })
}

// Post has f called by the poller's thread, soon.
func (p *Poller) Post(f func()) {
	p.mu.Lock()
	p.posts = append(p.posts, f)
	asleep := p.waiting
	p.waiting = false
	p.mu.Unlock()
	if asleep {
		p.rouse()
	}
}

func (p *Poller) rouse() { unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// posted calls what was posted before it began.
func (p *Poller) posted() {
	p.mu.Lock()
	list := p.posts
	p.posts = nil
	p.mu.Unlock()
	for _, f := range list {
		f()
	}
}

// Unwatch ends Watch, before fd is closed.
func (p *Poller) Unwatch(fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, watched := p.ready[int32(fd)]; watched {
		delete(p.ready, int32(fd))
		unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

func (p *Poller) watch(fd int, events uint32, ready func(events uint32)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready[int32(fd)] = ready
	err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	if err != nil {
		delete(p.ready, int32(fd))
		return fmt.Errorf("watching descriptor %d: %w", fd, err)
	}
	return nil
}

func (p *Poller) run() {
	defer close(p.done)
	runtime.LockOSThread() // libzmq allocates memory by thread: what one thread frees, another would not find
	defer runtime.UnlockOSThread()
	events := make([]unix.EpollEvent, 128)
	for {
		n := p.wait(events)
		for i := range n {
			fd := events[i].Fd
			if fd == int32(p.wake) {
				var count [8]byte
				unix.Read(p.wake, count[:])
				if p.closing.Load() {
					p.posted()
					p.mu.Lock()
					p.waiting = false // nobody is to be roused
					p.mu.Unlock()
					return
				}
				continue
			}
			p.mu.Lock()
			ready := p.ready[fd]
			p.mu.Unlock()
			if ready != nil {
				ready(events[i].Events)
			}
		}
		p.posted()
	}
}

// wait waits for events, but not while something is posted.
func (p *Poller) wait(events []unix.EpollEvent) int {
	p.mu.Lock()
	p.waiting = len(p.posts) == 0
	waiting := p.waiting
	p.mu.Unlock()
	if !waiting {
		n, _ := unix.EpollWait(p.epoll, events, 0)
		return max(n, 0)
	}
	now := time.Since(started)
	hot := now-p.waited < hotGap && p.mayBeHot()
	p.waited = now
	if hot {
		if n := p.waitHot(events); n > 0 {
			return n
		}
	}
	n, _ := unix.EpollWait(p.epoll, events, -1)
	return max(n, 0) // EINTR: nothing yet
}

// hotGap is how close events are to be for the next one to be waited for by waitHot.
const hotGap = 200 * time.Microsecond

var (
	pollers atomic.Int32 // running in this process
	started = time.Now()
)

// mayBeHot leaves a processor for all others.
func (p *Poller) mayBeHot() bool { return p.processors > 1 && pollers.Load() == 1 }

// waitHot waits without telling the Go scheduler, as if the goroutine were computing. A goroutine that blocks the usual
// way gives its processor (GOMAXPROCS) up; when all are given up the runtime puts its monitor thread to sleep, and has to
// wake it at the next event: for a request and its reply that costs as much as all the rest of the engine. No time
// limit: setting the clock for it costs a tenth of a round trip. A tick, which is set once for many waits, ends it
// within hotTick. So do
// the signals with which the runtime interrupts computations, for a garbage collection say; but those may not get through:
// the thread sanitizer holds them back.
func (p *Poller) waitHot(events []unix.EpollEvent) int {
	if !p.ticking {
		p.ticking = true
		unix.TimerfdSettime(p.tick, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(hotTick))}, nil)
	}
	if n := p.spin(events); n > 0 {
		return n
	}
	return p.waitRaw(events, -1)
}

// hotTick is how long a thread may be hot before it goes cold for one wait.
const hotTick = 10 * time.Millisecond

// cool has the next wait be a cold one: tick has gone off.
func (p *Poller) cool(uint32) {
	var count [8]byte
	unix.Read(p.tick, count[:])
	p.ticking, p.waited = false, -hotGap
}
