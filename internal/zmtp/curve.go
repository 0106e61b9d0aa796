package zmtp

import (
	"crypto/rand"
	"fmt"

	"golang.org/x/crypto/curve25519"
	"golang.org/x/crypto/nacl/box"
)

// The CURVE mechanism (RFC 26, CurveZMQ). C and S are the ends' long-term keys, C' and S' made for one connection; in
// lower case the secret halves. Box[X](A->B) is a NaCl box of X, made with a and B.
//
//	client    HELLO     version, zeros, C', nonce, Box[64 zeros](C'->S) ───────────►
//	          ◄────────────────── WELCOME   nonce, Box[S', cookie](S->C')    server
//	          INITIATE  cookie, nonce, Box[C, vouch, metadata](C'->S') ────────────►
//	          ◄──────────────────────── READY   nonce, Box[metadata](S'->C')
//	then both MESSAGE   nonce, Box[flags, body](C'->S' or S'->C')
//
//	cookie    nonce, SecretBox[C', s'](a key of the server's own)
//	vouch     nonce, Box[C', S](C->S'): the client's long-term key vouches for the short one
//
// Nonces are 24 bytes. Eight of them travel where an end counts its boxes, behind 16 bytes that say what the box is
// for; sixteen, random, where a long-term key is used, behind 8 bytes.
const (
	keySize      = 32
	shortNonce   = 8
	longNonce    = 16
	helloZeros   = 72 // HELLO is longer than WELCOME, so that a server is no amplifier
	signedZeros  = 64
	cookieSize   = longNonce + box.Overhead + 2*keySize
	vouchSize    = longNonce + box.Overhead + 2*keySize
	helloSize    = 2 + helloZeros + keySize + shortNonce + box.Overhead + signedZeros
	welcomeSize  = longNonce + box.Overhead + keySize + cookieSize
	initiateSize = cookieSize + shortNonce + box.Overhead + keySize + vouchSize // and the metadata
	readySize    = shortNonce + box.Overhead                                    // and the metadata
)

// key copies one of the application's keys.
func key(name string, b []byte) (*[keySize]byte, error) {
	if len(b) != keySize {
		return nil, fmt.Errorf("CURVE: the %s key has %d bytes, not %d", name, len(b), keySize)
	}
	return (*[keySize]byte)(append([]byte(nil), b...)), nil
}

// public computes the public half of a key.
func public(secret *[keySize]byte) *[keySize]byte {
	var p [keySize]byte
	curve25519.ScalarBaseMult(&p, secret)
	return &p
}

// nonce puts a nonce together.
func nonce(prefix string, rest []byte) *[24]byte {
	var n [24]byte
	if copy(n[copy(n[:], prefix):], rest); len(prefix)+len(rest) != len(n) {
		panic("zmtp: a nonce has 24 bytes")
	}
	return &n
}

// randomKey makes a secret key.
func randomKey() *[keySize]byte {
	k := new([keySize]byte)
	rand.Read(k[:]) // never fails
	return k
}

// randomNonce makes the part of a nonce that travels with a box under a long-term key.
func randomNonce() []byte {
	b := make([]byte, longNonce)
	rand.Read(b) // never fails
	return b
}

// noBox is the error for a box that does not open.
func noBox(command, what string) error {
	return fmt.Errorf("%w: %s in %s does not open", ErrSecurity, what, command)
}

// reader takes a command's data apart, whose size has been checked.
type reader []byte

func (r *reader) take(n int) []byte {
	b := (*r)[:n:n]
	*r = (*r)[n:]
	return b
}

func (r *reader) key() *[keySize]byte {
	return (*[keySize]byte)(append([]byte(nil), r.take(keySize)...))
}
