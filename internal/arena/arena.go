// Package arena lends slices of bytes. Where they are made anew for each large message, or each part of one, zeroing and
// collecting them, and page by page taking them from the system, costs more than all that is done with them. What is large
// is C's memory: there may be none, and that is then an error, where in Go it is the end of the process.
package arena

import (
	"math/bits"
	"slices"
	"sync"
	"unsafe"
)

// Slices have powers of two of bytes, from 1<<least on. Smaller ones are cheap to make. Up to 1<<heap bytes they are in
// Go's heap, which is as much as one read takes; up to 1<<own bytes where GrowOwn says so.
const (
	least = 10
	heap  = 17
	own   = 19
)

// Least is the smallest slice that is lent, in bytes.
const Least = 1 << least

// pools have pointers to what is lent of Go's heap, by its size. What nobody uses, the garbage collector takes from them
// after a while.
var pools [own + 1]sync.Pool

// lent are the blocks that are lent as slices, by their first byte.
var lent struct {
	sync.Mutex
	blocks map[*byte]Block
}

// Get returns an empty slice with room for at least n bytes, whose content is anything. It is to be Put: what is C's nobody
// collects. Errors: ENOMEM, for more than 128 KiB.
func Get(n int) ([]byte, error) {
	size := sizeOf(n)
	if size <= heap {
		return pooled(size), nil
	}
	block, err := Take(1 << size)
	if err != nil {
		return nil, err
	}
	return lend(block, 0), nil
}

// sizeOf is the logarithm of the size that has room for n bytes.
func sizeOf(n int) int { return max(bits.Len(uint(max(n, 1)-1)), least) }

func pooled(size int) []byte {
	if b, ok := pools[size].Get().(*byte); ok {
		return unsafe.Slice(b, 1<<size)[:0]
	}
	return make([]byte, 0, 1<<size)
}

func lend(block Block, used int) []byte {
	b := block.Bytes()[:used]
	lent.Lock()
	defer lent.Unlock()
	if lent.blocks == nil {
		lent.blocks = make(map[*byte]Block)
	}
	lent.blocks[unsafe.SliceData(b)] = block
	return b
}

// reclaim takes the block of a slice back, if there is one.
func reclaim(b []byte) (block Block, ok bool) {
	if cap(b) <= 1<<heap {
		return block, false
	}
	lent.Lock()
	defer lent.Unlock()
	block, ok = lent.blocks[unsafe.SliceData(b)]
	delete(lent.blocks, unsafe.SliceData(b))
	return block, ok
}

// Put takes back what Get gave, and leaves alone what it cannot have given. Nobody may use it any more.
func Put(b []byte) {
	if block, ok := reclaim(b); ok {
		block.Free()
		return
	}
	size := bits.Len(uint(cap(b))) - 1
	if size < least || size > own || cap(b) != 1<<size {
		return
	}
	pools[size].Put(unsafe.SliceData(b))
}

// Grow returns b with room for n bytes more. Where that is other memory, what b had is given back. Errors: ENOMEM, and b is
// as it was.
func Grow(b []byte, n int) ([]byte, error) { return grow(b, n, heap) }

// GrowOwn is Grow for what this end's application sends, of which most is in batches of some hundred kilobytes: those are in
// Go's heap.
func GrowOwn(b []byte, n int) ([]byte, error) { return grow(b, n, own) }

// Append is append for what may be C's, which Go's own would lose. Where there is no more of C's memory it is Go's.
func Append(b []byte, p ...byte) []byte {
	if cap(b)-len(b) >= len(p) || !isLent(b) {
		return append(b, p...)
	}
	if to, err := Grow(b, len(p)); err == nil {
		return append(to, p...)
	}
	to := append(slices.Clone(b), p...)
	Put(b)
	return to
}

// isLent says whether a slice is C's.
func isLent(b []byte) bool {
	if cap(b) <= 1<<heap {
		return false
	}
	lent.Lock()
	defer lent.Unlock()
	_, ok := lent.blocks[unsafe.SliceData(b)]
	return ok
}

func grow(b []byte, n, most int) ([]byte, error) {
	if cap(b)-len(b) >= n {
		return b, nil
	}
	want := max(len(b)+n, 2*cap(b))
	if size := sizeOf(want); size <= most {
		to := append(pooled(size), b...)
		Put(b)
		return to, nil
	}
	if block, ok := reclaim(b); ok {
		err := block.Grow(len(b), 1<<sizeOf(want))
		return lend(block, len(b)), err
	}
	to, err := Get(want)
	if err != nil {
		return b, err
	}
	to = append(to, b...)
	Put(b)
	return to, nil
}
