package zmtp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
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

// Metadata are the properties that this end tells.
type Metadata []Property

// Properties are those that a peer has told, encoded as they came: there may be many peers, and a value of one byte is not to
// cost a hundred.
type Properties []byte

// maxProperties bounds what one end tells: libzmq tells two, and what an application adds are a few.
const maxProperties = 64

// The properties that the protocol itself defines.
const (
	socketTypeProperty = "Socket-Type"
	identityProperty   = "Identity"
)

// Get returns the value of the first property of that name; ok: there is one. It is memory of p's.
func (p Properties) Get(name string) (value []byte, ok bool) {
	for n, value := range p.All() {
		if len(n) == len(name) && strings.EqualFold(string(n), name) {
			return value, true
		}
	}
	return nil, false
}

// All yields the properties, in memory of p's.
func (p Properties) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for len(p) > 0 {
			name, rest := p[1:1+int(p[0])], p[1+int(p[0]):]
			end := 4 + int(binary.BigEndian.Uint32(rest))
			if !yield(name, rest[4:end:end]) {
				return
			}
			p = rest[end:]
		}
	}
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

// ParseMetadata checks encoded properties, and copies them. Errors: ErrProtocol.
func ParseMetadata(encoded []byte) (Properties, error) {
	b := encoded
	for count := 0; len(b) > 0; count++ {
		if count == maxProperties {
			return nil, fmt.Errorf("%w: metadata of more than %d properties", ErrProtocol, maxProperties)
		}
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
		b = b[size:]
	}
	return bytes.Clone(encoded), nil
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
