package zmq

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A spin ends at once when something is there; in vain, or where messages come in crowds, it is not repeated soon.
func TestSpin(t *testing.T) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(epoll)
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	p := &Poller{epoll: epoll, ready: make(map[int32]func(uint32))}
	if err := p.watch(fd, unix.EPOLLIN, nil); err != nil {
		t.Fatal(err)
	}
	events := make([]unix.EpollEvent, 4)
	if n := p.spin(events); n != 0 || p.rest < restAfterVain {
		t.Errorf("nothing was there: %d events, %d waits until the next", n, p.rest)
	}
	unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	p.rest = 0
	if n := p.spin(events); n != 1 || events[0].Fd != int32(fd) || p.rest != 0 {
		t.Errorf("something was there: %d events, %d waits until the next", n, p.rest)
	}
	p.moved.Store(spinMost + 1)
	if n := p.spin(events); n != 0 || p.rest == 0 {
		t.Errorf("many messages came: %d events, %d waits until the next", n, p.rest)
	}
}
