package arena

/*
#cgo noescape vtxa_take
#cgo nocallback vtxa_take
#cgo noescape vtxa_grow
#cgo nocallback vtxa_grow
#cgo nocallback vtxa_give
#include "block.h"
*/
import "C"

import (
	"fmt"
	"syscall"
	"unsafe"
)

// Block is memory of C's, which may be refused, while Go's heap ends the process where it cannot grow. Whatever a peer can
// make larger than heapMost is in one. It has one owner, who frees it: the garbage collector does not. The zero value has
// no room.
type Block struct {
	memory unsafe.Pointer
	room   int
}

// Take makes a block with room for at least n bytes, whose content is anything. The system gives that memory as it is
// written to. Errors: ENOMEM.
func Take(n int) (Block, error) {
	var room C.size_t
	memory := C.vtxa_take(C.size_t(n), &room)
	if memory == nil {
		return Block{}, refused(n)
	}
	return Block{memory, int(room)}, nil
}

// Bytes are all of the block.
func (b Block) Bytes() []byte { return unsafe.Slice((*byte)(b.memory), b.room) }

// Grow makes room for n bytes; the first used ones stay. Errors: ENOMEM, and the block is as it was.
func (b *Block) Grow(used, n int) error {
	var room C.size_t
	memory := C.vtxa_grow(b.memory, C.size_t(used), C.size_t(n), &room)
	if memory == nil {
		return refused(n)
	}
	*b = Block{memory, int(room)}
	return nil
}

// Free gives the block back. Idempotent.
func (b *Block) Free() {
	if b.memory != nil {
		C.vtxa_give(b.memory)
		*b = Block{}
	}
}

// Yield leaves the block to C, which gives it back with the function in Freed.
func (b *Block) Yield() unsafe.Pointer {
	memory := b.memory
	*b = Block{}
	return memory
}

// Freed is a zmq_free_fn that gives back the block that is its hint.
func Freed() unsafe.Pointer { return unsafe.Pointer(C.vtxa_freed) }

// Claim asks whether others may take n bytes more on account of a peer, where they do not ask for themselves: libzmq, Go's
// heap. Errors: ENOMEM.
func Claim(n int) error {
	if C.vtxa_claim(C.size_t(n)) == 0 {
		return refused(n)
	}
	return nil
}

func refused(n int) error { return fmt.Errorf("%d bytes: %w", n, syscall.ENOMEM) }

// Kept is how many bytes of given back blocks wait for the next ones, in this process.
func Kept() int { return int(C.vtxa_kept()) }

// MostKept bounds that.
const MostKept = C.VTXA_SPARE_MOST

// Taken is how many bytes are in blocks, in this process.
func Taken() int { return int(C.vtxa_taken()) }
