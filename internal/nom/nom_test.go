package nom

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// unhex reads a vector as it stands in the protocol's description.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatalf("bad vector %q: %v", s, err)
	}
	return b
}

func frames(bodies ...string) [][]byte {
	var all [][]byte
	for _, b := range bodies {
		all = append(all, []byte(b))
	}
	return all
}

// captured holds datagrams of the original driver.
var captured = []struct {
	name   string
	hex    string
	header Header
	text   string   // body of a command that has no frames
	frames [][]byte // body of a NOM
}{
	{"OHAI broadcast", "10 10 2a 3a 35 36 30 31", Header{Command: OHAI}, "*:5601", nil},
	{"OHAI unicast", "10 10 31 32 37 2e 30 2e 30 2e 31 3a 35 36 30 31", Header{Command: OHAI}, "127.0.0.1:5601", nil},
	{"OHAI-OK", "10 20 2a 3a 35 36 30 31", Header{Command: OHAIOK}, "*:5601", nil},
	{"OHAI-OK empty", "10 20", Header{Command: OHAIOK}, "", nil},
	{"HUGZ", "10 30", Header{Command: HUGZ}, "", nil},
	{"HUGZ after 5", "10 35", Header{Command: HUGZ, Sequence: 5}, "", nil},
	{"HUGZ-OK", "10 40", Header{Command: HUGZOK}, "", nil},
	{"HUGZ-OK after 2", "10 42", Header{Command: HUGZOK, Sequence: 2}, "", nil},
	{"ROTFL", "10 00 4d 61 78 20 70 65 65 72 69 6e 67 73 20 72 65 61 63 68 65 64 20 66 6f 72 20 73 6f 63 6b 65 74",
		Header{Command: ROTFL}, "Max peerings reached for socket", nil},
	{"REQ", "10 51 08 49 43 41 4e 48 41 5a 3f", Header{Command: NOM, Sequence: 1}, "", frames("ICANHAZ?")},
	{"REQ resent", "11 51 08 49 43 41 4e 48 41 5a 3f", Header{Command: NOM, Sequence: 1, Resend: true}, "", frames("ICANHAZ?")},
	{"REP", "10 51 0b 43 48 45 45 5a 42 55 52 47 45 52", Header{Command: NOM, Sequence: 1}, "", frames("CHEEZBURGER")},
	{"PUB", "10 50 08 4e 4f 4d 20 31 32 33 34", Header{Command: NOM}, "", frames("NOM 1234")},
	{"three frames", "10 51 02 41 42 02 41 42 02 41 42", Header{Command: NOM, Sequence: 1}, "", frames("AB", "AB", "AB")},
	{"empty middle frame", "10 56 01 41 00 01 42", Header{Command: NOM, Sequence: 6}, "", frames("A", "", "B")},
	{"one empty frame", "10 53 00", Header{Command: NOM, Sequence: 3}, "", frames("")},
	{"253 bytes", "10 51 fd" + strings.Repeat("78", 253), Header{Command: NOM, Sequence: 1}, "", frames(strings.Repeat("x", 253))},
	{"254 bytes", "10 51 fe 00 fe" + strings.Repeat("78", 254), Header{Command: NOM, Sequence: 1}, "", frames(strings.Repeat("x", 254))},
	{"507 bytes", "10 51 fe 01 fb" + strings.Repeat("78", 507), Header{Command: NOM, Sequence: 1}, "", frames(strings.Repeat("x", 507))},
}

func TestCapturedVectors(t *testing.T) {
	for _, v := range captured {
		t.Run(v.name, func(t *testing.T) {
			wire := unhex(t, v.hex)
			if len(wire) > MaxDatagram {
				t.Fatalf("vector of %d bytes", len(wire))
			}
			h, body, err := ParseHeader(wire)
			if err != nil || h != v.header {
				t.Fatalf("ParseHeader: %+v, %v, want %+v", h, err, v.header)
			}
			made := AppendHeader(nil, v.header)
			if v.frames == nil {
				if string(body) != v.text {
					t.Errorf("body %q, want %q", body, v.text)
				}
				made = AppendGreeting(made, Greeting{Address: []byte(v.text)})
			} else {
				got, err := AppendFrames(nil, body)
				if err != nil || !equal(got, v.frames) {
					t.Errorf("AppendFrames: %q, %v, want %q", got, err, v.frames)
				}
				for _, f := range v.frames {
					made = AppendFrame(made, f)
				}
			}
			if !bytes.Equal(made, wire) {
				t.Errorf("made % x\nwant % x", made, wire)
			}
		})
	}
}

func equal(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func TestBadHeaders(t *testing.T) {
	for _, c := range []struct {
		hex  string
		want error
	}{
		{"", ErrShort}, {"10", ErrShort}, {"00 50", ErrVersion}, {"20 50", ErrVersion},
		{"ff ff", ErrVersion}, {"10 60", ErrCommand}, {"10 ff", ErrCommand},
	} {
		if _, _, err := ParseHeader(unhex(t, c.hex)); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.hex, err, c.want)
		}
	}
	if h, _, err := ParseHeader(unhex(t, "1c 53")); err != nil || h != (Header{Command: NOM, Sequence: 3}) {
		t.Errorf("unknown flags: %+v, %v", h, err)
	}
}

func TestBadFrames(t *testing.T) {
	for _, c := range []struct {
		hex  string
		want error
	}{
		{"", ErrEmpty}, {"01", ErrFrame}, {"02 41", ErrFrame}, {"00 05 41", ErrFrame},
		{"fe", ErrFrame}, {"fe 00", ErrFrame}, {"fe 00 01", ErrFrame}, {"fe ff ff 41", ErrFrame},
		{"ff", ErrFrame}, {"ff 00 00 00", ErrFrame}, {"ff ff ff ff ff", ErrFrame}, {"ff 80 00 00 00 41", ErrFrame},
	} {
		got, err := AppendFrames(frames("kept"), unhex(t, c.hex))
		if !errors.Is(err, c.want) || !equal(got, frames("kept")) {
			t.Errorf("%q: %q, %v, want %v", c.hex, got, err, c.want)
		}
	}
}

func TestLongFormsAreAccepted(t *testing.T) {
	for _, wire := range []string{"01 41", "fe 00 01 41", "ff 00 00 00 01 41"} {
		if got, err := AppendFrames(nil, unhex(t, wire)); err != nil || !equal(got, frames("A")) {
			t.Errorf("%q: %q, %v", wire, got, err)
		}
	}
}

func TestFrameSizeAtTheEdges(t *testing.T) {
	for _, n := range []int{0, 1, 252, 253, 254, 255, 256, 65534, 65535, 65536, 70000} {
		wire := AppendFrame(nil, make([]byte, n))
		if FrameSize(n) != len(wire) {
			t.Errorf("FrameSize(%d) = %d, the frame has %d", n, FrameSize(n), len(wire))
		}
		if body, rest, err := CutFrame(wire); err != nil || len(body) != n || len(rest) != 0 {
			t.Errorf("%d bytes: body %d, rest %d, %v", n, len(body), len(rest), err)
		}
	}
}

func TestGreetings(t *testing.T) {
	for _, c := range []struct {
		body string
		want Greeting
	}{
		{"*:5601", Greeting{Address: []byte("*:5601")}},
		{"", Greeting{}},
		{"a:1\x00", Greeting{Address: []byte("a:1"), Properties: []byte{}}},
		{"a:1\x00x=1\x00y", Greeting{Address: []byte("a:1"), Properties: []byte("x=1\x00y")}},
		{"\x00p", Greeting{Address: []byte{}, Properties: []byte("p")}},
	} {
		g := ParseGreeting([]byte(c.body))
		if !bytes.Equal(g.Address, c.want.Address) || !bytes.Equal(g.Properties, c.want.Properties) ||
			(g.Properties == nil) != (c.want.Properties == nil) {
			t.Errorf("%q: %q", c.body, g)
		}
		if made := AppendGreeting(nil, g); string(made) != c.body {
			t.Errorf("%q became %q", c.body, made)
		}
	}
}

func TestParsingTakesNoMemoryOnTheWordOfALength(t *testing.T) {
	liar := unhex(t, "ff ff ff ff fe 41 42")
	scratch := make([][]byte, 0, 8)
	good := unhex(t, "10 56 01 41 00 01 42")
	if n := testing.AllocsPerRun(100, func() {
		_, body, _ := ParseHeader(good)
		_, _ = AppendFrames(scratch, body)
	}); n != 0 {
		t.Errorf("%v allocations for a good message", n)
	}
	// The error itself is all that a lying length may cost.
	if n := testing.AllocsPerRun(100, func() { _, _ = AppendFrames(scratch, liar) }); n > 4 {
		t.Errorf("%v allocations for a lying length", n)
	}
}

func FuzzHeader(f *testing.F) {
	for _, v := range captured {
		f.Add(unhex(f, v.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, err := ParseHeader(b)
		if err != nil {
			return
		}
		again, rest, err := ParseHeader(append(AppendHeader(nil, h), body...))
		if err != nil || again != h || !bytes.Equal(rest, body) {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}

func FuzzFrames(f *testing.F) {
	for _, v := range captured {
		f.Add(unhex(f, v.hex)[HeaderSize:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := AppendFrames(nil, b)
		if err != nil {
			return
		}
		var wire []byte
		for _, body := range got {
			wire = AppendFrame(wire, body)
		}
		if len(wire) > len(b) {
			t.Fatalf("%d bytes from %d: not the shortest form", len(wire), len(b))
		}
		again, err := AppendFrames(nil, wire)
		if err != nil || !equal(again, got) {
			t.Fatalf("%q became %q, %v", got, again, err)
		}
	})
}

func FuzzGreeting(f *testing.F) {
	f.Add([]byte("*:5601"))
	f.Add([]byte("a:1\x00properties"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if made := AppendGreeting(nil, ParseGreeting(b)); !bytes.Equal(made, b) {
			t.Fatalf("%q became %q", b, made)
		}
	})
}
