package zmtp

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/nacl"
)

// vector is a connection with libzmq 4.3.4, as it was recorded: testdata/vectors.
type vector struct {
	libzmq, version, mechanism string
	socket, peer               string // socket types: libzmq's, and the other end's
	identity, peerIdentity     []byte
	wrote                      map[string][]byte // by the dialing end "C" and the listening end "S"
	send, recv                 []byte            // libzmq's application's messages, in batch form
	keys                       map[string][]byte
}

func (v *vector) other() string { return map[string]string{"C": "S", "S": "C"}[v.libzmq] }

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "-"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readVector(t *testing.T, path string) *vector {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := &vector{wrote: map[string][]byte{}, keys: map[string][]byte{}}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		switch f[0] {
		case "libzmq":
			v.libzmq = f[1]
		case "version":
			v.version = f[1]
		case "mechanism":
			v.mechanism = f[1]
		case "socket":
			v.socket, v.identity = f[1], unhex(t, f[2])
		case "peer":
			v.peer, v.peerIdentity = f[1], unhex(t, f[2])
		case "key":
			v.keys[f[1]] = unhex(t, f[2])
		case "C:", "S:":
			v.wrote[f[0][:1]] = append(v.wrote[f[0][:1]], unhex(t, f[1])...)
		case "send", "recv":
			var frames []string
			for _, frame := range strings.Split(f[1], "+") {
				frames = append(frames, string(unhex(t, frame)))
			}
			if f[0] == "send" {
				v.send = append(v.send, batch(frames)...)
			} else {
				v.recv = append(v.recv, batch(frames)...)
			}
		default:
			t.Fatalf("%s: line %q", path, line)
		}
	}
	return v
}

// mechanismOf makes that end's mechanism. In the recordings the listening end is the server.
func (v *vector) mechanismOf(t *testing.T, role string) Mechanism {
	switch {
	case v.mechanism == "NULL":
		return NewNull(role == "S", nil)
	case v.mechanism == "PLAIN" && role == "S":
		return NewPlainServer(letIn("user"))
	case v.mechanism == "PLAIN":
		return NewPlainClient("joe", "secret")
	case role == "S":
		m := must(t)(NewCurveServer(v.keys["server-secret"], letIn("user")))
		m.(*curveServer).short, m.(*curveServer).cookieKey = (*nacl.Key)(v.keys["short"]), (*nacl.Key)(v.keys["cookie"])
		return m
	}
	m := must(t)(NewCurveClient(v.keys["client-public"], v.keys["client-secret"], v.keys["server-public"]))
	m.(*curveClient).short = (*nacl.Key)(v.keys["short"])
	return m
}

// play lets an end of ours hear what was recorded. It gives the session, what the handshake wrote (with Final, and
// the messages say), and the messages that came.
func (v *vector) play(t *testing.T, cfg *Config, hear, say []byte, chunk int) (s *Session, wrote, got []byte) {
	t.Helper()
	stream := &script{in: hear, chunk: chunk}
	s, err := Handshake(stream, cfg)
	if err != nil {
		t.Fatal(err)
	}
	wrote = append(stream.out.Bytes(), s.Final()...)
	wrote = s.Encode(wrote, say)
	rest := append(slices.Clip(s.Rest()), stream.in...)
	if chunk == 0 {
		chunk = len(rest)
	}
	got, _, _, err = trickle(t, s, rest, max(chunk, 1))
	if err != nil {
		t.Fatal(err)
	}
	return s, wrote, got
}

func eachVector(t *testing.T, do func(t *testing.T, v *vector, chunk int)) {
	paths, err := filepath.Glob("testdata/vectors/*.txt")
	if err != nil || len(paths) < 28 {
		t.Fatal("vectors are missing", err, len(paths))
	}
	for _, path := range paths {
		v := readVector(t, path)
		for how, chunk := range chunks {
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txt")+"/"+how, func(t *testing.T) { do(t, v, chunk) })
		}
	}
}

// In libzmq's place we write what it wrote, byte for byte, and understand its peer as it did.
func TestInPlaceOfLibzmq(t *testing.T) {
	eachVector(t, func(t *testing.T, v *vector, chunk int) {
		if v.mechanism == "CURVE" {
			t.Skip("full of random numbers")
		}
		cfg := &Config{SocketType: v.socket, Identity: v.identity, Listening: v.libzmq == "S",
			Mechanism: v.mechanismOf(t, v.libzmq), MaxMessage: -1}
		s, wrote, got := v.play(t, cfg, v.wrote[v.other()], v.send, chunk)
		want := bytes.Clone(v.wrote[v.libzmq])
		if v.mechanism == "PLAIN" && v.libzmq == "S" {
			want[asServerAt] = 1 // libzmq leaves it out
		}
		if !bytes.Equal(wrote, want) {
			t.Errorf("wrote\n%x, libzmq\n%x", wrote, want)
		}
		if !sameMessages(got, v.recv) {
			t.Errorf("got %x, libzmq %x", got, v.recv)
		}
		if s.Version.String() != v.version || !bytes.Equal(s.Identity, v.peerIdentity) || s.SocketType != v.peer && v.version != "1.0" {
			t.Errorf("the peer is %v %s %q", s.Version, s.SocketType, s.Identity)
		}
		if sub := v.socket == "SUB" && v.version == "3.1"; s.Verbatim() != (v.version != "1.0" && !sub) {
			t.Errorf("Verbatim is %v", s.Verbatim())
		}
	})
}

// As libzmq's peer we understand what it wrote.
func TestAgainstLibzmq(t *testing.T) {
	eachVector(t, func(t *testing.T, v *vector, chunk int) {
		if v.version < "3" {
			t.Skip("libzmq answered an older peer, which we are not")
		}
		cfg := &Config{SocketType: v.peer, Identity: v.peerIdentity, Listening: v.libzmq == "C",
			Mechanism: v.mechanismOf(t, v.other()), MaxMessage: -1}
		s, wrote, got := v.play(t, cfg, v.wrote[v.libzmq], nil, chunk)
		if !sameMessages(got, v.send) {
			t.Errorf("got %x, libzmq sent %x", got, v.send)
		}
		if s.SocketType != v.socket || !bytes.Equal(s.Identity, v.identity) {
			t.Errorf("libzmq is %s %q", s.SocketType, s.Identity)
		}
		if v.mechanism == "CURVE" && v.libzmq == "S" { // our HELLO depends on nothing but keys
			if n := greetingSize + 202; !bytes.Equal(wrote[:n], v.wrote["C"][:n]) {
				t.Errorf("wrote\n%x, recorded\n%x", wrote[:n], v.wrote["C"][:n])
			}
		}
	})
}
