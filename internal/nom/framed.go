package nom

import (
	"encoding/binary"
	"fmt"
)

// Extended datagrams carry messages framed as on a ZMTP connection (RFC 23), back to back:
//
//	+-------+-----------------+------ … ------+
//	| flags | size: 1 or 8 B  | body          |   one frame
//	+-------+-----------------+------ … ------+
//	flags: bit 0 more frames follow, bit 1 long (size is 8 bytes)
//
// A size that fits one byte takes one.
const (
	framedMore = 1
	framedLong = 2
	maxShort   = 255
)

// FramedHead is the largest size of what stands before a frame's body, in bytes.
const FramedHead = 9

// CutFramed splits the first frame off. Error: ErrFrame.
func CutFramed(b []byte) (body, rest []byte, more bool, err error) {
	if len(b) < 2 {
		return nil, nil, false, fmt.Errorf("%w: %d bytes", ErrFrame, len(b))
	}
	head, size := 2, uint64(b[1])
	switch b[0] &^ framedMore {
	case 0:
	case framedLong:
		if head = FramedHead; len(b) < head {
			return nil, nil, false, fmt.Errorf("%w: %d bytes, need %d", ErrFrame, len(b), head)
		}
		if size = binary.BigEndian.Uint64(b[1:]); size <= maxShort {
			return nil, nil, false, fmt.Errorf("%w: long form for %d bytes", ErrFrame, size)
		}
	default:
		return nil, nil, false, fmt.Errorf("%w: flags %#x", ErrFrame, b[0])
	}
	if size > uint64(len(b)-head) {
		return nil, nil, false, fmt.Errorf("%w: body of %d bytes, %d left", ErrFrame, size, len(b)-head)
	}
	end := head + int(size)
	return b[head:end:end], b[end:], b[0]&framedMore != 0, nil
}

// CutMessage splits the first whole message off. Error: ErrFrame.
func CutMessage(b []byte) (message, rest []byte, err error) {
	rest = b
	for more := true; more; {
		if _, rest, more, err = CutFramed(rest); err != nil {
			return nil, nil, err
		}
	}
	end := len(b) - len(rest)
	return b[:end:end], rest, nil
}

// FramedSize says how long the message at the start of b is, or at least how long it has to be so that this can
// be said: b may end anywhere. It looks at the frames from offset from on, where one has to begin: 0, or what seen was
// when b was shorter. Error: ErrFrame.
func FramedSize(b []byte, from uint64) (size, seen uint64, err error) {
	for size = from; ; {
		seen = size
		left := b[seen:]
		if len(left) < 2 {
			return seen + 2, seen, nil
		}
		head, n := uint64(2), uint64(left[1])
		switch left[0] &^ framedMore {
		case 0:
		case framedLong:
			if head = FramedHead; len(left) < FramedHead {
				return seen + head, seen, nil
			}
			if n = binary.BigEndian.Uint64(left[1:]); n <= maxShort || n > 1<<62 {
				return 0, 0, fmt.Errorf("%w: long form for %d bytes", ErrFrame, n)
			}
		default:
			return 0, 0, fmt.Errorf("%w: flags %#x", ErrFrame, left[0])
		}
		size += head + n
		if left[0]&framedMore == 0 || size > uint64(len(b)) {
			return size, seen, nil
		}
	}
}
