package udp

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/nom"
)

// Parts of several copies, cut in different places, in any order and more than once, make the message.
func TestPartsMakeTheMessage(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	before := held.Load()
	for range 300 {
		message := make([]byte, 1+chance.IntN(20_000))
		for i := range message {
			message[i] = byte(chance.Uint32())
		}
		var parts []nom.Part
		for range 3 {
			for at := 0; at < len(message); {
				n := min(1+chance.IntN(3000), len(message)-at)
				parts = append(parts, nom.Part{Offset: uint32(at), Total: uint32(len(message)), Bytes: message[at : at+n]})
				at += n
			}
		}
		chance.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		z := puzzle{limit: 40_000}
		var got []byte
		for _, p := range parts {
			if got, _ = z.add(7, p, 0); got != nil {
				break
			}
		}
		if !bytes.Equal(got, message) || z.taken != 0 || len(z.started) != 0 {
			t.Fatalf("%d bytes of %d, %d still reckoned", len(got), len(message), z.taken)
		}
	}
	if held.Load() != before {
		t.Errorf("%d bytes held, %d before", held.Load(), before)
	}
}

// A hostile peer can have as much memory as the limits say, and that until the time is up; others go on.
func TestIncompleteMessagesAreBounded(t *testing.T) {
	before := held.Load()
	const limit = 1 << 20
	var peers []*puzzle
	piece := make([]byte, 8<<10)
	for range 100 { // each would hold 2 MiB and more: together more than all may
		z := &puzzle{limit: limit}
		peers = append(peers, z)
		for i := range uint32(1000) {
			z.add(i/8, nom.Part{Offset: i % 8 * uint32(len(piece)), Total: limit, Bytes: piece}, 0)
			if len(z.started) > maxIncomplete || z.taken > 2*limit+partOverhead*maxIncomplete {
				t.Fatalf("%d messages, %d bytes", len(z.started), z.taken)
			}
		}
	}
	if h := held.Load(); h > maxHeld || h < maxHeld-1<<20 {
		t.Errorf("%d bytes held of %d", h, maxHeld)
	}
	for i := range uint32(100_000) { // the smallest parts there are, as many of each message as are kept
		peers[0].add(5000+i/4000, nom.Part{Offset: 2 * (i % 4000), Total: limit, Bytes: piece[:1]}, 0)
	}
	if peers[0].taken > 2*limit+partOverhead*maxIncomplete {
		t.Errorf("%d bytes reckoned", peers[0].taken)
	}
	for _, z := range peers {
		z.expire(0)
		if z.taken != 0 || len(z.started) != 0 {
			t.Fatalf("%d bytes of %d messages left", z.taken, len(z.started))
		}
	}
	if held.Load() != before {
		t.Errorf("%d bytes held, %d before", held.Load(), before)
	}
}

// Very small pieces of a message would take very long to put in order: they are few, and one part replaces all that it covers.
func TestThePiecesOfAMessageAreFew(t *testing.T) {
	const total = 1 << 20
	message := make([]byte, total)
	for i := range message {
		message[i] = byte(i ^ i>>8)
	}
	piece := func(at, n int) nom.Part {
		return nom.Part{Offset: uint32(at), Total: total, Bytes: message[at:min(at+n, total)]}
	}
	for _, backwards := range []bool{false, true} {
		z := puzzle{limit: total}
		const most, more = total/256 + 64, 1000
		for i := range most + more {
			if backwards {
				i = most + more - 1 - i
			}
			z.add(1, piece(2*i+1, 1), 0)
		}
		m := z.started[0]
		if len(m.parts) != most || z.taken != most*(1+partOverhead) {
			t.Errorf("%d pieces, %d bytes reckoned", len(m.parts), z.taken)
		}
		const covered = 1000
		z.add(1, piece(int(m.parts[100].Offset)-1, 2*covered), 0)
		have, pieces := most+covered, most-covered+1
		if int(m.have) != have || len(m.parts) != pieces || z.taken != have+pieces*partOverhead {
			t.Errorf("%d bytes in %d pieces, %d reckoned", m.have, len(m.parts), z.taken)
		}
		var got []byte
		for at := 0; at < total && got == nil; at += 1000 {
			got, _ = z.add(1, piece(at, 1000), 0)
		}
		if !bytes.Equal(got, message) || z.taken != 0 {
			t.Errorf("%d bytes in the end, %d still reckoned", len(got), z.taken)
		}
		z.expire(0)
	}
	// The smallest datagrams, of which every second one is lost, and a copy that was cut half a datagram later: as many
	// pieces as two copies make.
	z := puzzle{limit: total}
	const size = 526
	for at := 0; at < total; at += 2 * size {
		z.add(1, piece(at, size), 0)
	}
	got, _ := z.add(1, piece(0, size/2), 0)
	for at := size / 2; at < total && got == nil; at += size {
		got, _ = z.add(1, piece(at, size), 0)
	}
	if !bytes.Equal(got, message) {
		t.Errorf("%d bytes of two copies", len(got))
	}
	z.expire(0)
}

// The word of a total takes no memory.
func TestATotalTakesNoMemory(t *testing.T) {
	z := puzzle{limit: 1 << 30}
	z.add(1, nom.Part{Offset: 1 << 29, Total: 1 << 30, Bytes: []byte("x")}, int64(time.Second))
	if z.taken > 1+partOverhead || cap(z.started[0].parts) > 16 {
		t.Errorf("%d bytes", z.taken)
	}
	if m, _ := z.add(1, nom.Part{Total: 5, Bytes: []byte("hello")}, 0); m != nil {
		t.Error("a part with another total was taken")
	}
	z.expire(int64(time.Second))
}

func FuzzParts(f *testing.F) {
	f.Add([]byte{0, 4, 2, 4, 0, 4})
	f.Fuzz(func(t *testing.T, script []byte) {
		message := []byte("0123456789abcdefghijklmnopqrstuvwxyz")
		z := puzzle{limit: 100}
		defer z.expire(0)
		for len(script) >= 2 {
			at, n := int(script[0])%len(message), int(script[1])
			script = script[2:]
			n = 1 + n%(len(message)-at)
			m, _ := z.add(1, nom.Part{Offset: uint32(at), Total: uint32(len(message)), Bytes: message[at : at+n]}, 0)
			if m != nil && !bytes.Equal(m, message) {
				t.Fatalf("%q", m)
			}
		}
	})
}
