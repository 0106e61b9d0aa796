package nom

import (
	"encoding/binary"
	"fmt"
)

// Token names a peering to the end that drew it. Nobody off the path knows one. Zero is no token.
type Token uint64

// Kind says what a Hello is for.
type Kind byte

// The kinds of hello.
const (
	Call    Kind = 1 // in OHAI
	Cookie  Kind = 2 // in OHAI-OK: call again, with this cookie
	Welcome Kind = 3 // in OHAI-OK: the peering exists
	Refusal Kind = 4 // in ROTFL, behind the reason and a zero byte
)

// Features that a peer may have.
const Subscriptions = 1 << 0 // it speaks SUBSCRIBE

// CookieSize is the size of a cookie, in bytes.
const CookieSize = 16

// Hello is the properties in a greeting between extended peers: drivers/udp/NOM.md, section 2.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+-------+-------+-------------------------------+
//	| 4e ('N')      |   1   | kind  | features                      |
//	+---------------+-------+-------+-------------------------------+
//	| token (64 bits), echo (64 bits), cookie (128 bits)            …
//	+---------------------------------------------------------------+
//	| largest message                                               |
//	+---------------+---------------+-------------- … --------------+
//	| socket type   | id length     | routing id                    |
//	+---------------+---------------+-------------- … --------------+
type Hello struct {
	Kind       Kind
	Features   uint16
	Token      Token // the sender's: the other end's datagrams are to carry it
	Echo       Token // the client's token, in answers
	Cookie     [CookieSize]byte
	MaxMessage uint32 // in bytes
	Type       byte   // libzmq's number
	RoutingID  []byte // at most 255 bytes
}

const (
	helloMark    = 'N'
	helloVersion = 1
	helloSize    = 2 + 2 + 8 + 8 + CookieSize + 4 + 1 + 1
)

// Size is the number of bytes that AppendHello adds.
func (h *Hello) Size() int { return helloSize + len(h.RoutingID) }

// AppendHello adds h to a greeting's address and zero byte, or to a refusal's.
func AppendHello(dst []byte, h *Hello) []byte {
	dst = append(dst, helloMark, helloVersion<<4|byte(h.Kind))
	dst = binary.BigEndian.AppendUint16(dst, h.Features)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Token))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Echo))
	dst = append(dst, h.Cookie[:]...)
	dst = binary.BigEndian.AppendUint32(dst, h.MaxMessage)
	dst = append(dst, h.Type, byte(len(h.RoutingID)))
	return append(dst, h.RoutingID...)
}

// ParseHello reads a greeting's properties. Error: ErrHello, which means that the peer is a plain one.
func ParseHello(b []byte) (h Hello, err error) {
	if len(b) < helloSize {
		return h, fmt.Errorf("%w: %d bytes, need %d", ErrHello, len(b), helloSize)
	}
	if b[0] != helloMark || b[1]>>4 != helloVersion {
		return h, fmt.Errorf("%w: begins with % x", ErrHello, b[:2])
	}
	id := int(b[helloSize-1])
	if len(b) < helloSize+id {
		return h, fmt.Errorf("%w: routing id of %d bytes, %d left", ErrHello, id, len(b)-helloSize)
	}
	h = Hello{
		Kind:       Kind(b[1] & 0x0f),
		Features:   binary.BigEndian.Uint16(b[2:]),
		Token:      Token(binary.BigEndian.Uint64(b[4:])),
		Echo:       Token(binary.BigEndian.Uint64(b[12:])),
		Cookie:     [CookieSize]byte(b[20:]),
		MaxMessage: binary.BigEndian.Uint32(b[36:]),
		Type:       b[40],
		RoutingID:  b[helloSize : helloSize+id : helloSize+id],
	}
	return h, nil
}
