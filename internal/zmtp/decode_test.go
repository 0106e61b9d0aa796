package zmtp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/crypto/nacl/box"
)

// session makes a session without its handshake.
func session(v Version, socketType string, limit int64) *Session {
	s := newSession(&Config{SocketType: socketType, MaxMessage: limit})
	s.Version = v
	return s
}

// sealedPair makes the sessions of a CURVE connection: what to seals, from opens.
func sealedPair(t testing.TB, from, to string, limit int64) (f, o *Session) {
	t.Helper()
	client, server := curvePair(t, nil)
	f, o, err1, err2 := ends(0, &Config{SocketType: from, Mechanism: client, MaxMessage: -1},
		&Config{SocketType: to, Mechanism: server, MaxMessage: limit})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return f, o
}

func command(name, data string) []byte {
	return appendFrame(nil, flagCommand, appendCommand(nil, name, []byte(data)))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestDecodeInPlace(t *testing.T) {
	for _, v := range []Version{V2, V30, V31} {
		s := session(v, "DEALER", -1)
		whole := batch([]string{"a", "b"}, []string{strings.Repeat("c", 300)})
		in := join(whole, batch([]string{"d", "e"})[:4])
		d, err := s.Decode(in)
		if err != nil || d.Count != 2 || d.Used != len(whole) || !bytes.Equal(d.Messages, whole) || d.Need != 5 {
			t.Fatalf("%v %+v", err, d)
		}
		if unsafe.SliceData(d.Messages) != unsafe.SliceData(in) {
			t.Fatal("the messages were moved")
		}
	}
}

// A message that is not whole is not looked at again from its beginning.
func TestDecodeGoesOn(t *testing.T) {
	s := session(V31, "DEALER", -1)
	in := bytes.Repeat([]byte{flagMore, 1, 'x'}, 1000)
	if d, err := s.Decode(in); err != nil || d.Used != 0 || d.Need != len(in)+2 {
		t.Fatalf("%v %+v", err, d)
	}
	for i := range in { // whoever looks again sees a mistake
		in[i] = 0xFF
	}
	in = append(in, 0, 0)
	if d, err := s.Decode(in); err != nil || d.Count != 1 || d.Used != len(in) {
		t.Fatalf("%v %+v", err, d)
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	s := session(V31, "DEALER", 1<<20)
	in := bytes.Repeat(batch([]string{"a", "b"}, []string{strings.Repeat("c", 300)}), 100)
	if n := testing.AllocsPerRun(100, func() { s.Decode(in) }); n != 0 {
		t.Errorf("Decode: %v allocations", n)
	}
	f, o := sealedPair(t, "DEALER", "DEALER", -1)
	var wire []byte
	if n := testing.AllocsPerRun(100, func() {
		wire = f.Encode(wire[:0], in)
		if d, err := o.Decode(wire); err != nil || d.Count != 200 {
			t.Fatal(err, d.Count)
		}
	}); n > 0 {
		t.Errorf("sealed: %v allocations", n)
	}
}

// A body that stands apart makes no difference to the peer.
func TestEncodeLarge(t *testing.T) {
	large := strings.Repeat("l", 1000)
	for name, message := range map[string][]string{"alone": {large}, "last": {"first", "", large}} {
		for _, sealed := range []bool{false, true} {
			one, two := session(V31, "DEALER", -1), session(V31, "DEALER", -1)
			if sealed {
				one.sealer, two.sealer = knownBox(t, true), knownBox(t, true)
			}
			b := batch(message)
			got := one.EncodeLarge([]byte("before"), b[:len(b)-len(large)], []byte(large))
			if want := two.Encode([]byte("before"), b); !one.EncodesLarge() || !bytes.Equal(got, want) {
				t.Errorf("%s, sealed %v: %x, not %x", name, sealed, got, want)
			}
		}
	}
}

// decodeLarge decodes what comes in pieces of some size, with bodies from least bytes on read apart.
func decodeLarge(s *Session, wire []byte, piece, least int) (messages []byte, apart, controls int, err error) {
	var in []byte
	for len(wire) > 0 || len(in) > 0 {
		n := min(piece, len(wire))
		in, wire = append(in, wire[:n]...), wire[n:]
		for again := true; again; {
			d, err := s.Decode(in)
			messages = append(messages, d.Messages...)
			if err != nil {
				return messages, apart, controls, err
			}
			in = in[d.Used:]
			if again = d.Control != NoControl; again {
				controls++
			}
			if again || d.Need <= least {
				continue
			}
			l, ok := s.TakeLarge(in, least)
			if !ok {
				continue
			}
			apart++
			prefix, frame := slices.Clone(in[:l.Prefix]), in[l.Begin:]
			lack := l.Size - len(frame)
			frame, in, wire = append(slices.Clone(frame), wire[:lack]...), nil, wire[lack:]
			whole := !l.Sealed
			if l.Sealed {
				if prefix, whole, err = s.OpenLarge(frame); err != nil {
					return messages, apart, controls, err
				}
			}
			if whole {
				messages = appendFrame(append(messages, prefix...), 0, frame[l.Front:])
			}
			again = true
		}
		if n == 0 {
			break
		}
	}
	return messages, apart, controls, nil
}

// Whatever stands before, within and behind large bodies, and however it comes: the same messages.
func TestTakeLarge(t *testing.T) {
	large, larger := strings.Repeat("l", 1000), strings.Repeat("L", 3000)
	messages := [][]string{{"a"}, {large}, {"b", "", larger}, {large, larger, "c"}, {larger, large}, {"d"}, {large}}
	for _, sealed := range []bool{false, true} {
		f, o := session(V31, "DEALER", -1), session(V31, "DEALER", -1)
		if sealed {
			f.sealer = knownBox(t, false)
		}
		var wire, want []byte
		pings := 0
		for i, m := range messages {
			for j, frame := range m {
				var flags byte
				if j < len(m)-1 {
					flags = flagMore
				}
				want = appendFrame(want, flags, []byte(frame))
				wire = f.appendFrame(wire, flags, []byte(frame))
				if (i+j)%2 == 0 {
					wire = f.AppendPing(wire, 0, []byte("x"))
					pings++
				}
			}
		}
		for piece := 1; piece < 5000; piece += 1 + piece/3 {
			if sealed {
				o = session(V31, "DEALER", -1)
				o.sealer = knownBox(t, true)
			}
			got, apart, controls, err := decodeLarge(o, wire, piece, 500)
			if err != nil || !bytes.Equal(got, want) || piece < 500 && apart == 0 || controls != pings {
				t.Fatalf("sealed %v, by %d bytes: %v, %d apart, %d controls, same %v", sealed, piece, err, apart, controls, bytes.Equal(got, want))
			}
		}
	}
}

func TestLargeMistakes(t *testing.T) {
	large := []byte(strings.Repeat("l", 70_000))
	for name, c := range map[string]struct {
		wire func(f *Session) []byte
		want error
	}{
		"changed": {func(f *Session) []byte {
			wire := f.Encode(nil, batch([]string{"before"}, []string{string(large)}))
			wire[len(wire)-1] ^= 1
			return wire
		}, ErrSecurity},
		"replayed": {func(f *Session) []byte {
			first := f.appendFrame(nil, 0, large)
			return join(f.Encode(nil, batch([]string{"before"})), first, first)
		}, ErrSecurity},
		"too big in sum": {func(f *Session) []byte {
			return f.Encode(nil, batch([]string{"before"}, []string{string(large[:40_000]), string(large[:60_001])}))
		}, ErrTooBig},
		"no command": {func(f *Session) []byte {
			return f.appendFrame(f.Encode(nil, batch([]string{"before"})), flagCommand, make([]byte, 70_000))
		}, ErrProtocol},
	} {
		f, o := session(V31, "DEALER", -1), session(V31, "DEALER", 100_000)
		f.sealer, o.sealer = knownBox(t, false), knownBox(t, true)
		got, apart, _, err := decodeLarge(o, c.wire(f), 1000, 500)
		if !errors.Is(err, c.want) || apart == 0 || !bytes.HasPrefix(got, batch([]string{"before"})) {
			t.Errorf("%s: %v, %d apart", name, err, apart)
		}
		if _, err := o.Decode(nil); err == nil {
			t.Errorf("%s: a session that failed goes on", name)
		}
	}
}

// Before Need bytes are there nothing comes, and waiting for them misses nothing.
func TestNeed(t *testing.T) {
	f, o := sealedPair(t, "DEALER", "DEALER", -1)
	b := batch([]string{"a", strings.Repeat("b", 300), "", "c"}, []string{strings.Repeat("d", 253)}, []string{""})
	for name, c := range map[string]struct {
		s        *Session
		wire     []byte
		messages int
	}{
		"3.1":    {session(V31, "DEALER", -1), join(b, command("NEWS", "x"), b), 6},
		"1.0":    {session(V1, "DEALER", -1), session(V1, "DEALER", -1).Encode(nil, b), 3},
		"sealed": {o, f.Encode(nil, b), 3},
	} {
		in, n := c.wire, 0
		var have []byte
		for len(in) > 0 {
			have, in = append(have, in[0]), in[1:]
			d, err := c.s.Decode(have)
			if err != nil {
				t.Fatal(name, err)
			}
			n += d.Count
			have = have[d.Used:]
			if d.Need == 0 {
				if len(have) > 0 {
					t.Fatalf("%s: it is not known what %d bytes lack", name, len(have))
				}
				continue
			}
			if d.Need <= len(have) || d.Need-len(have) > len(in) {
				t.Fatalf("%s: need %d with %d, and %d to come", name, d.Need, len(have), len(in))
			}
			for len(have) < d.Need-1 {
				have, in = append(have, in[0]), in[1:]
				if e, err := c.s.Decode(have); err != nil || e.Used != 0 || e.Count != 0 || e.Need < d.Need {
					t.Fatalf("%s: %v %+v with less than %d", name, err, e, d.Need)
				}
			}
		}
		if n != c.messages {
			t.Fatalf("%s: %d messages, not %d", name, n, c.messages)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	up := batch([]string{"\x01a"}, []string{"\x00a"}, []string{"\x01"}, []string{"\x01" + strings.Repeat("t", 252)}, []string{"\x01" + strings.Repeat("t", 300)})
	wire := join(command("SUBSCRIBE", "a"), command("CANCEL", "a"), command("SUBSCRIBE", ""),
		command("SUBSCRIBE", strings.Repeat("t", 252)), command("SUBSCRIBE", strings.Repeat("t", 300)))
	other := batch([]string{"\x02a"}, []string{""}, []string{"\x01a", "b"}, []string{"x", "\x01a"}) // no subscriptions
	for _, v := range []Version{V1, V2, V30, V31} {
		for _, typ := range []string{"SUB", "XSUB", "DEALER"} {
			s := session(v, typ, -1)
			want := join(up, other)
			switch {
			case v == V1:
				want = nil
				for m := join(up, other); len(m) > 0; {
					flags, body, rest := cut(m)
					want, m = appendFrameV1(want, flags, body), rest
				}
			case v == V31 && typ != "DEALER":
				want = join(wire, other)
			}
			if got := s.Encode(nil, join(up, other)); !bytes.Equal(got, want) {
				t.Errorf("%s %v: %x, not %x", typ, v, got, want)
			}
		}
	}
	for _, typ := range []string{"PUB", "XPUB"} {
		for size := 1; size < 400; size += 7 {
			in := join(other, wire, other, command("PING", "\x00\x01c"), wire)
			got, n, controls, err := trickle(t, session(V31, typ, -1), in, size)
			if err != nil || n != 18 || !bytes.Equal(got, join(other, up, other, up)) || len(controls) != 1 {
				t.Fatalf("%s: %v %d\n%x\n%x", typ, err, n, got, join(other, up, other, up))
			}
		}
	}
	if got, n, _, _, err := drain(t, session(V31, "DEALER", -1), join(other, wire, other)); err != nil || n != 8 || !bytes.Equal(got, join(other, other)) {
		t.Error("elsewhere they are passed over", err, n)
	}
	f, o := sealedPair(t, "SUB", "XPUB", -1)
	if got, n, _, err := trickle(t, o, f.Encode(nil, join(up, other, up)), 50); err != nil || n != 14 || !sameMessages(got, join(up, other, up)) {
		t.Errorf("sealed: %v %d %x", err, n, got)
	}
}

// Topics of 246 to 255 bytes, of which libzmq 4.3.4 makes commands with a long size and without the LONG flag.
func TestSubscriptionsWithoutLong(t *testing.T) {
	for n := 246; n <= 255; n++ {
		topic := strings.Repeat("t", n)
		wire := command("SUBSCRIBE", topic)
		wire[0] &^= flagLong
		wire = join(wire, command("SUBSCRIBE", "x"))
		for size := range 12 {
			got, count, _, err := trickle(t, session(V31, "XPUB", -1), wire, size+1)
			if err != nil || count != 2 || !bytes.Equal(got, batch([]string{"\x01" + topic}, []string{"\x01x"})) {
				t.Fatalf("%d bytes: %v %x", n, err, got)
			}
		}
		if _, err := session(V31, "DEALER", -1).Decode(wire); !errors.Is(err, ErrProtocol) {
			t.Error("elsewhere", err)
		}
	}
	for _, n := range []uint64{0, 255, 266, 1 << 40} {
		in := binary.BigEndian.AppendUint64([]byte{flagCommand}, n)
		if _, err := session(V31, "XPUB", -1).Decode(join(in, make([]byte, 300))); !errors.Is(err, ErrProtocol) {
			t.Error(n, err)
		}
	}
}

// A ZMTP 1.0 subscriber does not subscribe; the publisher's side does it for it.
func TestPhantom(t *testing.T) {
	for typ, want := range map[string]int{"PUB": 1, "XPUB": 1, "DEALER": 0} {
		stream := &script{in: []byte{1, 0}}
		s, err := Handshake(stream, &Config{SocketType: typ, Mechanism: NewNull(false, nil), MaxMessage: -1})
		if err != nil || s.Version != V1 {
			t.Fatal(err)
		}
		d, err := s.Decode(s.Rest())
		if err != nil || d.Count != want || want == 1 && string(d.Messages) != "\x00\x01\x01" {
			t.Fatalf("%v %+v", err, d)
		}
		if d, _ = s.Decode(nil); d.Count != 0 || len(d.Messages) != 0 {
			t.Fatalf("twice: %+v", d)
		}
	}
}

// libzmq sends its PINGs and PONGs between any two frames, and a peer may use commands that are not known here.
func TestCommandsAnywhere(t *testing.T) {
	a, b := batch([]string{"one", "two", "three"}), batch([]string{"four"})
	for _, typ := range []string{"DEALER", "XPUB"} {
		for size := 1; size < 70; size++ {
			in := join(command("NEWS", "?"), b, a[:5], command("PING", "\x00\x02ctx"), a[5:10], command("NEWS", "!"),
				command("PONG", "pong"), a[10:], command("NEWS", "?"), b, command("ERROR", "\x02no"), b)
			got, n, controls, err := trickle(t, session(V31, typ, -1), in, size)
			if err != nil || n != 4 || !bytes.Equal(got, join(b, a, b, b)) {
				t.Fatalf("%s by %d: %v %d %q", typ, size, err, n, got)
			}
			if len(controls) != 3 || controls[0].TTL != 2 || string(controls[0].Context) != "ctx" ||
				string(controls[1].Context) != "pong" || controls[2].Reason != "no" {
				t.Fatalf("%s by %d: %+v", typ, size, controls)
			}
		}
	}
}

func TestMistakes(t *testing.T) {
	long := func(flags byte, n uint64) []byte {
		return binary.BigEndian.AppendUint64([]byte{flags | flagLong}, n)
	}
	good := batch([]string{"good"}, []string{"as", "well"})
	for name, c := range map[string]struct {
		v    Version
		typ  string
		bad  []byte
		want error
	}{
		"reserved flag":             {V31, "DEALER", []byte{8, 0}, ErrProtocol},
		"top flag":                  {V31, "DEALER", []byte{0x80, 0}, ErrProtocol},
		"command with MORE":         {V31, "DEALER", []byte{5, 0}, ErrProtocol},
		"command in 2.0":            {V2, "DEALER", command("PING", "\x00\x00"), ErrProtocol},
		"command without a name":    {V31, "DEALER", []byte{4, 0}, ErrProtocol},
		"command with half a name":  {V31, "DEALER", []byte{4, 3, 4, 'P', 'I'}, ErrProtocol},
		"PING without TTL":          {V31, "DEALER", command("PING", "x"), ErrProtocol},
		"ERROR without reason":      {V31, "DEALER", command("ERROR", ""), ErrProtocol},
		"ERROR with half a reason":  {V31, "DEALER", command("ERROR", "\x05no"), ErrProtocol},
		"top bit":                   {V31, "DEALER", long(0, 1<<63), ErrProtocol},
		"top bit of a command":      {V31, "DEALER", long(4, 1<<63), ErrProtocol},
		"more than could be":        {V31, "DEALER", long(0, 1<<40+1), ErrProtocol},
		"subscription in a message": {V31, "XPUB", join(good[:0], []byte{1, 0}, command("SUBSCRIBE", "")), ErrProtocol},
		"and after a PING":          {V31, "XPUB", join([]byte{1, 0}, command("PING", "\x00\x00"), command("SUBSCRIBE", "")), ErrProtocol},
		"too big":                   {V31, "DEALER", []byte{0, 101}, ErrTooBig},
		"too big, long":             {V31, "DEALER", long(0, 1<<40), ErrTooBig},
		"too big in sum":            {V31, "DEALER", join([]byte{1, 100}, make([]byte, 100), []byte{0, 1}), ErrTooBig},
		"too big subscription":      {V31, "XPUB", command("SUBSCRIBE", strings.Repeat("x", 100)), ErrTooBig},
		"too big command":           {V31, "DEALER", long(4, 1<<17), ErrTooBig},
		"endless":                   {V31, "DEALER", bytes.Repeat([]byte{1, 0}, 33_000), ErrTooBig},
		"endless, interrupted":      {V31, "DEALER", bytes.Repeat(join([]byte{1, 0}, command("NEWS", "")), 33_000), ErrTooBig},
		"1.0 without a flags byte":  {V1, "DEALER", []byte{0}, ErrProtocol},
		"1.0 long without":          {V1, "DEALER", join([]byte{0xFF}, make([]byte, 8)), ErrProtocol},
		"1.0 flags":                 {V1, "DEALER", []byte{1, 2}, ErrProtocol},
		"1.0 top bit":               {V1, "DEALER", []byte{0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0}, ErrProtocol},
		"1.0 too big":               {V1, "DEALER", []byte{102}, ErrTooBig},
		"1.0 too big in sum":        {V1, "DEALER", join([]byte{101, 1}, make([]byte, 100), []byte{2}), ErrTooBig},
		"1.0 endless":               {V1, "DEALER", bytes.Repeat([]byte{1, 1}, 33_000), ErrTooBig},
	} {
		for how, chunk := range chunks {
			if chunk == 0 {
				chunk = 1 << 20
			}
			s := session(c.v, c.typ, 100)
			in := join(s.Encode(nil, good), c.bad)
			got, n, _, err := trickle(t, s, in, chunk)
			if !errors.Is(err, c.want) || n != 2 || !bytes.Equal(got, good) {
				t.Errorf("%s, %s: %v after %d messages", name, how, err, n)
			}
			if d, again := s.Decode(nil); again != err || d.Count != 0 {
				t.Errorf("%s, %s: then %v", name, how, again)
			}
		}
	}
	// What is as big as may be is not too big.
	for _, v := range []Version{V1, V2, V31} {
		s := session(v, "DEALER", 100)
		b := batch([]string{strings.Repeat("x", 100)}, []string{strings.Repeat("x", 60), "", strings.Repeat("x", 40)})
		if _, n, _, _, err := drain(t, s, s.Encode(nil, b)); err != nil || n != 2 {
			t.Errorf("%v: %v", v, err)
		}
	}
}

func TestSealedMistakes(t *testing.T) {
	good := batch([]string{"good"}, []string{"as", "well"})
	for name, c := range map[string]struct {
		bad  func(f *Session) []byte
		want error
	}{
		"flags":                {func(*Session) []byte { return []byte{1, 0} }, ErrProtocol},
		"not sealed":           {func(*Session) []byte { return batch([]string{"plain, and as long as a box has to be"}) }, ErrProtocol},
		"PING not sealed":      {func(*Session) []byte { return command("PING", "\x00\x00") }, ErrProtocol},
		"too short":            {func(*Session) []byte { return batch([]string{curveMessage}) }, ErrProtocol},
		"too big":              {func(f *Session) []byte { return f.Encode(nil, batch([]string{strings.Repeat("x", 101)})) }, ErrTooBig},
		"too big in sum":       {func(f *Session) []byte { return f.Encode(nil, batch([]string{strings.Repeat("x", 100), "x"})) }, ErrTooBig},
		"too big subscription": {func(f *Session) []byte { return f.Encode(nil, batch([]string{"\x01" + strings.Repeat("x", 100)})) }, ErrTooBig},
		"unknown flags": {func(f *Session) []byte {
			b := f.sealer.(*curveBox)
			b.sent++
			counter := binary.BigEndian.AppendUint64(nil, b.sent)
			sealed := box.SealAfterPrecomputation(nil, []byte{4, 'x'}, nonce("CurveZMQMESSAGEC", counter), (*[32]byte)(b.shared))
			return appendFrame(nil, 0, appendCommand(nil, "MESSAGE", counter, sealed))
		}, ErrProtocol},
		"announced":          {func(*Session) []byte { return []byte{2, 0, 0, 0, 0, 1, 0, 0, 0} }, ErrTooBig},
		"more than could be": {func(*Session) []byte { return []byte{2, 0, 1, 0, 0, 0, 0, 0, 0} }, ErrProtocol},
		"command with MORE":  {func(f *Session) []byte { return f.appendFrame(nil, flagCommand|flagMore, []byte("\x04PONG")) }, ErrProtocol},
		"no name":            {func(f *Session) []byte { return f.appendFrame(nil, flagCommand, nil) }, ErrProtocol},
		"subscription in a message": {func(f *Session) []byte {
			return f.appendFrame(f.appendFrame(nil, flagMore, nil), flagCommand, []byte("\x09SUBSCRIBE"))
		}, ErrProtocol},
		"endless": {func(f *Session) []byte {
			var b []byte
			for range 33_000 {
				b = f.appendFrame(b, flagMore, nil)
			}
			return b
		}, ErrTooBig},
		"changed": {func(f *Session) []byte {
			b := f.Encode(nil, batch([]string{"x"}))
			b[len(b)-1] ^= 1
			return b
		}, ErrSecurity},
	} {
		f, o := sealedPair(t, "XSUB", "XPUB", 100)
		got, n, _, _, err := drain(t, o, join(f.Encode(nil, good), c.bad(f)))
		if !errors.Is(err, c.want) || n != 2 || !sameMessages(got, good) {
			t.Errorf("%s: %v after %d messages", name, err, n)
		}
	}
	f, o := sealedPair(t, "PUSH", "PULL", 100)
	if _, n, _, _, err := drain(t, o, f.Encode(f.AppendPing(nil, 1, make([]byte, 16)), batch([]string{strings.Repeat("x", 60), strings.Repeat("x", 40)}))); err != nil || n != 1 {
		t.Error("what is as big as may be", err)
	}
}

// Messages of all sizes in pieces of all sizes come out as they went in, in every version.
func TestRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	f, o := sealedPair(t, "DEALER", "DEALER", 1<<20)
	for range 50 {
		var messages [][]string
		for range r.IntN(20) + 1 {
			var m []string
			for range r.IntN(5) + 1 {
				m = append(m, strings.Repeat("x", []int{r.IntN(5), r.IntN(300), 240 + r.IntN(20), r.IntN(3000)}[r.IntN(4)]))
			}
			messages = append(messages, m)
		}
		b := batch(messages...)
		for name, p := range map[string][2]*Session{
			"3.1":    {session(V31, "DEALER", -1), session(V31, "DEALER", 1<<20)},
			"2.0":    {session(V2, "DEALER", -1), session(V2, "DEALER", 1<<20)},
			"1.0":    {session(V1, "DEALER", -1), session(V1, "DEALER", 1<<20)},
			"sealed": {f, o},
		} {
			got, n, _, err := trickle(t, p[1], p[0].Encode(nil, b), r.IntN(2000)+10)
			if err != nil || n != len(messages) || !sameMessages(got, b) {
				t.Fatalf("seed %d: %s: %v, %d of %d messages", seed, name, err, n, len(messages))
			}
		}
	}
}

func TestLongContext(t *testing.T) {
	d, err := session(V31, "PULL", -1).Decode(command("PING", "\x00\x010123456789abcdefTOO LONG"))
	if err != nil || string(d.Context) != "0123456789abcdef" {
		t.Errorf("%v %q", err, d.Context)
	}
}

// prefixSealer seals nothing, it makes frames longer.
type prefixSealer int

func (p prefixSealer) Overhead() int { return 1 + int(p) }

func (p prefixSealer) Seal(dst, frames []byte) ([]byte, error) {
	for len(frames) > 0 {
		var flags byte
		var body []byte
		flags, body, frames = cut(frames)
		dst, _ = p.SealFrame(dst, flags, body)
	}
	return dst, nil
}

func (p prefixSealer) SealFrame(dst []byte, flags byte, body []byte) ([]byte, error) {
	return appendFrame(dst, 0, append(append([]byte{flags}, make([]byte, p)...), body...)), nil
}

func (p prefixSealer) Open(dst, messages []byte) ([]byte, int, error) {
	used := len(messages)
	for len(messages) > 0 {
		var message []byte
		_, message, messages = cut(messages)
		flags, body, _ := p.OpenFrame(message)
		dst = appendFrame(dst, flags, body)
	}
	return dst, used, nil
}

func (p prefixSealer) OpenFrame(message []byte) (byte, []byte, error) {
	return message[0], message[p.Overhead():], nil
}

// A session works also where another sealer adds more or less than CURVE.
func TestOtherSealers(t *testing.T) {
	for _, p := range []prefixSealer{0, 10, 100, 300} {
		for size := range 500 {
			s := session(V31, "DEALER", -1)
			s.sealer = p
			b := batch([]string{"a", strings.Repeat("x", size), "b"})
			wire := s.Encode([]byte("before"), b)
			d, err := s.Decode(wire[6:])
			if err != nil || d.Count != 1 || !sameMessages(d.Messages, b) || string(wire[:6]) != "before" {
				t.Fatalf("%d bytes, %d of them added: %v %x", size, p, err, wire)
			}
			if flags, n, _, _, _ := head(wire[6+2+1+int(p)+1:]); p < 255-1-1 && (n == 9) != (size+1+int(p) > 255) {
				t.Fatalf("%d bytes, %d of them added: flags %x", size, p, flags)
			}
			large := strings.Repeat("y", 1000)
			wire = s.appendFrame(nil, 0, []byte(large))
			got, apart, _, err := decodeLarge(s, wire, 100, 500)
			if err != nil || apart != 1 || !sameMessages(got, batch([]string{large})) {
				t.Fatalf("a large body, %d bytes added: %v, %d apart", p, err, apart)
			}
		}
	}
}

// However many frames are sealed or opened at a time, each has the right header, and nothing is lost around a bad one.
func TestManySealed(t *testing.T) {
	for _, count := range []int{1, manyBoxes - 1, manyBoxes, manyBoxes + 1, 3*manyBoxes + 1} {
		var frames, wire []byte
		f, o := sealedPair(t, "DEALER", "DEALER", -1)
		for i := range count {
			frames = append(frames, batch([]string{strings.Repeat("x", (220+i)%300), "y"})...)
		}
		wire = f.Encode([]byte("before"), frames)
		if string(wire[:6]) != "before" {
			t.Fatal("Encode does not append")
		}
		d, err := o.Decode(wire[6:])
		if err != nil || d.Count != count || !sameMessages(d.Messages, frames) {
			t.Fatalf("%d messages: %v, %d", count, err, d.Count)
		}
		for bad := range count {
			f, o := sealedPair(t, "DEALER", "DEALER", -1)
			var wire []byte
			for i := range count {
				one := f.Encode(nil, batch([]string{fmt.Sprint(i)}))
				if i == bad {
					one[len(one)-1] ^= 1
				}
				wire = append(wire, one...)
			}
			if d, err := o.Decode(wire); !errors.Is(err, ErrSecurity) || d.Count != bad {
				t.Fatalf("%d of %d is bad: %v, %d messages", bad, count, err, d.Count)
			}
		}
	}
}

// What stands behind a control is opened with it, and comes out at the next Decode, in which nothing else need come.
func TestSealedBehindAControl(t *testing.T) {
	f, o := sealedPair(t, "DEALER", "DEALER", -1)
	wire := f.Encode(nil, batch([]string{"one"}))
	wire = f.AppendPing(wire, 0, []byte("ctx"))
	wire = f.Encode(wire, batch([]string{"two"}, []string{"three"}))
	last := f.Encode(nil, batch([]string{"four"}))
	bad := bytes.Clone(last)
	bad[len(bad)-1] ^= 1
	d, err := o.Decode(append(wire, bad...))
	if err != nil || d.Count != 1 || d.Control != Ping || string(d.Context) != "ctx" {
		t.Fatalf("%v, %d messages, control %d", err, d.Count, d.Control)
	}
	if d, err = o.Decode(nil); !errors.Is(err, ErrSecurity) || d.Count != 2 || !sameMessages(d.Messages, batch([]string{"two"}, []string{"three"})) {
		t.Fatalf("%v, %d messages", err, d.Count)
	}
}

// The header is right whatever the size, also of a frame that is sealed by itself.
func TestSealedHeaders(t *testing.T) {
	for size := range 500 {
		f, o := sealedPair(t, "DEALER", "DEALER", -1)
		b := batch([]string{"a", strings.Repeat("x", size), "b"})
		wire := f.Encode(nil, b)
		wire = f.appendFrame(wire, 0, []byte(strings.Repeat("y", size)))
		b = append(b, batch([]string{strings.Repeat("y", size)})...)
		var sizes []int
		for rest := wire; len(rest) > 0; {
			var frame []byte
			_, frame, rest = cut(rest)
			sizes = append(sizes, len(frame)-curveOverhead)
		}
		if want := []int{1, size, 1, size}; !slices.Equal(sizes, want) {
			t.Fatalf("frames of %d bytes, want %d", sizes, want)
		}
		if d, err := o.Decode(wire); err != nil || d.Count != 2 || !sameMessages(d.Messages, b) {
			t.Fatalf("%d bytes: %v %x", size, err, wire)
		}
	}
}
