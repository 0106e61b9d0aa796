package arena_test

import (
	"testing"

	"github.com/libvtx/libvtx/internal/arena"
)

func TestGet(t *testing.T) {
	for _, n := range []int{0, 1, 1023, 1024, 1025, 65535, 65536, 65537, 1 << 20, 1<<20 + 1, 1 << 23, 1<<23 + 1, 1 << 25} {
		b := arena.Get(n)
		if len(b) != 0 || cap(b) < n {
			t.Errorf("%d bytes: length %d, capacity %d", n, len(b), cap(b))
		}
		if n <= 1<<23 && cap(b) > max(2*n, 1<<10) {
			t.Errorf("%d bytes: capacity %d", n, cap(b))
		}
		arena.Put(b)
	}
}

// What is put back has the room that the next Get of its size counts on, whoever made it.
func TestPut(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 10), make([]byte, 1000), make([]byte, 1024), make([]byte, 100000), make([]byte, 1<<17), arena.Get(100000)[:50]} {
		arena.Put(b)
		for _, n := range []int{1, 1024, 65537, 100000, 131072} {
			if got := arena.Get(n); len(got) != 0 || cap(got) < n {
				t.Fatalf("%d bytes: length %d, capacity %d", n, len(got), cap(got))
			}
		}
	}
}

func TestGrow(t *testing.T) {
	b := append(arena.Get(10), "before"...)
	if same := arena.Grow(b, 1000); &same[0] != &b[0] {
		t.Error("there was room")
	}
	grown := arena.Grow(b, 1<<20)
	if string(grown) != "before" || cap(grown) < len(b)+1<<20 || &grown[0] == &b[0] {
		t.Errorf("%q with room for %d", grown, cap(grown)-len(grown))
	}
}
