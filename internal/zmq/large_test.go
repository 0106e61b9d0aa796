package zmq_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/libvtx/libvtx/internal/zmq"
)

func alloc(t *testing.T, size int) *zmq.Large {
	t.Helper()
	l := &zmq.Large{}
	if err := l.Alloc(0, size); err != nil {
		t.Fatal(err)
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
		before := zmq.Kept()
		if before < size {
			t.Fatalf("%d bytes are kept after one of %d", before, size)
		}
		one := alloc(t, size)
		if got := before - zmq.Kept(); got < size || got >= 2*size {
			t.Errorf("%d bytes were taken for one of %d", got, size)
		}
		alloc(t, 2*size).Free()
		one.Free()
		if zmq.Kept() < before {
			t.Errorf("%d bytes are kept, %d were before", zmq.Kept(), before)
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
		if zmq.Kept() > zmq.MostKept {
			t.Fatalf("%d bytes are kept, at most %d may be", zmq.Kept(), zmq.MostKept)
		}
	}
	before := zmq.Kept()
	alloc(t, 5<<20).Free()
	if zmq.Kept() != before {
		t.Errorf("a body of 5 MiB changed what is kept from %d to %d bytes", before, zmq.Kept())
	}
	var l zmq.Large
	if err := l.Alloc(0, math.MaxInt); err == nil {
		t.Error("memory for a body of any size")
	}
	if l.Full() {
		t.Error("a body without memory")
	}
}
