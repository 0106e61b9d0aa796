package zmq_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/internal/zmq"
)

func alloc(t *testing.T, size int) *zmq.Large {
	t.Helper()
	l := &zmq.Large{}
	if err := l.Begin(0, size); err != nil {
		t.Fatal(err)
	}
	for l.Lacks() > 0 {
		room, err := l.Room()
		if err != nil {
			t.Fatal(err)
		}
		l.Add(len(room))
	}
	if n := len(l.Bytes()); n != size {
		t.Fatalf("%d bytes, want %d", n, size)
	}
	return l
}

// The memory of a large body serves the next one of about its size, and no other.
func TestMemoryOfLargeBodiesIsUsedAgain(t *testing.T) {
	for _, size := range []int{zmq.LargeBody, 64 << 10, 64<<10 + 1, 1 << 20, 4 << 20} {
		alloc(t, size).Free()
		before := arena.Kept()
		if before < size {
			t.Fatalf("%d bytes are kept after one of %d", before, size)
		}
		one := alloc(t, size)
		if got := before - arena.Kept(); got < size || got >= 2*size {
			t.Errorf("%d bytes were taken for one of %d", got, size)
		}
		alloc(t, 2*size).Free()
		one.Free()
		if arena.Kept() < before {
			t.Errorf("%d bytes are kept, %d were before", arena.Kept(), before)
		}
	}
}

// Bodies that exist at the same time have nothing in common, and what is kept has a bound, whatever comes.
func TestMemoryOfLargeBodiesIsBounded(t *testing.T) {
	var all []*zmq.Large
	for i := range 40 {
		l := alloc(t, 900<<10+i*1000)
		copy(l.Bytes(), bytes.Repeat([]byte{byte(i)}, len(l.Bytes())))
		all = append(all, l)
	}
	for i, l := range all {
		if n := bytes.Count(l.Bytes(), []byte{byte(i)}); n != len(l.Bytes()) {
			t.Errorf("body %d: %d of %d bytes are its own", i, n, len(l.Bytes()))
		}
		l.Free()
		if arena.Kept() > arena.MostKept {
			t.Fatalf("%d bytes are kept, at most %d may be", arena.Kept(), arena.MostKept)
		}
	}
	before := arena.Kept()
	alloc(t, 5<<20).Free()
	if arena.Kept() != before {
		t.Errorf("a body of 5 MiB changed what is kept from %d to %d bytes", before, arena.Kept())
	}
	var l zmq.Large
	if err := l.Begin(0, math.MaxInt/2); err != nil {
		t.Fatal(err, "only what comes takes memory")
	}
	var err error
	for err == nil && len(l.Memory()) < 64<<20 {
		var room []byte
		room, err = l.Room()
		l.Add(len(room))
	}
	if err != nil {
		t.Error(err)
	}
	l.Free()
	if l.Full() {
		t.Error("a body without memory")
	}
}
