package nacl_test

import (
	"bytes"
	"crypto/rand"
	"strconv"
	"testing"

	"golang.org/x/crypto/nacl/box"

	"github.com/libvtx/libvtx/internal/nacl"
)

// x/crypto's box is an implementation of its own.
func TestAgainstAnother(t *testing.T) {
	public, secret, err := box.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var ours nacl.Key
	rand.Read(ours[:])
	their := [32]byte(*nacl.Public(&ours))
	shared, ok := nacl.Share((*nacl.Key)(public), &ours)
	if !ok {
		t.Fatal("no key is shared")
	}
	var nonce [24]byte
	rand.Read(nonce[:])
	boxes := nacl.NewBoxes(shared, (*[16]byte)(nonce[:]))
	sizes := []int{1 << 20, 1<<20 + 100}
	for size := range 1100 {
		sizes = append(sizes, size)
	}
	for _, size := range sizes {
		counter := (*[8]byte)(nonce[16:])
		rand.Read(counter[:])
		plain := make([]byte, size)
		rand.Read(plain)
		want := box.Seal([]byte("prefix"), plain, &nonce, &their, secret)

		for _, head := range []int{0, 1, nacl.HeadSize} {
			if head = min(head, size); !bytes.Equal(boxes.Seal([]byte("prefix"), plain[:head], plain[head:], counter), want) {
				t.Fatalf("%d and %d bytes: another box", head, size-head)
			}
			first := make([]byte, head)
			got, ok := boxes.Open([]byte("prefix"), first, want[len("prefix"):], counter)
			if !ok || !bytes.Equal(first, plain[:head]) || !bytes.Equal(got, append([]byte("prefix"), plain[head:]...)) {
				t.Fatalf("%d and %d bytes: does not open", head, size-head)
			}
			clear(first)
			sealed := bytes.Clone(want[len("prefix"):])
			got, ok = boxes.OpenInPlace(first, sealed, counter)
			if !ok || !bytes.Equal(first, plain[:head]) || !bytes.Equal(got, plain[head:]) || !bytes.HasSuffix(sealed, got) {
				t.Fatalf("%d and %d bytes: does not open in place", head, size-head)
			}
		}
		if got := nacl.Seal([]byte("prefix"), plain, &nonce, shared); !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: another single box", size)
		}
		got, ok := nacl.Open([]byte("prefix"), want[len("prefix"):], &nonce, shared)
		if !ok || !bytes.Equal(got, append([]byte("prefix"), plain...)) {
			t.Fatalf("%d bytes: the single box does not open", size)
		}
	}
}

// Many boxes at a time are the same boxes, and those before a bad one still open.
func TestMany(t *testing.T) {
	boxes := nacl.NewBoxes(&nacl.Key{1}, &[nacl.PrefixSize]byte{2})
	var plain, want []byte
	var many []nacl.Box
	for i := range 300 {
		b := nacl.Box{Plain: uintptr(len(plain)), Sealed: uintptr(len(want)), Size: uintptr(i), Head: byte(i)}
		rand.Read(b.Counter[:])
		plain = append(plain, make([]byte, i)...)
		rand.Read(plain[b.Plain:])
		want = boxes.Seal(want, []byte{b.Head}, plain[b.Plain:], &b.Counter)
		many = append(many, b)
	}
	sealed := make([]byte, len(want))
	if boxes.SealAll(sealed, plain, many); !bytes.Equal(sealed, want) {
		t.Fatal("other boxes than one by one")
	}
	for _, bad := range []int{len(many), 200, 0} {
		if bad < len(many) {
			sealed[many[bad].Sealed] ^= 1
		}
		for i := range many {
			many[i].Head = 0xFF
		}
		got := make([]byte, len(plain))
		if n := boxes.OpenAll(got, sealed, many); n != bad {
			t.Fatalf("%d open, want %d", n, bad)
		}
		for i := range bad {
			if many[i].Head != byte(i) {
				t.Errorf("box %d: head %d", i, many[i].Head)
			}
		}
		end := len(plain)
		if bad < len(many) {
			end = int(many[bad].Plain)
		}
		if !bytes.Equal(got[:end], plain[:end]) || len(bytes.Trim(got[end:], "\x00")) > 0 {
			t.Errorf("%d boxes: not what was in them", bad)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	var counter [nacl.CounterSize]byte
	boxes := nacl.NewBoxes(new(nacl.Key), new([nacl.PrefixSize]byte))
	sealed := boxes.Seal(nil, []byte("c"), []byte("ontent"), &counter)
	refused := func(what string, n int, box []byte) {
		dst, head := append(make([]byte, 0, 100), "before|after"...)[:len("before")], []byte("x")
		got, ok := boxes.Open(dst, head, box, &counter)
		if ok || string(got) != "before" || string(got[:12]) != "before|after" || string(head) != "x" {
			t.Errorf("%s %d: %q %q, %v", what, n, head, got, ok)
		}
		again := bytes.Clone(box)
		if _, ok := boxes.OpenInPlace(head, again, &counter); ok || !bytes.Equal(again, box) || string(head) != "x" {
			t.Errorf("%s %d in place: %x became %x, %v", what, n, box, again, ok)
		}
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		refused("changed", i, changed)
		refused("cut", i, sealed[:i])
	}
	counter[0] = 1
	refused("other counter", 1, sealed)
}

func TestShareRefuses(t *testing.T) {
	secret := nacl.Key{1}
	for _, peer := range []nacl.Key{{}, {1}} { // points of low order (RFC 7748, section 6.1)
		if _, ok := nacl.Share(&peer, &secret); ok {
			t.Errorf("%x: shared", peer)
		}
	}
}

func BenchmarkSeal(b *testing.B) { benchmark(b, true) }
func BenchmarkOpen(b *testing.B) { benchmark(b, false) }

func benchmark(b *testing.B, seal bool) {
	var counter [nacl.CounterSize]byte
	boxes := nacl.NewBoxes(new(nacl.Key), new([nacl.PrefixSize]byte))
	for _, size := range []int{1, 10, 100, 1000, 10000, 64 << 10, 1 << 20} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			plain := make([]byte, size)
			sealed := boxes.Seal(nil, nil, plain, &counter)
			b.SetBytes(int64(size))
			for b.Loop() {
				if seal {
					sealed = boxes.Seal(sealed[:0], nil, plain, &counter)
				} else if _, ok := boxes.Open(plain[:0], nil, sealed, &counter); !ok {
					b.Fatal("does not open")
				}
			}
		})
	}
}
