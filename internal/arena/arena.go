// Package arena lends large slices of bytes. One that is made anew for each large message is zeroed, given by the system
// page by page, and collected: at a megabyte that costs more than all that is done with it.
package arena

import (
	"math/bits"
	"slices"
	"sync"
)

// Slices have powers of two from 1<<least to 1<<most bytes. Smaller ones are cheap to make; larger ones are rare.
const (
	least = 16
	most  = 23
)

// What nobody uses, the garbage collector takes from a sync.Pool after a while.
var pools [most + 1]sync.Pool

// Get returns an empty slice with room for at least n bytes, whose content is anything.
func Get(n int) []byte {
	if n > 1<<most {
		return make([]byte, 0, n)
	}
	size := max(bits.Len(uint(max(n, 1)-1)), least)
	if b, ok := pools[size].Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 0, 1<<size)
}

// Put takes back what Get gave, and leaves alone what it cannot have given. Nobody may use it any more.
func Put(b []byte) {
	size := bits.Len(uint(cap(b))) - 1
	if size < least || size > most || cap(b) != 1<<size {
		return
	}
	b = b[:0]
	pools[size].Put(&b)
}

// Grow returns b with room for n bytes more. Where that is other memory, what b had is left to the garbage collector, since
// others may still see it. A small one is the caller's own.
func Grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	if len(b)+n <= 1<<(least-1) {
		return slices.Grow(b, n)
	}
	return append(Get(max(len(b)+n, 2*cap(b))), b...)
}
