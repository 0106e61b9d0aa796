package zmq

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Poller watches the ZMQ_FD descriptors of many sockets with one goroutine and no thread: its epoll
// descriptor is itself watched by the Go runtime. A descriptor of libzmq's must not be handed to the
// runtime directly, since the runtime would close it; a duplicate of each would double their number.
type Poller struct {
	file *os.File
	done chan struct{}

	mu      sync.Mutex
	sockets map[int32]*Socket
}

// NewPoller starts a poller.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // which is what makes os.NewFile poll it
		unix.Close(fd)
		return nil, err
	}
	p := &Poller{
		file:    os.NewFile(uintptr(fd), "epoll"),
		done:    make(chan struct{}),
		sockets: make(map[int32]*Socket),
	}
	raw, err := p.file.SyscallConn()
	if err != nil {
		p.file.Close()
		return nil, err
	}
	go p.run(raw)
	return p, nil
}

// Close ends the poller. The sockets must have been closed before.
func (p *Poller) Close() {
	p.file.Close()
	<-p.done
}

func (p *Poller) run(raw syscall.RawConn) {
	defer close(p.done)
	events := make([]unix.EpollEvent, 128)
	// The function returns false to wait for the next event; Read returns when the file is closed.
	raw.Read(func(fd uintptr) bool {
		for {
			n, err := unix.EpollWait(int(fd), events, 0)
			if err == unix.EINTR {
				continue
			}
			if n <= 0 {
				return false
			}
			p.mu.Lock()
			for _, e := range events[:n] {
				if s := p.sockets[e.Fd]; s != nil {
					signal(s.readable)
					signal(s.writable)
				}
			}
			p.mu.Unlock()
		}
	})
}

func (p *Poller) add(s *Socket) error {
	p.mu.Lock()
	p.sockets[int32(s.fd)] = s
	p.mu.Unlock()
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(s.fd)}
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	if err := raw.Control(func(fd uintptr) {
		failure = unix.EpollCtl(int(fd), unix.EPOLL_CTL_ADD, s.fd, &event)
	}); err != nil {
		return err
	}
	return failure
}

// remove forgets s; closing its descriptor takes it out of the epoll set.
func (p *Poller) remove(s *Socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sockets[int32(s.fd)] == s {
		delete(p.sockets, int32(s.fd))
	}
}
