package nom

import (
	"encoding/binary"
	"fmt"
)

// PartHeadSize is the size of what stands before the bytes of a PART, in bytes.
const PartHeadSize = 8

// Part is the body of a PART: some bytes of one message's framed form.
//
//	+--------+--------+------ … ------+
//	| offset | total  | bytes         |
//	+--------+--------+------ … ------+
//	 32 bits  32 bits
type Part struct {
	Offset, Total uint32
	Bytes         []byte
}

// AppendPart adds p to a datagram.
func AppendPart(dst []byte, p Part) []byte {
	dst = binary.BigEndian.AppendUint32(dst, p.Offset)
	dst = binary.BigEndian.AppendUint32(dst, p.Total)
	return append(dst, p.Bytes...)
}

// ParsePart reads the body of a PART. Errors: ErrShort; ErrFrame where it runs past its total, or has no bytes.
func ParsePart(body []byte) (p Part, err error) {
	if len(body) < PartHeadSize {
		return p, fmt.Errorf("%w: %d bytes of a part, need %d", ErrShort, len(body), PartHeadSize)
	}
	p = Part{
		Offset: binary.BigEndian.Uint32(body),
		Total:  binary.BigEndian.Uint32(body[4:]),
		Bytes:  body[PartHeadSize:],
	}
	if n := uint64(len(p.Bytes)); n == 0 || uint64(p.Offset)+n > uint64(p.Total) {
		return Part{}, fmt.Errorf("%w: part of %d bytes at %d of %d", ErrFrame, n, p.Offset, p.Total)
	}
	return p, nil
}
