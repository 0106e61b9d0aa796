package zmtp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"golang.org/x/crypto/nacl/box"

	"github.com/libvtx/libvtx/internal/nacl"
)

// expected says whether an error is one that a peer's bytes may cause.
func expected(err error) bool {
	var refused *RefusedError
	return errors.Is(err, ErrProtocol) || errors.Is(err, ErrTooBig) || errors.Is(err, ErrSecurity) ||
		errors.Is(err, ErrMechanism) || errors.Is(err, io.EOF) || errors.As(err, &refused)
}

// fuzzHandshake lets both roles hear in, at once and byte by byte: it is all the same. A session that comes of it
// decodes what is left.
func fuzzHandshake(t *testing.T, in []byte, mechanism func(listening bool) Mechanism) {
	for _, typ := range []string{"DEALER", "XPUB"} {
		for _, listening := range []bool{false, true} {
			var wrote [2][]byte
			var errs [2]error
			for i := range 2 {
				stream := &script{in: in, chunk: i}
				s, err := Handshake(stream, &Config{SocketType: typ, Listening: listening, Mechanism: mechanism(listening), MaxMessage: 1000})
				wrote[i], errs[i] = stream.out.Bytes(), err
				if err == nil {
					drain(t, s, append(slices.Clip(s.Rest()), stream.in...))
				} else if !expected(err) {
					t.Fatalf("%T %v", err, err)
				}
			}
			// Byte by byte we may have answered before the mistake comes, or missed it as the stream ended.
			if !bytes.HasPrefix(wrote[1], wrote[0]) || (errs[0] == nil) != (errs[1] == nil) ||
				errs[0] != nil && errs[1] != io.EOF && errs[0].Error() != errs[1].Error() {
				t.Fatalf("at once: %x %v\nbyte by byte: %x %v", wrote[0], errs[0], wrote[1], errs[1])
			}
		}
	}
}

func FuzzGreeting(f *testing.F) {
	f.Add(join(greeting3(3, 1, "NULL", 0), ready(asDealer), batch([]string{"x"})))
	f.Add(join(greeting3(3, 0, "NULL", 0), ready(asDealer), command("SUBSCRIBE", "x")))
	f.Add(join(greeting3(4, 0, "PLAIN", 1), command("ERROR", "\x03400")))
	f.Add([]byte{0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 1, 5, 0, 2, 'm', 'e', 0, 1, 'x'})
	f.Add([]byte{0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 0, 5, 3, 0, 'm', 'e', 2, 0, 'x'})
	f.Add([]byte{0xFF, 0, 0, 0, 0, 0, 0, 0, 3, 0, 'm', 'e', 2, 0, 'x'})
	f.Add([]byte{3, 0, 'm', 'e', 2, 0, 'x'})
	f.Fuzz(func(t *testing.T, in []byte) {
		fuzzHandshake(t, in, func(listening bool) Mechanism { return NewNull(listening, nil) })
	})
}

func FuzzHandshakePlain(f *testing.F) {
	plain := greeting3(3, 1, "PLAIN", 0)
	f.Add(join(plain, command("HELLO", "\x03joe\x06secret"), command("INITIATE", "\x0bSocket-Type\x00\x00\x00\x03SUB")), true)
	f.Add(join(plain, command("WELCOME", ""), command("READY", "\x0bSocket-Type\x00\x00\x00\x03SUB")), false)
	f.Add(join(plain, command("ERROR", "\x03400")), false)
	f.Fuzz(func(t *testing.T, in []byte, server bool) {
		fuzzHandshake(t, in, func(bool) Mechanism {
			if server {
				return NewPlainServer(letIn("joe"))
			}
			return NewPlainClient("joe", "secret")
		})
	})
}

// FuzzCurve lets the handshake's steps hear anything: step says how many good commands come first.
func FuzzCurve(f *testing.F) {
	for step := range byte(4) {
		f.Add(step, appendCommand(nil, []string{"HELLO", "WELCOME", "INITIATE", "READY"}[step],
			make([]byte, []int{helloSize, welcomeSize, initiateSize, readySize}[step])))
	}
	cp, cs := keys(f)
	sp, ss := keys(f)
	f.Fuzz(func(t *testing.T, step byte, bad []byte) {
		client, server := must(t)(NewCurveClient(cp, cs, sp)), must(t)(NewCurveServer(ss, nil))
		command, _ := client.Begin(nil)
		server.Begin(nil)
		to, other := server, client
		for range step % 4 {
			var err error
			if command, _, err = to.Next(command); err != nil {
				t.Fatal(err)
			}
			to, other = other, to
		}
		if answer, done, err := to.Next(bad); err == nil || !expected(err) || answer != nil || done {
			t.Fatal("a command out of nowhere is accepted", err)
		}
	})
}

// knownBox is an end of a connection whose ends both have the same short-term key.
func knownBox(t testing.TB, server bool) *curveBox {
	secret := new(nacl.Key)
	b, err := newCurveBox(nacl.Public(secret), secret, server)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzCurveOpen(f *testing.F) {
	from, _ := sealedPair(f, "DEALER", "DEALER", -1)
	f.Add(appendCommand(nil, "MESSAGE", make([]byte, 40)), []byte("x"))
	f.Add(from.Encode(nil, batch([]string{"x"}))[2:], []byte{})
	b := knownBox(f, true)
	f.Fuzz(func(t *testing.T, command, dst []byte) {
		out, used, err := b.Open(dst, appendFrame(nil, 0, command))
		if err == nil || !errors.Is(err, ErrSecurity) && !errors.Is(err, ErrProtocol) || used != 0 || !bytes.Equal(out, dst) {
			t.Fatal(err)
		}
		b.received = 0
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte("\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"))
	f.Add([]byte("\x01x\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMetadata(b)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatal(err)
			}
			return
		}
		var list Metadata
		for name, value := range m.All() {
			list = append(list, Property{string(name), value})
		}
		if again, err := list.Append(nil); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x became %x, %v", b, again, err)
		}
	})
}

// FuzzDecode decodes arbitrary bytes at once and in pieces: the same messages and the same error come out.
func FuzzDecode(f *testing.F) {
	good := batch([]string{"a", "b"}, []string{string(make([]byte, 300))})
	for mode := range byte(8) {
		f.Add(mode, byte(1), join(good, command("SUBSCRIBE", "x"), good[:3], command("PING", "\x00\x01c"), good[3:], []byte{8, 0}))
	}
	f.Add(byte(6), byte(3), []byte{2, 0, 'x', 3, 1, 'y', 'z', 1, 0, 0xFF, 0, 0, 0, 0, 0, 0, 0, 2, 0, 'x'})
	f.Fuzz(func(t *testing.T, mode, size byte, in []byte) {
		v := []Version{V31, V30, V2, V1}[mode/2%4]
		typ := []string{"DEALER", "XPUB"}[mode%2]
		all, n, controls, _, err := drain(t, session(v, typ, 1000), in)
		all2, n2, controls2, err2 := trickle(t, session(v, typ, 1000), in, int(size)+1)
		if err != nil && !expected(err) {
			t.Fatal(err)
		}
		if !bytes.Equal(all, all2) || n != n2 || len(controls) != len(controls2) || (err == nil) != (err2 == nil) {
			t.Fatalf("at once: %d %x %v\nin pieces: %d %x %v", n, all, err, n2, all2, err2)
		}
		for i := range controls {
			a, b := controls[i], controls2[i]
			if a.Control != b.Control || a.TTL != b.TTL || !bytes.Equal(a.Context, b.Context) || a.Reason != b.Reason {
				t.Fatalf("%+v\n%+v", a, b)
			}
		}
		count := 0
		for b := all; len(b) > 0; {
			flags, _, rest := cut(b)
			if flags&^flagMore != 0 {
				t.Fatalf("flags %#x in a batch", flags)
			}
			if b = rest; flags == 0 {
				count++
			}
		}
		if count != n {
			t.Fatalf("%d messages, said to be %d", count, n)
		}
	})
}

// FuzzDecodeSealed seals what a peer that has the keys, and bad intentions, may seal: pieces of in, each a byte with
// its size and then flags and body. It decodes as it does in pieces.
func FuzzDecodeSealed(f *testing.F) {
	f.Add(byte(20), []byte("\x03\x01ab\x02\x00c\x07\x02\x05CANCEL\x08\x02\x04PING\x00\x01x\x01\x01\x01\x02\x01\x00"))
	f.Add(byte(1), []byte("\x0b\x02\x09SUBSCRIBEx\x08\x02\x05ERROR\x01x"))
	f.Fuzz(func(t *testing.T, size byte, in []byte) {
		var wire []byte
		for b := knownBox(t, false); len(in) > 0; {
			n := min(1+int(in[0]), len(in))
			content := in[1:n]
			in = in[n:]
			b.sent++
			counter := binary.BigEndian.AppendUint64(nil, b.sent)
			sealed := box.SealAfterPrecomputation(nil, content, nonce("CurveZMQMESSAGEC", counter), (*[32]byte)(b.shared))
			wire = appendFrame(wire, 0, appendCommand(nil, "MESSAGE", counter, sealed))
		}
		for _, typ := range []string{"DEALER", "XPUB"} {
			one, two := session(V31, typ, 100), session(V31, typ, 100)
			one.sealer, two.sealer = knownBox(t, true), knownBox(t, true)
			all, n, controls, _, err := drain(t, one, wire)
			all2, n2, controls2, err2 := trickle(t, two, wire, int(size)+1)
			if err != nil && !expected(err) {
				t.Fatal(err)
			}
			if !bytes.Equal(all, all2) || n != n2 || len(controls) != len(controls2) || (err == nil) != (err2 == nil) {
				t.Fatalf("at once: %d %x %v\nin pieces: %d %x %v", n, all, err, n2, all2, err2)
			}
		}
	})
}
