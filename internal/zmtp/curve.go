package zmtp

import (
	"crypto/rand"
	"fmt"

	"github.com/libvtx/libvtx/internal/nacl"
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
	keySize      = nacl.KeySize
	shortNonce   = nacl.CounterSize
	longNonce    = 16
	helloZeros   = 72 // HELLO is longer than WELCOME, so that a server is no amplifier
	signedZeros  = 64
	cookieSize   = longNonce + nacl.Overhead + 2*keySize
	vouchSize    = longNonce + nacl.Overhead + 2*keySize
	helloSize    = 2 + helloZeros + keySize + shortNonce + nacl.Overhead + signedZeros
	welcomeSize  = longNonce + nacl.Overhead + keySize + cookieSize
	initiateSize = cookieSize + shortNonce + nacl.Overhead + keySize + vouchSize // and the metadata
	readySize    = shortNonce + nacl.Overhead                                    // and the metadata
)

// key copies one of the application's keys.
func key(name string, b []byte) (*nacl.Key, error) {
	if len(b) != keySize {
		return nil, fmt.Errorf("CURVE: the %s key has %d bytes, not %d", name, len(b), keySize)
	}
	k := nacl.Key(b)
	return &k, nil
}

// share makes the key for boxes with the end whose public key peer is; whose says which one that is.
func share(whose string, peer, secret *nacl.Key) (*nacl.Key, error) {
	shared, ok := nacl.Share(peer, secret)
	if !ok { // anybody could open these boxes
		return nil, fmt.Errorf("%w: the %s key is of low order", ErrSecurity, whose)
	}
	return shared, nil
}

// nonce puts a nonce together.
func nonce(prefix string, rest []byte) *[nacl.NonceSize]byte {
	var n [nacl.NonceSize]byte
	if copy(n[copy(n[:], prefix):], rest); len(prefix)+len(rest) != len(n) {
		panic("zmtp: a nonce has 24 bytes")
	}
	return &n
}

// randomKey makes a secret key.
func randomKey() *nacl.Key {
	k := new(nacl.Key)
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

func (r *reader) key() *nacl.Key {
	k := nacl.Key(r.take(keySize))
	return &k
}
