// Package nom is the codec of NOM-1, the protocol of the udp driver, and of its extension
// (drivers/udp/NOM.md): datagrams to and from their parts. It has no sockets and no state. What it parses is never copied: the results
// point into the datagram.
package nom

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is the protocol version that this package speaks.
const Version = 1

// MaxDatagram is the largest datagram that every NOM-1 peer accepts, in bytes.
const MaxDatagram = 512

// The sizes of a datagram's header, plain and extended, in bytes.
const (
	HeaderSize   = 2
	ExtendedSize = HeaderSize + 8 + 4
)

// SequenceMask keeps the bits of a number that fit in a header.
const SequenceMask = 0x0f

// Command says what a datagram is for.
type Command byte

// The commands of NOM-1.
const (
	ROTFL  Command = 0 // refusal, or the end of a peering; the body is the reason
	OHAI   Command = 1 // looking for a peer
	OHAIOK Command = 2 // the answer to OHAI: the peering exists
	HUGZ   Command = 3 // are you there?
	HUGZOK Command = 4 // the answer to HUGZ
	NOM    Command = 5 // one message; extended: one or more
)

// The commands that only extended datagrams have.
const (
	PART        Command = 6 // some bytes of one message
	SUBSCRIBE   Command = 7 // some bytes of the subscriptions
	SUBSCRIBEOK Command = 8 // the answer
	GONE        Command = 9 // the token is not known here
)

var commandNames = [...]string{"ROTFL", "OHAI", "OHAI-OK", "HUGZ", "HUGZ-OK", "NOM", "PART", "SUBSCRIBE", "SUBSCRIBE-OK", "GONE"}

// String is the command's name.
func (c Command) String() string {
	if int(c) < len(commandNames) {
		return commandNames[c]
	}
	return fmt.Sprintf("command %d", byte(c))
}

// The ways in which a datagram can be wrong.
var (
	ErrShort   = errors.New("nom: datagram too short")
	ErrVersion = errors.New("nom: unknown protocol version")
	ErrCommand = errors.New("nom: unknown command")
	ErrFrame   = errors.New("nom: frame runs past the end of the datagram")
	ErrEmpty   = errors.New("nom: message without a frame")
	ErrHello   = errors.New("nom: not a hello")
)

// Header is the start of every datagram.
//
//	 0                   1
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
//	+-------+-------+-------+-------+
//	|version| flags |command|  seq  |
//	+-------+-------+-------+-------+
//	flags: bit 0 (the lowest) = resend, bit 1 = extended; the others are zero and ignored
//
// An extended one goes on:
//
//	+---------------- … ----------------+---------------- … ----------------+
//	| token (64 bits)                   | number (32 bits)                  |
//	+---------------- … ----------------+---------------- … ----------------+
type Header struct {
	Command  Command
	Sequence byte // 0 to 15; 0 in an extended header
	Resend   bool // a repetition of what was sent before

	Extended bool
	Token    Token  // extended: of the end that the datagram goes to
	Number   uint32 // extended: of a message, or an offset
}

const (
	flagResend   = 1
	flagExtended = 2
)

// AppendHeader adds h to a datagram.
func AppendHeader(dst []byte, h Header) []byte {
	first := byte(Version << 4)
	if h.Resend {
		first |= flagResend
	}
	if !h.Extended {
		return append(dst, first, byte(h.Command)<<4|h.Sequence&SequenceMask)
	}
	dst = append(dst, first|flagExtended, byte(h.Command)<<4)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Token))
	return binary.BigEndian.AppendUint32(dst, h.Number)
}

// TokenOf is the token of an extended datagram; false for a plain or a malformed one.
func TokenOf(datagram []byte) (Token, bool) {
	if len(datagram) < ExtendedSize || datagram[0]&flagExtended == 0 {
		return 0, false
	}
	return Token(binary.BigEndian.Uint64(datagram[HeaderSize:])), true
}

// ParseHeader splits a datagram into its header and its body. Errors: ErrShort,
// ErrVersion, ErrCommand.
func ParseHeader(datagram []byte) (h Header, body []byte, err error) {
	if len(datagram) < HeaderSize {
		return Header{}, nil, fmt.Errorf("%w: %d bytes, need %d", ErrShort, len(datagram), HeaderSize)
	}
	if v := datagram[0] >> 4; v != Version {
		return Header{}, nil, fmt.Errorf("%w: %d, this is %d", ErrVersion, v, Version)
	}
	h = Header{
		Command:  Command(datagram[1] >> 4),
		Resend:   datagram[0]&flagResend != 0,
		Extended: datagram[0]&flagExtended != 0,
	}
	highest, size := NOM, HeaderSize
	if h.Extended {
		if highest, size = GONE, ExtendedSize; len(datagram) < size {
			return Header{}, nil, fmt.Errorf("%w: %d bytes, need %d", ErrShort, len(datagram), size)
		}
		h.Token = Token(binary.BigEndian.Uint64(datagram[HeaderSize:]))
		h.Number = binary.BigEndian.Uint32(datagram[HeaderSize+8:])
	} else {
		h.Sequence = datagram[1] & SequenceMask
	}
	if h.Command > highest || h.Extended && (h.Command == OHAI || h.Command == OHAIOK) {
		return Header{}, nil, fmt.Errorf("%w: %d, the highest is %d", ErrCommand, byte(h.Command), byte(highest))
	}
	return h, datagram[size:], nil
}
