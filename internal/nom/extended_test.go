package nom

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestExtendedHeaders(t *testing.T) {
	for _, v := range []struct {
		hex    string
		header Header
		body   string
	}{
		{"12 50 0102030405060708 0000002a 00 01 41", Header{Command: NOM, Extended: true, Token: 0x0102030405060708, Number: 42}, "\x00\x01A"},
		{"13 60 ffffffffffffffff ffffffff", Header{Command: PART, Resend: true, Extended: true, Token: math.MaxUint64, Number: math.MaxUint32}, ""},
		{"12 90 0000000000000001 00000000", Header{Command: GONE, Extended: true, Token: 1}, ""},
	} {
		b := unhex(t, v.hex)
		h, body, err := ParseHeader(b)
		if err != nil || h != v.header || string(body) != v.body {
			t.Errorf("%s: %+v %q %v", v.hex, h, body, err)
		}
		if again := append(AppendHeader(nil, h), body...); !bytes.Equal(again, b) {
			t.Errorf("%s: written as % x", v.hex, again)
		}
	}
	for _, v := range []struct {
		hex string
		err error
	}{
		{"12 50", ErrShort},
		{"12 50 0102030405060708 000000", ErrShort},
		{"12 a0 0102030405060708 00000000", ErrCommand},
		{"12 10 0102030405060708 00000000", ErrCommand},
		{"12 20 0102030405060708 00000000", ErrCommand},
		{"10 60", ErrCommand}, // not in a plain datagram
	} {
		if _, _, err := ParseHeader(unhex(t, v.hex)); !errors.Is(err, v.err) {
			t.Errorf("%s: %v, want %v", v.hex, err, v.err)
		}
	}
}

// The hello of NOM.md, byte by byte.
const helloVector = "4e 11 0001 0102030405060708 1112131415161718 202122232425262728292a2b2c2d2e2f 00100000 05 03 616263"

var hello = Hello{
	Kind: Call, Features: Subscriptions, Token: 0x0102030405060708, Echo: 0x1112131415161718,
	Cookie:     [16]byte{0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f},
	MaxMessage: 1 << 20, Type: 5, RoutingID: []byte("abc"),
}

func TestHello(t *testing.T) {
	wire := unhex(t, helloVector)
	if b := AppendHello(nil, &hello); !bytes.Equal(b, wire) || hello.Size() != len(wire) {
		t.Errorf("written as % x", b)
	}
	for _, b := range [][]byte{wire, append(wire[:len(wire):len(wire)], 0, 0, 7)} { // what follows is ignored
		h, err := ParseHello(b)
		if err != nil || h.Kind != Call || h.Token != hello.Token || h.Echo != hello.Echo || h.Cookie != hello.Cookie ||
			h.MaxMessage != hello.MaxMessage || h.Type != 5 || string(h.RoutingID) != "abc" || h.Features != 1 {
			t.Errorf("%+v %v", h, err)
		}
	}
	for n := range wire {
		if _, err := ParseHello(wire[:n]); !errors.Is(err, ErrHello) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for _, other := range []string{"props", strings.Repeat("\x00", 100), "\x4e\x21" + strings.Repeat("\x00", 100)} {
		if _, err := ParseHello([]byte(other)); !errors.Is(err, ErrHello) {
			t.Errorf("%q: %v", other, err)
		}
	}
}

func TestParts(t *testing.T) {
	b := AppendPart(nil, Part{Offset: 7, Total: 10, Bytes: []byte("abc")})
	if !bytes.Equal(b, unhex(t, "00000007 0000000a 616263")) {
		t.Errorf("% x", b)
	}
	if p, err := ParsePart(b); err != nil || p.Offset != 7 || p.Total != 10 || string(p.Bytes) != "abc" {
		t.Errorf("%+v %v", p, err)
	}
	for _, bad := range []string{"", "00000007 0000000a", "00000008 0000000a 616263", "ffffffff 00000001 61", "00000000 00000000 61"} {
		if p, err := ParsePart(unhex(t, bad)); err == nil {
			t.Errorf("%s: %+v", bad, p)
		}
	}
}

func TestFramedMessages(t *testing.T) {
	long := append(unhex(t, "02 0000000000000100"), make([]byte, 256)...)
	all := append(unhex(t, "01 01 41 01 00 00 01 42"), long...)
	all = append(all, unhex(t, "00 00")...)
	var sizes []int
	for rest := all; len(rest) > 0; {
		if n, _, err := FramedSize(rest, 0); err != nil || n > uint64(len(rest)) {
			t.Fatalf("%d %v", n, err)
		}
		m, next, err := CutMessage(rest)
		if err != nil {
			t.Fatal(err)
		}
		sizes, rest = append(sizes, len(m)), next
	}
	if len(sizes) != 3 || sizes[0] != 8 || sizes[1] != 265 || sizes[2] != 2 {
		t.Errorf("%v", sizes)
	}
	for _, bad := range []string{"", "00", "01 00", "00 02 41", "04 00", "02 0000000000000001 41", "02 00", "03 ffffffffffffffff", "08 01 41"} {
		if m, _, err := CutMessage(unhex(t, bad)); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: % x %v", bad, m, err)
		}
	}
}

// A message that comes bit by bit is looked at once: each time from the last frame that was not all there.
func TestFramedSizeGoesOn(t *testing.T) {
	m := append(unhex(t, "01 00 01 00 01 02 4142 03 0000000000000100"), make([]byte, 256)...)
	m = append(m, unhex(t, "00 01 43")...)
	frames := []uint64{0, 2, 4, 8, 273, 276} // where they begin, and the end
	var from uint64
	for n := range len(m) + 1 {
		size, seen, err := FramedSize(m[:n], from)
		whole, _, _ := FramedSize(m[:n], 0)
		if err != nil || size != whole || n < len(m) && size <= uint64(n) {
			t.Fatalf("%d bytes, from %d on: %d %v, want %d", n, from, size, err, whole)
		}
		last := 0
		for last < len(frames)-2 && frames[last+1] <= uint64(n) {
			last++
		}
		if seen != frames[last] {
			t.Fatalf("%d bytes: looked as far as %d, want %d", n, seen, frames[last])
		}
		from = seen
	}
	if size, _, _ := FramedSize(m, from); size != uint64(len(m)) {
		t.Errorf("%d bytes, want %d", size, len(m))
	}
}

func FuzzHello(f *testing.F) {
	f.Add(unhex(f, helloVector))
	f.Add([]byte("props"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHello(b)
		if err != nil {
			return
		}
		if again := AppendHello(nil, &h); !bytes.HasPrefix(b, again) || len(again) != h.Size() {
			t.Fatalf("% x\nwritten as % x", b, again)
		}
	})
}

func FuzzPart(f *testing.F) {
	f.Add(unhex(f, "00000007 0000000a 616263"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParsePart(b); err == nil && !bytes.Equal(AppendPart(nil, p), b) {
			t.Fatalf("% x: %+v", b, p)
		}
	})
}

// FuzzFramed: both ways of reading agree, and what is read is all there.
func FuzzFramed(f *testing.F) {
	f.Add(unhex(f, "01 01 41 01 00 00 01 42 00 00"))
	f.Add(append(unhex(f, "02 0000000000000100"), make([]byte, 256)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		size, _, sizeErr := FramedSize(b, 0)
		if half := b[:len(b)/2]; sizeErr == nil {
			if short, seen, err := FramedSize(half, 0); short > uint64(len(half)) {
				if n, _, e := FramedSize(b, seen); err != nil || n != size || e != nil {
					t.Fatalf("% x: size %d, from %d on %d %v", b, size, seen, n, e)
				}
			}
		}
		m, rest, err := CutMessage(b)
		if err == nil && (sizeErr != nil || size != uint64(len(m)) || len(m)+len(rest) != len(b)) {
			t.Fatalf("% x: size %d %v, message %d", b, size, sizeErr, len(m))
		}
		if err != nil && sizeErr == nil && size <= uint64(len(b)) {
			t.Fatalf("% x: size %d, but %v", b, size, err)
		}
	})
}
