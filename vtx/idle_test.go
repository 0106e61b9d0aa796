package vtx_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
)

// visited is a manager's socket of type typ that so many peers have come to and gone from, which it has seen.
func visited(h, client *host, typ, peers vtx.SocketType, count int) *app.Socket {
	h.t.Helper()
	s, endpoint := h.socket(typ), name("mem")
	h.bind(s, endpoint)
	var all []*app.Socket
	for range count {
		peer := client.socket(peers)
		client.connect(peer, endpoint)
		peer.Send("here")
		all = append(all, peer)
	}
	for range all {
		s.Recv()
	}
	for _, peer := range all {
		peer.Forget()
		if err := client.Close(peer.P); err != nil {
			h.t.Fatal(err)
		}
	}
	app.Eventually(h.t, "all have gone, and the socket has seen it", func() bool {
		s.RecvWithin(0)
		return h.meta(s, "peers") == "0" && h.IdlePipes() == count && h.HasLooked(s.P)
	})
	return s
}

// Pipes that nobody has used for a while give back their descriptors, a part of them at a time and the oldest first.
func TestIdlePipesGoWithTime(t *testing.T) {
	const count = 40
	h, client := newHost(t), newHost(t)
	before := openDescriptors()
	visited(h, client, vtx.Pull, vtx.Push, count)
	h.Tidy(time.Second)
	if n := h.IdlePipes(); n != count {
		t.Errorf("%d pipes are idle after a second, want %d", n, count)
	}
	h.Tidy(time.Minute)
	if n := h.IdlePipes(); n == 0 || n == count {
		t.Errorf("%d of %d pipes are idle, want some", n, count)
	}
	for range count {
		h.Tidy(time.Minute)
	}
	if n := h.IdlePipes(); n != 0 {
		t.Errorf("%d pipes are idle, want none", n)
	}
	app.Eventually(t, "their descriptors have been given back", func() bool { return openDescriptors() < before+count/2 })
}

// Closing those that the application does not know to have parted would free nothing.
func TestPipesThatHaveNotPartedStay(t *testing.T) {
	h, client := newHost(t), newHost(t)
	s, endpoint := h.socket(vtx.Pull), name("mem")
	h.bind(s, endpoint)
	peer := client.socket(vtx.Push)
	client.connect(peer, endpoint)
	peer.Send("here")
	s.Recv()
	peer.Forget()
	if err := client.Close(peer.P); err != nil {
		t.Fatal(err)
	}
	app.Eventually(t, "it has gone", func() bool { return h.IdlePipes() == 1 })
	h.Tidy(time.Minute)
	if n := h.IdlePipes(); n != 1 {
		t.Fatalf("%d pipes are idle, want 1", n)
	}
	app.Eventually(t, "the socket has seen it", func() bool {
		s.RecvWithin(0)
		h.Tidy(time.Minute)
		return h.IdlePipes() == 0
	})
}

// limitDescriptors allows no number from fd on, until the test is over.
func limitDescriptors(t *testing.T, fd int) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	now := was
	now.Cur = uint64(fd)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &was) })
}

// nextDescriptor is the number that the next descriptor will have.
func nextDescriptor(t *testing.T) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	return fd
}

// useDescriptors leaves none, until the test is over.
func useDescriptors(t *testing.T) {
	t.Helper()
	last := 0
	for fd := range 10000 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			last = fd
		}
	}
	limitDescriptors(t, last+1)
	for {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			return
		}
		t.Cleanup(func() { unix.Close(fd) })
	}
}

// Where descriptors are few no idle pipe keeps one.
func TestIdlePipesGoWhenDescriptorsAreFew(t *testing.T) {
	h, client := newHost(t), newHost(t)
	visited(h, client, vtx.Pull, vtx.Push, 20)
	next := nextDescriptor(t)
	limitDescriptors(t, next+next/20)
	h.Tidy(0)
	if n := h.IdlePipes(); n != 0 {
		t.Errorf("%d pipes are idle, want none", n)
	}
}

// And where there is none left they make way for a pipe of another kind.
func TestIdlePipesMakeWayForOthers(t *testing.T) {
	h, client := newHost(t), newHost(t)
	visited(h, client, vtx.Pull, vtx.Push, 20)
	router, dealer, endpoint := h.socket(vtx.Router), client.socket(vtx.Dealer), name("mem")
	client.connect(dealer, endpoint) // its end has a descriptor now
	dealer.Send("here")
	useDescriptors(t)
	h.bind(router, endpoint)
	if m := router.Recv(); m[1] != "here" {
		t.Errorf("received %q", m)
	}
	if stats := h.meta(router, "stats"); !strings.Contains(stats, `"refusals":0,`) {
		t.Errorf("%s: it was refused at first", stats)
	}
}
