package scale

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
)

// refusals listens to a socket's monitor for peers that are turned away.
func (h *host) refusals(s *app.Socket) *app.Socket {
	h.t.Helper()
	if err := h.Monitor(s.P, "inproc://refusals", int(vtx.EventAcceptFailed)); err != nil {
		h.t.Fatal(err)
	}
	events := h.Context.Socket(h.t, int(vtx.Pair))
	events.Native(false, "inproc://refusals")
	return events
}

// wantRefusal waits for an event that says EMFILE and why.
func wantRefusal(t *testing.T, events *app.Socket, why string) {
	t.Helper()
	m := events.Recv()
	if len(m) != 3 || len(m[0]) != 6 {
		t.Fatalf("event %q", m)
	}
	kind, value := binary.NativeEndian.Uint16([]byte(m[0])), binary.NativeEndian.Uint32([]byte(m[0][2:]))
	if vtx.EventKind(kind) != vtx.EventAcceptFailed || syscall.Errno(value) != syscall.EMFILE || !strings.Contains(m[2], why) {
		t.Fatalf("event %#x, value %d: %q", kind, value, m[1:])
	}
}

// talk has each peer ask and get its answer. It returns who else was heard meanwhile.
func talk(t *testing.T, router *app.Socket, peers []*peer) (others map[string]bool) {
	t.Helper()
	others = make(map[string]bool)
	for _, p := range peers {
		if err := p.send("ask"); err != nil {
			t.Fatal(err)
		}
		m := router.Recv()
		for ; m[1] != "ask"; m = router.Recv() {
			others[m[0]] = true
		}
		router.Send(m[0], "answer")
		if m, err := p.recv(); err != nil || m != "answer" {
			t.Fatalf("received %q: %v", m, err)
		}
	}
	return others
}

// When ZMQ_MAX_SOCKETS leaves no room, a peer is turned away with an event; those who are there notice nothing, and
// when one leaves there is room for one.
func TestMorePeersThanSockets(t *testing.T) {
	const sockets, room = 200, 200 - 25 // an eighth is left to the application
	h := newHost(t, sockets)
	router, at := h.bind(vtx.Router, 1000)
	events := h.refusals(router)
	peers := h.dial(room, at, "DEALER", "early")
	for i := range 20 {
		if p, err := dial(at, "DEALER", fmt.Sprint("late-", i)); err == nil {
			p.Close()
			t.Fatal("a peer more than there is room for came in")
		}
		wantRefusal(t, events, "ZMQ_MAX_SOCKETS")
	}
	talk(t, router, peers)
	h.Context.Socket(t, int(vtx.Push)) // fails the test if there is none left
	peers[0].Close()
	app.Eventually(t, "one has left", func() bool { router.RecvWithin(0); return h.peers(router) == room-1 })
	talk(t, router, append(h.dial(1, at, "DEALER", "next"), peers[1:]...))
}

// When the process has no descriptors left, peers have to wait, or are turned away, with an event; those who are there
// notice nothing; and when there are some again, everybody who still wants to comes in.
func TestMorePeersThanDescriptors(t *testing.T) {
	const early, late = 100, 50
	h := newHost(t, 1000)
	router, at := h.bind(vtx.Router, 1000)
	events := h.refusals(router)
	crowd := startCrowd(t, "DEALER", at) // has descriptors of its own
	peers := h.dial(early, at, "DEALER", "early")
	talk(t, router, peers)

	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = uint64(descriptors(t) + late) // each takes two
	restore := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer restore()
	crowd.order(fmt.Sprint("insist ", late))
	wantRefusal(t, events, "")
	heard := talk(t, router, peers)
	if len(heard) == late {
		t.Fatal("all of them came in")
	}
	restore()
	crowd.done()
	for len(heard) < late {
		heard[router.Recv()[0]] = true
	}
	talk(t, router, peers)
}

func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
