// Package arena lends slices of bytes. Where they are made anew for each large message, or each part of one, zeroing and
// collecting them, and page by page taking them from the system, costs more than all that is done with them.
package arena

import (
	"math/bits"
	"sync"
	"unsafe"
)

// Slices have powers of two from 1<<least to 1<<most bytes. Smaller ones are cheap to make; larger ones are rare.
const (
	least = 10
	most  = 23
)

// Least is the smallest slice that is lent, in bytes.
const Least = 1 << least

// pools have pointers to what is lent, by its size. What nobody uses, the garbage collector takes from them after a while.
var pools [most + 1]sync.Pool

// Get returns an empty slice with room for at least n bytes, whose content is anything.
func Get(n int) []byte {
	if n > 1<<most {
		return make([]byte, 0, n)
	}
	size := max(bits.Len(uint(max(n, 1)-1)), least)
	if b, ok := pools[size].Get().(*byte); ok {
		return unsafe.Slice(b, 1<<size)[:0]
	}
	return make([]byte, 0, 1<<size)
}

// Put takes back what Get gave, and leaves alone what it cannot have given. Nobody may use it any more.
func Put(b []byte) {
	size := bits.Len(uint(cap(b))) - 1
	if size < least || size > most || cap(b) != 1<<size {
		return
	}
	pools[size].Put(unsafe.SliceData(b))
}

// Grow returns b with room for n bytes more. Where that is other memory, what b had is left to the garbage collector, since
// others may still see it.
func Grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(Get(max(len(b)+n, 2*cap(b))), b...)
}
