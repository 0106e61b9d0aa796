package zmtp

import (
	"encoding/binary"
	"fmt"
)

// A frame of ZMTP 3 (RFC 37, framing; RFC 23), which is also the batch form's:
//
//	+-------+-----------------+------ … ------+
//	| flags | size: 1 or 8 B  | body          |
//	+-------+-----------------+------ … ------+
//	flags:  7 6 5 4 3   2         1      0
//	        zero        COMMAND   LONG   MORE
//
// ZMTP 2.0 (RFC 15) has the same frames without COMMAND.
const (
	flagMore    = 1 << 0
	flagLong    = 1 << 1
	flagCommand = 1 << 2
)

// maxFrame is more than any frame that could ever arrive: a length beyond it is not one, but damage. Sums of a few
// such lengths do not overflow.
const maxFrame = min(1<<40, maxInt/4)

const maxInt = int(^uint(0) >> 1)

// slack is what the frame headers of one message may take beyond the message limit: frames without a body are
// memory too.
const slack = 64 << 10

// appendFrame appends a frame; flags without LONG, which follows from the size.
func appendFrame(dst []byte, flags byte, body []byte) []byte {
	return append(appendHead(dst, flags, len(body)), body...)
}

// appendHead appends a frame's flags and size.
func appendHead(dst []byte, flags byte, size int) []byte {
	if size <= 0xFF {
		return append(dst, flags, byte(size))
	}
	return binary.BigEndian.AppendUint64(append(dst, flags|flagLong), uint64(size))
}

// headSize is how many bytes appendHead appends.
func headSize(size int) int {
	if size <= 0xFF {
		return 2
	}
	return largeHead
}

// head reads a frame's header at the front of in: its flags as they stand, its own size and the body's. size 0:
// in is too short, want is what it takes.
func head(in []byte) (flags byte, size, body, want int, err error) {
	if len(in) < 2 {
		return 0, 0, 0, 2, nil
	}
	flags = in[0]
	if flags&flagLong == 0 {
		return flags, 2, int(in[1]), 2, nil
	}
	if len(in) < 9 {
		return flags, 0, 0, 9, nil
	}
	n := binary.BigEndian.Uint64(in[1:])
	if n > uint64(maxFrame) {
		return 0, 0, 0, 9, fmt.Errorf("%w: frame of %d bytes", ErrProtocol, n)
	}
	return flags, 9, int(n), 9, nil
}

// cut takes the first frame off a batch, which is well-formed because it is the engine's own.
func cut(batch []byte) (flags byte, body, rest []byte) {
	flags, size := batch[0], 2
	n := uint64(batch[1])
	if flags&flagLong != 0 {
		size, n = 9, binary.BigEndian.Uint64(batch[1:])
	}
	return flags &^ flagLong, batch[size : size+int(n)], batch[size+int(n):]
}
