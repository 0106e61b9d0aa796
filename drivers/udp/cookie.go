package udp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
)

// cookiePeriod is how long a cookie is given out; it is good for one period more.
const cookiePeriod = 10 * time.Second

// jar makes the cookies by which clients prove that they receive at their address, and remembers none:
// NOM.md, section 2.
type jar struct{ key [32]byte }

func newJar() *jar {
	j := new(jar)
	rand.Read(j.key[:]) // never fails: it ends the program instead
	return j
}

// bake makes the cookie of a client for the period that now is in.
func (j *jar) bake(client netip.AddrPort, token nom.Token, now int64) (c [nom.CookieSize]byte) {
	var text [8 + 16 + 2 + 8]byte
	binary.BigEndian.PutUint64(text[:], uint64(now/int64(cookiePeriod)))
	ip := client.Addr().As16()
	copy(text[8:], ip[:])
	binary.BigEndian.PutUint16(text[24:], client.Port())
	binary.BigEndian.PutUint64(text[26:], uint64(token))
	mac := hmac.New(sha256.New, j.key[:])
	mac.Write(text[:])
	var sum [sha256.Size]byte
	copy(c[:], mac.Sum(sum[:0]))
	return c
}

// good says whether a cookie is the client's, of this period or the one before.
func (j *jar) good(c [nom.CookieSize]byte, client netip.AddrPort, token nom.Token, now int64) bool {
	if c == [nom.CookieSize]byte{} {
		return false
	}
	for _, at := range []int64{now, now - int64(cookiePeriod)} {
		if want := j.bake(client, token, at); hmac.Equal(c[:], want[:]) {
			return true
		}
	}
	return false
}

// newToken draws a token that is not zero.
func newToken() nom.Token {
	for {
		var b [8]byte
		rand.Read(b[:])
		if t := nom.Token(binary.BigEndian.Uint64(b[:])); t != 0 {
			return t
		}
	}
}
