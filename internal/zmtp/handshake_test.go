package zmtp

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// greeting3 is a peer's greeting of ZMTP 3.
func greeting3(major, minor byte, mechanism string, server byte) []byte {
	b := join([]byte{0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, major, minor}, []byte(mechanism))
	b = append(b, make([]byte, greetingSize-len(b))...)
	b[asServerAt] = server
	return b
}

func ready(properties ...Property) []byte {
	b, _ := Metadata(properties).Append(nil)
	return command("READY", string(b))
}

var asDealer = Property{socketTypeProperty, []byte("DEALER")}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		major, minor byte
		want         Version
	}{{3, 0, V30}, {3, 1, V31}, {3, 2, V31}, {3, 255, V31}, {4, 0, V31}, {4, 7, V31}, {255, 0, V31}, {2, 0, V31}} {
		stream := &script{in: join(greeting3(c.major, c.minor, "NULL", 0), ready(asDealer))}
		s, err := Handshake(stream, &Config{SocketType: "DEALER", Mechanism: NewNull(false, nil)})
		if err != nil || s.Version != c.want {
			t.Errorf("%d.%d: %v", c.major, c.minor, err)
		}
	}
	// Revision 0 has ZMTP 2.0's greeting and ZMTP 1.0's frames.
	stream := &script{in: join([]byte{0xFF, 0, 0, 0, 0, 0, 0, 0, 3, 0x7F, 0, 1}, appendFrameV1(nil, 0, []byte("me")), []byte{2, 0, 'x'})}
	s, err := Handshake(stream, &Config{SocketType: "XPUB", Identity: []byte("us"), Mechanism: NewNull(true, nil), MaxMessage: -1})
	if err != nil || s.Version != V1 || s.SocketType != "PUB" || string(s.Identity) != "me" {
		t.Fatal(err, s)
	}
	if want := []byte{0xFF, 0, 0, 0, 0, 0, 0, 0, 3, 0x7F, 3, 9, 3, 0, 'u', 's'}; !bytes.Equal(stream.out.Bytes(), want) {
		t.Fatalf("wrote %x", stream.out.Bytes())
	}
	if d, err := s.Decode(s.Rest()); err != nil || !bytes.Equal(d.Messages, []byte{0, 1, 'x'}) {
		t.Fatalf("%v %+v", err, d)
	}
}

// Nothing but ten bytes leaves before the peer has shown that it knows versions, and nothing of 3.0 before its own.
func TestGreetingInPieces(t *testing.T) {
	theirs := greeting3(3, 1, "NULL", 0)
	for n, want := range map[int]int{0: 10, 1: 10, 9: 10, 10: 11, 11: 64, 63: 64, 64: 64 + 28} {
		stream := &script{in: bytes.Clone(theirs[:n]), chunk: 1}
		_, err := Handshake(stream, &Config{SocketType: "PUSH", Mechanism: NewNull(false, nil)})
		if !errors.Is(err, io.EOF) || stream.out.Len() != want {
			t.Errorf("after %d bytes %d have been written, not %d; %v", n, stream.out.Len(), want, err)
		}
	}
	for n, want := range map[int]int{10: 11, 11: 12, 12: 14} {
		stream := &script{in: []byte{0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 1, 7}[:n], chunk: 1}
		_, err := Handshake(stream, &Config{SocketType: "PUSH", Mechanism: NewNull(false, nil)})
		if !errors.Is(err, io.EOF) || stream.out.Len() != want {
			t.Errorf("2.0: after %d bytes %d have been written, not %d; %v", n, stream.out.Len(), want, err)
		}
	}
}

func TestBadPeers(t *testing.T) {
	v3 := greeting3(3, 1, "NULL", 0)
	v2 := []byte{0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 1, 5}
	id := strings.Repeat("i", 256)
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"1.0: no length":          {[]byte{0}, ErrProtocol},
		"1.0: flags":              {[]byte{1, 1}, ErrProtocol},
		"1.0: long identity":      {appendFrameV1(nil, 0, []byte(id)), ErrProtocol},
		"1.0: huge identity":      {[]byte{0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0}, ErrProtocol},
		"2.0: no such type":       {join(v2[:11], []byte{11}), ErrProtocol},
		"2.0: flags":              {join(v2, []byte{1, 0}), ErrProtocol},
		"2.0: long identity":      {join(v2, appendFrame(nil, 0, []byte(id))), ErrProtocol},
		"other mechanism":         {greeting3(3, 1, "PLAIN", 0), ErrMechanism},
		"mechanism, and more":     {greeting3(3, 1, "NULL\x00x", 0), ErrMechanism},
		"message before READY":    {join(v3, batch([]string{"x"})), ErrProtocol},
		"command with MORE":       {join(v3, []byte{5, 6}, []byte("\x05READY")), ErrProtocol},
		"reserved flags":          {join(v3, []byte{0x14, 6}, []byte("\x05READY")), ErrProtocol},
		"other command":           {join(v3, command("HELLO", "")), ErrProtocol},
		"no name":                 {join(v3, []byte{4, 0}), ErrProtocol},
		"huge command":            {join(v3, []byte{6, 0, 0, 0, 0, 0, 1, 0, 1}), ErrProtocol},
		"top bit":                 {join(v3, []byte{6, 0x80, 0, 0, 0, 0, 0, 0, 0}), ErrProtocol},
		"half a property":         {join(v3, command("READY", "\x0bSocket-Type\x00\x00\x00")), ErrProtocol},
		"long value":              {join(v3, command("READY", "\x0bSocket-Type\x00\x00\x00\x07DEALER")), ErrProtocol},
		"huge value":              {join(v3, command("READY", "\x0bSocket-Type\xff\xff\xff\xff")), ErrProtocol},
		"no name of a property":   {join(v3, command("READY", "\x00\x00\x00\x00\x00")), ErrProtocol},
		"bad name of a property":  {join(v3, command("READY", "\x01:\x00\x00\x00\x00")), ErrProtocol},
		"3.1: long identity":      {join(v3, ready(asDealer, Property{identityProperty, []byte(id)})), ErrProtocol},
		"ERROR without a reason":  {join(v3, command("ERROR", "")), ErrProtocol},
		"ends":                    {join(v3, command("READY", "")[:5]), io.EOF},
		"ends within a signature": {v2[:7], io.EOF},
	} {
		for how, chunk := range chunks {
			for _, listening := range []bool{false, true} {
				cfg := &Config{SocketType: "DEALER", Mechanism: NewNull(listening, nil), Listening: listening}
				if _, err := Handshake(&script{in: c.in, chunk: chunk}, cfg); !errors.Is(err, c.want) {
					t.Errorf("%s, %s: %v", name, how, err)
				}
			}
		}
	}
	var refused *RefusedError
	_, err := Handshake(&script{in: join(v3, command("ERROR", "\x04busy"))}, &Config{Mechanism: NewNull(false, nil)})
	if !errors.As(err, &refused) || refused.Reason != "busy" {
		t.Error(err)
	}
	// PLAIN, each command malformed or out of turn.
	plain := greeting3(3, 1, "PLAIN", 0)
	for _, c := range []string{"\x05HELLO\x01a", "\x05HELLO\x01a\x02b", "\x05HELLO\x01a\x01bc", "\x08INITIATE", "\x05READY", "\x07WELCOME"} {
		_, err := Handshake(&script{in: join(plain, appendFrame(nil, flagCommand, []byte(c)))}, &Config{Mechanism: NewPlainServer(letIn(""))})
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", c, err)
		}
	}
	for _, c := range []string{"\x07WELCOMEx", "\x05READY", "\x08INITIATE"} {
		_, err := Handshake(&script{in: join(plain, appendFrame(nil, flagCommand, []byte(c)))}, &Config{Mechanism: NewPlainClient("", "")})
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", c, err)
		}
	}
}

// Peers that cannot speak of security come in only where there is none.
func TestOldPeersAndSecurity(t *testing.T) {
	client, server := curvePair(t, nil)
	for name, m := range map[string]Mechanism{"NULL with ZAP": NewNull(true, letIn("")), "PLAIN": NewPlainServer(letIn("")),
		"PLAIN client": NewPlainClient("", ""), "CURVE": server, "CURVE client": client} {
		for _, in := range [][]byte{{1, 0}, {0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0}, {0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 1, 5, 0, 0},
			{0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 0, 5, 1, 0}} {
			if _, err := Handshake(&script{in: in}, &Config{Mechanism: m}); !errors.Is(err, ErrMechanism) {
				t.Errorf("%s, %x: %v", name, in, err)
			}
		}
	}
}

// A listening end can say no until it has said yes, and no means the same whether sealed or not.
func TestRefusal(t *testing.T) {
	for name, pair := range mechanisms {
		dm, lm := pair(t)
		up, down := newMemory(0), newMemory(0)
		failed := make(chan error)
		go func() {
			s, err := Handshake(conn{down, up}, &Config{SocketType: "SUB", Mechanism: dm, MaxMessage: -1})
			if err == nil { // the listener has no last word in this mechanism: the ERROR comes later
				in := make([]byte, 1000)
				n, _ := down.Read(in)
				d, _ := s.Decode(in[:n])
				err = &RefusedError{d.Reason}
			}
			failed <- err
		}()
		l, err := Handshake(conn{up, down}, &Config{SocketType: "PULL", Listening: true, Mechanism: lm})
		if err != nil {
			t.Fatal(name, err)
		}
		down.Write(l.Refusal("Invalid socket type"))
		var refused *RefusedError
		if err := <-failed; !errors.As(err, &refused) || refused.Reason != "Invalid socket type" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, v := range []Version{V1, V2} {
		s := session(v, "PULL", -1)
		if s.Refusal("x") != nil || s.AppendError(nil, "x") != nil || s.AppendPing(nil, 1, nil) != nil || s.AppendPong(nil, nil) != nil {
			t.Errorf("%v has no commands", v)
		}
	}
	s := session(V31, "PULL", -1)
	if d, err := s.Decode(s.AppendError(nil, strings.Repeat("x", 300))); err != nil || len(d.Reason) != 255 {
		t.Error(err)
	}
}

// What comes with the handshake's last byte is not lost.
func TestRest(t *testing.T) {
	want := batch([]string{"at", "once"}, []string{strings.Repeat("x", 10_000)})
	in := join(greeting3(3, 1, "NULL", 0), ready(asDealer), want)
	for how, chunk := range chunks {
		stream := &script{in: in, chunk: chunk}
		s, err := Handshake(stream, &Config{SocketType: "DEALER", Mechanism: NewNull(false, nil), MaxMessage: -1})
		if err != nil {
			t.Fatal(how, err)
		}
		if got := join(s.Rest(), stream.in); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, not %d", how, len(got), len(want))
		}
	}
}

func TestOwnMistakes(t *testing.T) {
	for name, cfg := range map[string]*Config{
		"identity":      {Identity: make([]byte, 256)},
		"property name": {Metadata: Metadata{{"a b", nil}}},
		"much metadata": {Metadata: Metadata{{"a", make([]byte, 40_000)}}},
	} {
		cfg.Mechanism = NewNull(false, nil)
		if _, err := Handshake(&script{in: join(greeting3(3, 1, "NULL", 0), ready())}, cfg); err == nil || errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Handshake(&script{in: greeting3(3, 1, "PLAIN", 0)}, &Config{Mechanism: NewPlainClient(strings.Repeat("x", 256), "")}); err == nil {
		t.Error("a user that is too long")
	}
}

// stuck is a stream whose Read gives nothing, and no reason.
type stuck struct{ io.Writer }

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestNoProgress(t *testing.T) {
	if _, err := Handshake(stuck{io.Discard}, &Config{Mechanism: NewNull(false, nil)}); err != io.ErrNoProgress {
		t.Error(err)
	}
}

func TestMetadata(t *testing.T) {
	m := Metadata{{"Socket-Type", []byte("PUB")}, {"x.Y_z+0", nil}, {"X-Y", bytes.Repeat([]byte{0xFF}, 300)}, {"x-y", []byte("2nd")}}
	b, err := m.Append([]byte("before"))
	if err != nil || string(b[:6]) != "before" {
		t.Fatal(err)
	}
	got, err := ParseMetadata(b[6:])
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"SOCKET-TYPE": "PUB", "x-Y": strings.Repeat("\xFF", 300), "X.y_Z+0": ""} {
		if value, ok := got.Get(name); !ok || string(value) != want {
			t.Errorf("%s: %q, %v", name, value, ok)
		}
	}
	if _, ok := got.Get("none"); ok {
		t.Error("a property that nobody told")
	}
	for n := range b[6:] {
		if _, err := ParseMetadata(b[6 : 6+n]); err == nil && n != 0 && n != 19 && n != 31 && n != 339 {
			t.Errorf("the first %d bytes are enough", n)
		}
	}
}

// A peer with other security hears what ours is, even if all of its greeting came at once.
func TestMismatchIsTold(t *testing.T) {
	for how, chunk := range chunks {
		stream := &script{in: greeting3(3, 1, "PLAIN", 0), chunk: chunk}
		if _, err := Handshake(stream, &Config{Mechanism: NewNull(false, nil)}); !errors.Is(err, ErrMechanism) || stream.out.Len() != greetingSize {
			t.Errorf("%s: %v, %d bytes written", how, err, stream.out.Len())
		}
	}
}

// libzmq 4.3.4's PLAIN server says why it refuses in a command of a garbled name.
func TestRefusedByLibzmqsPlain(t *testing.T) {
	refusal := appendFrame(nil, flagCommand, []byte("^RROR\x03400"))
	stream := &script{in: join(greeting3(3, 1, "PLAIN", 0), refusal)}
	_, err := Handshake(stream, &Config{SocketType: "DEALER", Mechanism: NewPlainClient("alice", "wrong")})
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Reason != "400" {
		t.Errorf("refused with %v", err)
	}
}
