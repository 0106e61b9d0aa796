package zmtp

import (
	"encoding/binary"
	"fmt"
)

// A frame of ZMTP 1.0 (RFC 13, framing). The length counts the flags, too:
//
//	+----------------------+-------+------ … ------+
//	| length: 1 B, or      | flags | body          |
//	| FF and 8 B           |       |               |
//	+----------------------+-------+------ … ------+
//	flags: bit 0 MORE, the others zero

// appendHeadV1 appends a frame's length and flags.
func appendHeadV1(dst []byte, flags byte, size int) []byte {
	if size+1 < 0xFF {
		return append(dst, byte(size+1), flags)
	}
	return append(binary.BigEndian.AppendUint64(append(dst, 0xFF), uint64(size)+1), flags)
}

func appendFrameV1(dst []byte, flags byte, body []byte) []byte {
	return append(appendHeadV1(dst, flags, len(body)), body...)
}

// headV1 reads a frame's header at the front of in, as head does.
func headV1(in []byte) (flags byte, size, body, want int, err error) {
	if len(in) < 1 {
		return 0, 0, 0, 2, nil
	}
	n := uint64(in[0])
	size = 2
	if n == 0xFF {
		size = 10
		if len(in) < 9 {
			return 0, 0, 0, size, nil
		}
		n = binary.BigEndian.Uint64(in[1:])
	}
	if n == 0 || n-1 > uint64(maxFrame) {
		return 0, 0, 0, size, fmt.Errorf("%w: frame with length %d", ErrProtocol, n)
	}
	if len(in) < size {
		return 0, 0, int(n - 1), size, nil
	}
	return in[size-1], size, int(n - 1), size, nil
}
