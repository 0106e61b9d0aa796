package nom

import (
	"encoding/binary"
	"fmt"
)

// A message is the body of a NOM datagram: its frames, one after the other, to the end of
// the datagram. There is no count and no "more" flag. Each frame is
//
//	+------------+------ … ------+
//	| length < FE | body          |          0 to 253 bytes
//	+----+--------+--+------ … ---+--+
//	| FE | length: 2 | body          |       to 65,535 bytes
//	+----+-----------+-------+-- … --+--+
//	| FF | length: 4         | body     |   beyond
//	+----+-------------------+-- … -----+
//
// with big-endian lengths. A longer form than needed is accepted, and never sent.
const (
	form2   = 0xfe // two length bytes follow
	form4   = 0xff // four length bytes follow
	maxLen1 = form2 - 1
	maxLen2 = 1<<16 - 1
)

// FrameSize is the number of bytes that a frame with a body of n bytes takes.
func FrameSize(n int) int {
	switch {
	case n <= maxLen1:
		return 1 + n
	case n <= maxLen2:
		return 3 + n
	}
	return 5 + n
}

// AppendFrame adds a frame to a datagram, with the shortest length form.
func AppendFrame(dst, body []byte) []byte {
	switch n := len(body); {
	case n <= maxLen1:
		dst = append(dst, byte(n))
	case n <= maxLen2:
		dst = append(dst, form2)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, form4)
		dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	}
	return append(dst, body...)
}

// CutFrame splits the first frame off a message. Errors: ErrFrame, and ErrEmpty where
// there is nothing left.
func CutFrame(message []byte) (body, rest []byte, err error) {
	if len(message) == 0 {
		return nil, nil, ErrEmpty
	}
	head, n := 1, uint64(message[0])
	switch message[0] {
	case form2:
		head = 3
	case form4:
		head = 5
	}
	if len(message) < head {
		return nil, nil, fmt.Errorf("%w: length of %d bytes, %d left", ErrFrame, head, len(message))
	}
	switch message[0] {
	case form2:
		n = uint64(binary.BigEndian.Uint16(message[1:]))
	case form4:
		n = uint64(binary.BigEndian.Uint32(message[1:]))
	}
	message = message[head:]
	if n > uint64(len(message)) {
		return nil, nil, fmt.Errorf("%w: body of %d bytes, %d left", ErrFrame, n, len(message))
	}
	return message[:n:n], message[n:], nil
}

// AppendFrames adds the bodies of a message's frames to frames. On an error the result is
// what frames was.
func AppendFrames(frames [][]byte, message []byte) ([][]byte, error) {
	if len(message) == 0 {
		return frames, ErrEmpty
	}
	all := frames
	for len(message) > 0 {
		body, rest, err := CutFrame(message)
		if err != nil {
			return frames, err
		}
		all, message = append(all, body), rest
	}
	return all, nil
}
