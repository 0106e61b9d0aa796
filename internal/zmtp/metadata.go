package zmtp

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/libvtx/libvtx/internal/printable"
)

// Property is one property of a connection (RFC 23, metadata): a name of letters, digits, - _ . +, which is
// compared without regard to case, and a value.
//
//	+-------------+------ … ------+----------------+------ … ------+
//	| name length | name          | value length   | value         |
//	| 1 byte, > 0 |               | 4 B, < 2^31    |               |
//	+-------------+------ … ------+----------------+------ … ------+
type Property struct {
	Name  string
	Value []byte
}

// Metadata are the properties of one end.
type Metadata []Property

// The properties that the protocol itself defines.
const (
	socketTypeProperty = "Socket-Type"
	identityProperty   = "Identity"
)

// Get returns the value of the first property of that name; nil if there is none.
func (m Metadata) Get(name string) []byte {
	for _, p := range m {
		if strings.EqualFold(p.Name, name) {
			return p.Value
		}
	}
	return nil
}

// Append appends the encoded properties. Errors: a name or a value that cannot be encoded.
func (m Metadata) Append(dst []byte) ([]byte, error) {
	for _, p := range m {
		if !validName(p.Name) {
			return dst, fmt.Errorf("metadata: %s is no name of a property", printable.Quote(p.Name))
		}
		if uint64(len(p.Value)) >= 1<<31 {
			return dst, fmt.Errorf("metadata: value of %d bytes for %s", len(p.Value), p.Name)
		}
		dst = append(append(dst, byte(len(p.Name))), p.Name...)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(p.Value)))
		dst = append(dst, p.Value...)
	}
	return dst, nil
}

// ParseMetadata reads encoded properties, which it copies. Errors: ErrProtocol.
func ParseMetadata(b []byte) (Metadata, error) {
	var m Metadata
	for len(b) > 0 {
		n := int(b[0])
		if len(b) < 1+n+4 {
			return nil, fmt.Errorf("%w: metadata ends within a property: %d bytes, need %d", ErrProtocol, len(b), 1+n+4)
		}
		name := string(b[1 : 1+n])
		if !validName(name) {
			return nil, fmt.Errorf("%w: metadata: %s is no name of a property", ErrProtocol, printable.Quote(name))
		}
		size := binary.BigEndian.Uint32(b[1+n:])
		b = b[1+n+4:]
		if uint64(size) > uint64(len(b)) {
			return nil, fmt.Errorf("%w: metadata: value of %d bytes for %s, %d are there", ErrProtocol, size, printable.Quote(name), len(b))
		}
		m = append(m, Property{name, append([]byte{}, b[:size]...)})
		b = b[size:]
	}
	return m, nil
}

// validName says whether name is one to 255 of the characters that RFC 23 allows.
func validName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == '+':
		default:
			return false
		}
	}
	return 0 < len(name) && len(name) <= 0xFF
}
