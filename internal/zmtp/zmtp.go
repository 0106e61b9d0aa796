// Package zmtp speaks the protocol of ZeroMQ's stream transports: ZMTP 3.1 (RFC 37) and, with peers that are
// older, 3.0 (RFC 23), 2.0 (RFC 15) and 1.0 (RFC 13). It works on bytes: Handshake over any stream, and after that
// a Session turns messages into wire bytes and wire bytes into messages, without reading or writing anything itself.
//
// Messages stand in memory in batch form: whole messages one after the other, each frame as ZMTP 3 frames it.
//
//	+-------+-----------------+------ … ------+
//	| flags | size: 1 or 8 B  | body          |
//	+-------+-----------------+------ … ------+
//	flags: bit 0 MORE, bit 1 LONG (size is 8 bytes, big-endian)
package zmtp

import (
	"errors"
	"fmt"

	"github.com/libvtx/libvtx/internal/printable"
)

// Version is what two peers agree on: the lower of what they speak.
type Version struct{ Major, Minor uint8 }

// The versions that this package speaks.
var (
	V1  = Version{1, 0} // RFC 13, and libzmq 2
	V2  = Version{2, 0} // RFC 15, and libzmq 3
	V30 = Version{3, 0} // RFC 23, and libzmq 4.0 to 4.2
	V31 = Version{3, 1} // RFC 37
)

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Config is what this end of a connection says about itself, and demands.
type Config struct {
	// SocketType is this end's, as in READY: "DEALER".
	SocketType string
	// Identity is this end's routing id; empty if it has none.
	Identity []byte
	// Metadata are the application's own properties.
	Metadata Metadata
	// Listening: this end accepted the connection. It holds its last word back until its caller has seen who the
	// peer is (see Session.Final).
	Listening bool
	// Mechanism is the security of this one connection.
	Mechanism Mechanism
	// MaxMessage limits the bodies of one message, summed, in bytes; -1: no limit.
	MaxMessage int64
}

// Errors of a handshake and of what comes after. What a peer did wrong is wrapped in ErrProtocol with the numbers
// that matter; io.EOF, net errors and timeouts of the stream are passed on as they are.
var (
	// ErrProtocol: the bytes are not what the RFC allows.
	ErrProtocol = errors.New("protocol error")
	// ErrMechanism: the two ends want different security.
	ErrMechanism = errors.New("security mechanisms differ")
	// ErrTooBig: a message exceeds Config.MaxMessage.
	ErrTooBig = errors.New("message too big")
	// ErrSecurity: keys, nonces or boxes are not what they should be.
	ErrSecurity = errors.New("security handshake failed")
)

// RefusedError says that the peer answered with an ERROR command. Reason is as it came.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "the peer refused: " + printable.Quote(e.Reason) }

// DeniedError says that this end's authentication turned the peer away (RFC 27). The peer is told Status, unless it
// is to try again later (300), when it is told nothing.
type DeniedError struct {
	Status string // three digits
	Text   string // a sentence; what others have said in it is quoted
}

func (e *DeniedError) Error() string { return "authentication: " + e.Status + " " + e.Text }
