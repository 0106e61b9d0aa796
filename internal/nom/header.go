// Package nom is the codec of NOM-1, the protocol of the udp driver: datagrams to and from
// their parts. It has no sockets and no state. What it parses is never copied: the results
// point into the datagram.
package nom

import (
	"errors"
	"fmt"
)

// Version is the protocol version that this package speaks.
const Version = 1

// MaxDatagram is the largest datagram that every NOM-1 peer accepts, in bytes.
const MaxDatagram = 512

// HeaderSize is the size of a datagram header, in bytes.
const HeaderSize = 2

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
	NOM    Command = 5 // one message
)

var commandNames = [...]string{"ROTFL", "OHAI", "OHAI-OK", "HUGZ", "HUGZ-OK", "NOM"}

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
)

// Header is the start of every datagram.
//
//	 0                   1
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
//	+-------+-------+-------+-------+
//	|version| flags |command|  seq  |
//	+-------+-------+-------+-------+
//	flags: bit 0 (the lowest) = resend; the others are zero and ignored
type Header struct {
	Command  Command
	Sequence byte // 0 to 15
	Resend   bool // a repetition of what was sent before
}

const flagResend = 1

// AppendHeader adds h to a datagram.
func AppendHeader(dst []byte, h Header) []byte {
	first := byte(Version << 4)
	if h.Resend {
		first |= flagResend
	}
	return append(dst, first, byte(h.Command)<<4|h.Sequence&SequenceMask)
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
		Sequence: datagram[1] & SequenceMask,
		Resend:   datagram[0]&flagResend != 0,
	}
	if h.Command > NOM {
		return Header{}, nil, fmt.Errorf("%w: %d, the highest is %d", ErrCommand, byte(h.Command), byte(NOM))
	}
	return h, datagram[HeaderSize:], nil
}
