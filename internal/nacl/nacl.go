// Package nacl is the public-key authenticated encryption of NaCl (crypto_box: X25519, XSalsa20, Poly1305), which CURVE is
// made of, by libsodium, which libzmq uses, too.
package nacl

/*
#cgo pkg-config: libsodium
#cgo noescape vtxn_seal
#cgo nocallback vtxn_seal
#cgo noescape vtxn_open
#cgo nocallback vtxn_open
#cgo noescape vtxn_seal_all
#cgo nocallback vtxn_seal_all
#cgo noescape vtxn_open_all
#cgo nocallback vtxn_open_all
#include <sodium.h>
#include "box.h"
*/
import "C"

import (
	"slices"
	"unsafe"
)

// Sizes in bytes. A box is Overhead longer than what is in it. A nonce is a prefix and a counter.
const (
	KeySize     = C.crypto_box_BEFORENMBYTES
	Overhead    = C.crypto_box_MACBYTES
	PrefixSize  = C.crypto_core_hsalsa20_INPUTBYTES
	CounterSize = C.crypto_stream_salsa20_NONCEBYTES
	NonceSize   = PrefixSize + CounterSize
	HeadSize    = C.VTXN_HEAD
)

// A Key is a public or secret key, or what Share makes of one of each.
type Key [KeySize]byte

func init() {
	// Any number of times, from any thread. Without it the library does all with plain instructions.
	if C.sodium_init() < 0 {
		panic("nacl: the system has no random numbers")
	}
}

// Public is the public half of a secret key.
func Public(secret *Key) *Key {
	p := new(Key)
	C.crypto_scalarmult_base(p.c(), secret.c())
	return p
}

// Share makes the key for boxes between the ends that have secret and peer's secret half. false: peer is no public key of
// anybody's, but one of the few by which everybody would have the same key.
func Share(peer, secret *Key) (*Key, bool) {
	shared := new(Key)
	return shared, C.crypto_box_beforenm(shared.c(), peer.c(), secret.c()) == 0
}

func (k *Key) c() *C.uchar { return (*C.uchar)(&k[0]) }

// Boxes are the boxes under one shared key whose nonces have the same prefix. XSalsa20 makes a key of these two; that is
// done once, where libraries do it for each box.
type Boxes struct{ key Key }

// NewBoxes is for a key that Share made, or a random one for what comes back to whom it came from (crypto_secretbox).
func NewBoxes(shared *Key, prefix *[PrefixSize]byte) *Boxes {
	b := new(Boxes)
	C.crypto_core_hsalsa20(b.key.c(), (*C.uchar)(&prefix[0]), shared.c(), nil)
	return b
}

// Seal appends to dst a box with head, of at most HeadSize bytes, and body in it, which are in other memory than dst. There
// must not be another box under the same key and nonce.
func (b *Boxes) Seal(dst, head, body []byte, counter *[CounterSize]byte) []byte {
	at, size := len(dst), Overhead+len(head)+len(body)
	dst = slices.Grow(dst, size)[:at+size]
	C.vtxn_seal(bytes(dst[at:]), bytes(head), C.size_t(len(head)), bytes(body), C.size_t(len(body)), (*C.uchar)(&counter[0]), b.key.c())
	return dst
}

// Open fills head, of at most HeadSize bytes, with the first of what is in a box, which is in other memory, and appends the
// rest to dst. false: there is less in it, or it was sealed with another key or nonce, or changed on its way; then both
// are as they were.
func (b *Boxes) Open(dst, head, box []byte, counter *[CounterSize]byte) ([]byte, bool) {
	size := len(box) - Overhead - len(head)
	if size < 0 {
		return dst, false
	}
	out := slices.Grow(dst, size)[:len(dst)+size]
	if C.vtxn_open(bytes(head), C.size_t(len(head)), bytes(out[len(dst):]), C.size_t(size), bytes(box), (*C.uchar)(&counter[0]), b.key.c()) != 0 {
		return dst, false
	}
	return out, true
}

// OpenInPlace is Open for a box whose body is to stay where it is: the end of the box.
func (b *Boxes) OpenInPlace(head, box []byte, counter *[CounterSize]byte) (body []byte, ok bool) {
	if len(box) < Overhead+len(head) {
		return nil, false
	}
	body = box[Overhead+len(head):]
	return body, C.vtxn_open(bytes(head), C.size_t(len(head)), bytes(body), C.size_t(len(body)), bytes(box), (*C.uchar)(&counter[0]), b.key.c()) == 0
}

// A Box is one of many that are sealed or opened in one call, which costs less than a call for each. Its head is one byte.
type Box struct {
	Plain, Sealed uintptr // where its body and the box begin, in bytes from the beginning of all bodies and all boxes
	Size          uintptr // of the body
	Counter       [CounterSize]byte
	Head          byte
}

// A Box is C's.
var _, _ = [unsafe.Sizeof(Box{}) - C.sizeof_vtxn_box_t]int{}, [C.sizeof_vtxn_box_t - unsafe.Sizeof(Box{})]int{}

// SealAll is Seal for many boxes, whose places in sealed are there.
func (b *Boxes) SealAll(sealed, plain []byte, boxes []Box) {
	C.vtxn_seal_all(bytes(sealed), bytes(plain), many(boxes), C.size_t(len(boxes)), b.key.c())
}

// OpenAll is Open for many boxes, whose bodies' places in plain are there, up to the first that is none; it returns how many.
func (b *Boxes) OpenAll(plain, sealed []byte, boxes []Box) (opened int) {
	return int(C.vtxn_open_all(bytes(plain), bytes(sealed), many(boxes), C.size_t(len(boxes)), b.key.c()))
}

func many(boxes []Box) *C.vtxn_box_t { return (*C.vtxn_box_t)(unsafe.Pointer(unsafe.SliceData(boxes))) }

// Seal is for a single box: see [Boxes.Seal].
func Seal(dst, plain []byte, nonce *[NonceSize]byte, shared *Key) []byte {
	return NewBoxes(shared, (*[PrefixSize]byte)(nonce[:])).Seal(dst, nil, plain, (*[CounterSize]byte)(nonce[PrefixSize:]))
}

// Open is for a single box: see [Boxes.Open].
func Open(dst, box []byte, nonce *[NonceSize]byte, shared *Key) ([]byte, bool) {
	return NewBoxes(shared, (*[PrefixSize]byte)(nonce[:])).Open(dst, nil, box, (*[CounterSize]byte)(nonce[PrefixSize:]))
}

func bytes(b []byte) *C.uchar { return (*C.uchar)(unsafe.SliceData(b)) }
