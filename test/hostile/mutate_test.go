package hostile

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
)

// mutant is an attacker's connection: what is written to it arrives changed, in other pieces, or not at all.
type mutant struct {
	net.Conn
	chance  *rand.Rand
	changed int    // which write is changed; negative: none
	ops     int    // by how many changes
	left    int    // bytes until it ends
	dribble bool   // in small pieces
	held    []byte // is written behind the next
	writes  int
	sent    []byte // for the record
}

func newMutant(conn net.Conn, chance *rand.Rand) *mutant {
	m := &mutant{Conn: conn, chance: chance, changed: chance.IntN(7) - 1, ops: 1 + chance.IntN(3), left: 1 << 30}
	if chance.IntN(4) == 0 {
		m.left = chance.IntN(400)
	}
	m.dribble = chance.IntN(10) == 0
	return m
}

func (m *mutant) Write(p []byte) (int, error) {
	b := slices.Clone(p)
	if m.writes == m.changed {
		for range m.ops {
			b = mutate(m.chance, b)
		}
		if m.chance.IntN(8) == 0 { // reordered
			m.held, b = b, nil
		}
	} else if m.held != nil {
		b, m.held = append(b, m.held...), nil
	}
	m.writes++
	cut := len(b) > m.left
	b = b[:min(len(b), m.left)]
	m.left -= len(b)
	m.sent = append(m.sent, b[:min(len(b), max(0, inputShown-len(m.sent)))]...)
	if err := m.put(b); err != nil {
		return 0, err
	}
	if cut {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func (m *mutant) put(b []byte) error {
	for i := 0; m.dribble && len(b) > 1 && i < 40; i++ {
		n := 1 + m.chance.IntN(min(len(b)-1, 9))
		if _, err := m.Conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
		runtime.Gosched()
	}
	if len(b) == 0 {
		return nil
	}
	_, err := m.Conn.Write(b)
	return err
}

// odd are numbers at which programs err.
var odd = []uint64{0, 1, 0x7f, 0x80, 0xfe, 0xff, 0x100, 0x7fff, 0xffff, 0x10000, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1 << 40, 1<<62 + 1, 1<<63 - 1, 1 << 63, 1<<64 - 1}

// mutate changes some bytes, or their order.
func mutate(chance *rand.Rand, b []byte) []byte {
	if len(b) == 0 {
		return []byte{byte(chance.Uint32())}
	}
	at := chance.IntN(len(b))
	some := min(len(b)-at, 1+chance.IntN(40))
	switch chance.IntN(10) {
	case 0: // one bit
		b[at] ^= 1 << chance.IntN(8)
	case 1: // one byte
		b[at] = byte(chance.Uint32())
	case 2: // many
		for range 1 + len(b)/8 {
			b[chance.IntN(len(b))] = byte(chance.Uint32())
		}
	case 3: // cut off
		b = b[:at]
	case 4: // cut out
		b = slices.Delete(b, at, at+some)
	case 5: // doubled
		b = slices.Insert(b, at, slices.Clone(b[at:at+some])...)
	case 6: // put elsewhere
		piece := slices.Clone(b[at : at+some])
		b = slices.Delete(b, at, at+some)
		b = slices.Insert(b, chance.IntN(len(b)+1), piece...)
	case 7: // rubbish added
		piece := make([]byte, some)
		for i := range piece {
			piece[i] = byte(chance.Uint32())
		}
		b = slices.Insert(b, at, piece...)
	case 8: // all of it again
		b = append(b, b...)
	case 9: // a lie where a length may stand
		lie := binary.BigEndian.AppendUint64(nil, odd[chance.IntN(len(odd))])
		lie = lie[8-[]int{1, 2, 4, 8}[chance.IntN(4)]:]
		copy(b[at:], lie)
	}
	return b
}
