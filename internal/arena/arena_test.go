package arena_test

import (
	"errors"
	"math"
	"syscall"
	"testing"

	"github.com/libvtx/libvtx/internal/arena"
)

func get(t *testing.T, n int) []byte {
	t.Helper()
	b, err := arena.Get(n)
	if err != nil || len(b) != 0 || cap(b) < n {
		t.Fatalf("%d bytes: length %d, capacity %d, %v", n, len(b), cap(b), err)
	}
	return b
}

func TestGet(t *testing.T) {
	before := arena.Taken()
	for _, n := range []int{0, 1, 1023, 1024, 1025, 65535, 65536, 65537, 1 << 20, 1<<20 + 1, 1 << 23, 1<<23 + 1, 1 << 25} {
		b := get(t, n)
		if cap(b) > max(2*n, 1<<10) {
			t.Errorf("%d bytes: capacity %d", n, cap(b))
		}
		if taken := arena.Taken() - before; (taken > 0) != (n > 128<<10) {
			t.Errorf("%d bytes: %d of C's", n, taken)
		}
		arena.Put(b)
	}
	if taken := arena.Taken() - before; taken != 0 {
		t.Errorf("%d bytes are not given back", taken)
	}
}

// What is put back has the room that the next Get of its size counts on, whoever made it.
func TestPut(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 10), make([]byte, 1000), make([]byte, 1024), make([]byte, 100000), make([]byte, 1<<17),
		make([]byte, 1<<18), get(t, 100000)[:50], get(t, 1000000)} {
		arena.Put(b)
		for _, n := range []int{1, 1024, 65537, 100000, 131072, 200000} {
			get(t, n)
		}
	}
}

func TestGrow(t *testing.T) {
	for _, grow := range []func([]byte, int) ([]byte, error){arena.Grow, arena.GrowOwn} {
		before := arena.Taken()
		b := append(get(t, 10), "before"...)
		if same, err := grow(b, 1000); err != nil || &same[0] != &b[0] {
			t.Error("there was room", err)
		}
		for n := 1 << 10; n <= 1<<26; n *= 2 {
			var err error
			if b, err = grow(b, n); err != nil || string(b) != "before" || cap(b)-len(b) < n {
				t.Fatalf("%v: %q with room for %d", err, b, cap(b)-len(b))
			}
		}
		if same, err := grow(b, math.MaxInt/2); !errors.Is(err, syscall.ENOMEM) || string(same) != "before" {
			t.Errorf("memory without an end: %v, %q", err, same)
		}
		arena.Put(b)
		if taken := arena.Taken() - before; taken != 0 {
			t.Errorf("%d bytes are not given back", taken)
		}
	}
}

func TestTooMuch(t *testing.T) {
	if _, err := arena.Get(math.MaxInt / 2); !errors.Is(err, syscall.ENOMEM) {
		t.Error(err)
	}
	if err := arena.Claim(math.MaxInt / 2); !errors.Is(err, syscall.ENOMEM) {
		t.Error(err)
	}
}

// What is appended to C's memory stays C's, and is given back as that.
func TestAppend(t *testing.T) {
	before := arena.Taken()
	b := get(t, 1<<18)
	for len(b) < 1<<20 {
		b = arena.Append(b, make([]byte, 1000)...)
	}
	if arena.Taken() == before {
		t.Error("it is Go's")
	}
	arena.Put(b)
	if taken := arena.Taken() - before; taken != 0 {
		t.Errorf("%d bytes are not given back", taken)
	}
	b = make([]byte, 1<<18)
	if b = arena.Append(b, 'x'); len(b) != 1<<18+1 || b[1<<18] != 'x' || arena.Taken() != before {
		t.Error("Go's own are not as append leaves them")
	}
}
