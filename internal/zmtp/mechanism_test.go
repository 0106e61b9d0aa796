package zmtp

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/crypto/nacl/box"

	"github.com/libvtx/libvtx/internal/nacl"
)

// keys makes a pair of CURVE keys.
func keys(t testing.TB) (public, secret []byte) {
	t.Helper()
	p, s, err := box.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return p[:], s[:]
}

func must(t testing.TB) func(m Mechanism, err error) Mechanism {
	return func(m Mechanism, err error) Mechanism {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}

// curvePair makes both ends of CURVE.
func curvePair(t testing.TB, auth Authenticate) (client, server Mechanism) {
	t.Helper()
	cp, cs := keys(t)
	sp, ss := keys(t)
	return must(t)(NewCurveClient(cp, cs, sp)), must(t)(NewCurveServer(ss, auth))
}

// letIn is an authentication that lets everybody in, as the user of that name.
func letIn(user string) Authenticate {
	return func(string, ...[]byte) (string, error) { return user, nil }
}

func deny(status string) Authenticate {
	return func(string, ...[]byte) (string, error) { return "", &DeniedError{status, "no"} }
}

// mechanisms are both ends of each mechanism, with good credentials.
var mechanisms = map[string]func(t testing.TB) (dial, listen Mechanism){
	"NULL": func(testing.TB) (Mechanism, Mechanism) { return NewNull(false, nil), NewNull(true, letIn("u")) },
	"PLAIN": func(t testing.TB) (Mechanism, Mechanism) {
		return NewPlainClient("joe", "secret"), NewPlainServer(func(mechanism string, c ...[]byte) (string, error) {
			if mechanism != "PLAIN" || len(c) != 2 || string(c[0]) != "joe" || string(c[1]) != "secret" {
				t.Errorf("asked about %s %q", mechanism, c)
			}
			return "u", nil
		})
	},
	"PLAIN, listener is the client": func(testing.TB) (Mechanism, Mechanism) {
		return NewPlainServer(letIn("")), NewPlainClient("joe", "secret")
	},
	"SASL": func(testing.TB) (Mechanism, Mechanism) {
		return NewSASLClient(saslAnswers{&words{"n", "b", "d"}}), NewSASLServer(saslWords{&words{"a", "c", "e"}})
	},
	"SASL, nothing said first": func(testing.TB) (Mechanism, Mechanism) {
		return NewSASLClient(saslAnswers{&words{"", "n", "b", "d"}}), NewSASLServer(saslWords{&words{"a", "c", ""}})
	},
	"SASL, listener is the client": func(testing.TB) (Mechanism, Mechanism) {
		return NewSASLServer(saslWords{&words{"a"}}), NewSASLClient(saslAnswers{&words{"n"}})
	},
	"CURVE": func(t testing.TB) (Mechanism, Mechanism) {
		cp, cs := keys(t)
		sp, ss := keys(t)
		server := must(t)(NewCurveServer(ss, func(mechanism string, c ...[]byte) (string, error) {
			if mechanism != "CURVE" || len(c) != 1 || !bytes.Equal(c[0], cp) {
				t.Errorf("asked about %s %x, not %x", mechanism, c, cp)
			}
			return "u", nil
		}))
		return must(t)(NewCurveClient(cp, cs, sp)), server
	},
	"CURVE, listener is the client": func(t testing.TB) (Mechanism, Mechanism) {
		client, server := curvePair(t, nil)
		return server, client
	},
}

// property is what the peer has told of that name.
func property(s *Session, name string) []byte {
	value, _ := s.Properties.Get(name)
	return value
}

func TestBothEnds(t *testing.T) {
	for name, pair := range mechanisms {
		for how, chunk := range chunks {
			t.Run(name+"/"+how, func(t *testing.T) {
				dm, lm := pair(t)
				dial := &Config{SocketType: "DEALER", Identity: []byte("me"), Mechanism: dm, MaxMessage: -1,
					Metadata: Metadata{{"X-Colour", []byte("red")}}}
				listen := &Config{SocketType: "ROUTER", Mechanism: lm, MaxMessage: -1}
				d, l, err1, err2 := ends(chunk, dial, listen)
				if err1 != nil || err2 != nil {
					t.Fatal(err1, err2)
				}
				if d.Version != V31 || l.Version != V31 || d.SocketType != "ROUTER" || l.SocketType != "DEALER" ||
					string(l.Identity) != "me" || len(d.Identity) != 0 || string(property(l, "x-colour")) != "red" {
					t.Fatalf("%+v\n%+v", d, l)
				}
				if want := map[bool]string{true: "u"}[lm.Server() || lm.Name() == "NULL"]; l.User != want {
					t.Fatalf("user %q, not %q", l.User, want)
				}
				if client := !lm.Server() && lm.Name() != "NULL"; (l.Final() == nil) != client || d.Final() != nil {
					t.Fatal("the listener's last word is held back if it has one, the dialer's never")
				}
				if sealed := dm.Name() == "CURVE"; d.Verbatim() == sealed || l.Verbatim() == sealed {
					t.Fatal("Verbatim is ", d.Verbatim())
				}
				talk(t, d, l, chunk)
				talk(t, l, d, chunk)
			})
		}
	}
}

// talk sends messages and controls from one end to the other.
func talk(t *testing.T, from, to *Session, chunk int) {
	t.Helper()
	b := batch([]string{"a", "", "c"}, []string{strings.Repeat("x", 300)}, []string{""}, []string{"", strings.Repeat("y", 222)},
		[]string{strings.Repeat("z", 190), strings.Repeat("z", 255), strings.Repeat("z", 70_000)})
	wire := from.Encode(nil, b)
	wire = from.AppendPing(wire, 300, []byte("0123456789abcdefTOO LONG"))
	wire = from.AppendPong(wire, []byte("ctx"))
	wire = from.Encode(wire, b)
	wire = from.AppendError(wire, "enough")
	if chunk == 0 {
		chunk = len(wire)
	}
	got, n, controls, err := trickle(t, to, wire, max(chunk, 4)*3)
	if err != nil || n != 10 || !sameMessages(got, append(b[:len(b):len(b)], b...)) {
		t.Fatal(err, n, len(got))
	}
	if len(controls) != 3 || controls[0].Control != Ping || controls[0].TTL != 300 ||
		string(controls[0].Context) != "0123456789abcdef" || controls[1].Control != Pong ||
		string(controls[1].Context) != "ctx" || controls[2].Control != Error || controls[2].Reason != "enough" {
		t.Fatalf("%+v", controls)
	}
}

// sameMessages compares batches; a frame may be LONG without need.
func sameMessages(a, b []byte) bool {
	for len(a) > 0 && len(b) > 0 {
		fa, ba, ra := cut(a)
		fb, bb, rb := cut(b)
		if fa != fb || !bytes.Equal(ba, bb) {
			return false
		}
		a, b = ra, rb
	}
	return len(a) == len(b)
}

func TestDenied(t *testing.T) {
	for _, status := range []string{"400", "500", "300"} {
		for name, pair := range map[string]func() (Mechanism, Mechanism){
			"NULL":  func() (Mechanism, Mechanism) { return NewNull(false, nil), NewNull(true, deny(status)) },
			"PLAIN": func() (Mechanism, Mechanism) { return NewPlainClient("a", "b"), NewPlainServer(deny(status)) },
			"CURVE": func() (Mechanism, Mechanism) { return curvePair(t, deny(status)) },
		} {
			t.Run(name+" "+status, func(t *testing.T) {
				dm, lm := pair()
				_, _, err1, err2 := ends(0, &Config{SocketType: "PUSH", Mechanism: dm}, &Config{SocketType: "PULL", Mechanism: lm})
				var denied *DeniedError
				if !errors.As(err2, &denied) || denied.Status != status {
					t.Fatalf("the server's error: %v", err2)
				}
				var refused *RefusedError
				if status == "300" {
					if !errors.Is(err1, io.EOF) {
						t.Fatalf("the client, that was told nothing: %v", err1)
					}
				} else if !errors.As(err1, &refused) || refused.Reason != status {
					t.Fatalf("the client: %v", err1)
				}
			})
		}
	}
	noAnswer := errors.New("nobody answers")
	_, _, err1, err2 := ends(0, &Config{Mechanism: NewNull(false, nil)},
		&Config{Mechanism: NewNull(true, func(string, ...[]byte) (string, error) { return "", noAnswer })})
	if !errors.Is(err1, io.EOF) || err2 != noAnswer {
		t.Fatal(err1, err2)
	}
	// A dialer can turn its peer away, too, if only after its own READY.
	_, l, err1, err2 := ends(0, &Config{Mechanism: NewNull(false, deny("400"))}, &Config{Mechanism: NewNull(true, nil)})
	var denied *DeniedError
	if !errors.As(err1, &denied) || err2 != nil || l == nil {
		t.Fatal(err1, err2)
	}
	if _, _, err1, err2 := ends(0, &Config{Mechanism: NewPlainClient("a", "b")}, &Config{Mechanism: NewPlainServer(nil)}); err1 == nil || err2 == nil {
		t.Fatal("a password that nobody checked was good enough")
	}
}

func TestWrongKeys(t *testing.T) {
	cp, cs := keys(t)
	sp, ss := keys(t)
	if _, err := NewCurveClient(cp, ss, sp); err == nil {
		t.Fatal("keys that are no pair")
	}
	if _, err := NewCurveServer(ss[:31], nil); err == nil {
		t.Fatal("a short key")
	}
	// The client wants another server.
	_, _, _, err := ends(0, &Config{Mechanism: must(t)(NewCurveClient(cp, cs, cp))}, &Config{Mechanism: must(t)(NewCurveServer(ss, nil))})
	if !errors.Is(err, ErrSecurity) {
		t.Fatal(err)
	}
	// The client vouches with a key that is not the one it shows.
	c := must(t)(NewCurveClient(cp, cs, sp)).(*curveClient)
	c.secret = (*nacl.Key)(ss)
	_, _, _, err = ends(0, &Config{Mechanism: c}, &Config{Mechanism: must(t)(NewCurveServer(ss, letIn("?")))})
	if !errors.Is(err, ErrSecurity) {
		t.Fatal(err)
	}
}

func TestMechanismsDiffer(t *testing.T) {
	client, server := curvePair(t, nil)
	client2, server2 := curvePair(t, nil)
	for name, c := range map[string][2]Mechanism{
		"NULL, PLAIN":   {NewNull(false, nil), NewPlainServer(letIn(""))},
		"PLAIN, CURVE":  {NewPlainClient("", ""), server},
		"CURVE, NULL":   {client, NewNull(true, nil)},
		"two servers":   {server, server2},
		"two clients":   {client, client2},
		"PLAIN servers": {NewPlainServer(letIn("")), NewPlainServer(letIn(""))},
		"PLAIN clients": {NewPlainClient("", ""), NewPlainClient("", "")},
	} {
		_, _, err1, err2 := ends(0, &Config{Mechanism: c[0]}, &Config{Mechanism: c[1]})
		if !errors.Is(err1, ErrMechanism) && !errors.Is(err2, ErrMechanism) {
			t.Errorf("%s: %v, %v", name, err1, err2)
		}
	}
}

// Each byte of a handshake's commands counts: with any one changed the two ends do not come together, except where
// NULL and PLAIN carry nothing but text.
func TestCurveTampered(t *testing.T) {
	cp, cs := keys(t)
	sp, ss := keys(t)
	for step, what := range []string{"HELLO", "WELCOME", "INITIATE", "READY"} {
		for at := 0; ; at++ {
			client := must(t)(NewCurveClient(cp, cs, sp))
			server := must(t)(NewCurveServer(ss, nil))
			command, err := client.Begin([]byte{})
			if err != nil {
				t.Fatal(err)
			}
			server.Begin([]byte{})
			to, other := server, client
			for range step {
				if command, _, err = to.Next(command); err != nil {
					t.Fatal(err)
				}
				to, other = other, to
			}
			if at == len(command) {
				break
			}
			if what == "HELLO" && at >= 8 && at < 8+helloZeros {
				continue // padding that is not looked at
			}
			command[at] ^= 0x40
			if _, _, err := to.Next(command); !errors.Is(err, ErrSecurity) && !errors.Is(err, ErrProtocol) {
				t.Fatalf("byte %d of %s: %v", at, what, err)
			}
		}
	}
}

func TestCurveReplayed(t *testing.T) {
	client, server := curvePair(t, nil)
	d, l, err1, err2 := ends(0, &Config{SocketType: "PUSH", Mechanism: client}, &Config{SocketType: "PULL", Mechanism: server, MaxMessage: -1})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	one, two := d.Encode(nil, batch([]string{"one"})), d.Encode(nil, batch([]string{"two"}))
	wire := append(append([]byte{}, two...), one...) // in the wrong order
	got, err := l.Decode(wire)
	if !errors.Is(err, ErrSecurity) || got.Count != 1 || !bytes.Equal(got.Messages, batch([]string{"two"})) || got.Used != len(two) {
		t.Fatalf("%v %+v", err, got)
	}
	if got, err = l.Decode(d.Encode(nil, batch([]string{"three"}))); !errors.Is(err, ErrSecurity) || got.Count != 0 {
		t.Fatal("a session that failed goes on", err)
	}
}

func TestCurveOpenAppends(t *testing.T) {
	client, server := curvePair(t, nil)
	d, l, err1, err2 := ends(0, &Config{Mechanism: client}, &Config{Mechanism: server})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	for _, before := range []string{"", "x", "before"} {
		for _, flags := range []byte{0, flagMore, flagCommand} {
			frame := string(appendFrame(nil, flags, []byte("body")))
			sealed, _ := d.sealer.SealFrame([]byte("other"), flags, []byte("body"))
			sealed, _ = d.sealer.Seal(sealed, []byte(frame))
			if string(sealed[:5]) != "other" {
				t.Fatal("Seal does not append")
			}
			out, used, err := l.sealer.Open([]byte(before), sealed[5:])
			if err != nil || used != len(sealed[5:]) || string(out) != before+frame+frame {
				t.Fatalf("%v %q", err, out)
			}
		}
	}
}

func TestCurveSameAgain(t *testing.T) {
	f, o := sealedPair(t, "PUSH", "PULL", -1)
	wire := f.Encode(nil, batch([]string{"once"}))
	if d, err := o.Decode(append(wire, wire...)); !errors.Is(err, ErrSecurity) || d.Count != 1 {
		t.Fatal(err, d.Count)
	}
}

// A client that knows its keys, but does not keep to the rules.
func TestCurveCheats(t *testing.T) {
	var hashed [32]byte
	box.Precompute(&hashed, new([32]byte), new([32]byte))
	lowOrder := func(shared *[32]byte) func(*curveClient, *curveServer, []byte) []byte {
		return func(_ *curveClient, _ *curveServer, hello []byte) []byte {
			at := 8 + helloZeros
			clear(hello[at : at+keySize])
			at += keySize + shortNonce
			n := nonce("CurveZMQHELLO---", hello[at-shortNonce:at])
			return box.SealAfterPrecomputation(hello[:at], make([]byte, signedZeros), n, shared)
		}
	}
	for name, cheat := range map[string]func(client *curveClient, server *curveServer, hello []byte) []byte{
		"honest": func(_ *curveClient, _ *curveServer, hello []byte) []byte { return hello },
		"signature of other than zeros": func(c *curveClient, _ *curveServer, hello []byte) []byte {
			at := len(hello) - box.Overhead - signedZeros
			n := nonce("CurveZMQHELLO---", hello[at-shortNonce:at])
			return box.Seal(hello[:at], bytes.Repeat([]byte{1}, signedZeros), n, (*[32]byte)(c.server), (*[32]byte)(c.short))
		},
		"other version": func(_ *curveClient, _ *curveServer, hello []byte) []byte {
			hello[6] = 2
			return hello
		},
		"vouch for another key": func(c *curveClient, _ *curveServer, hello []byte) []byte {
			c.shortPublic = nacl.Public(randomKey())
			return hello
		},
		"nonce again": func(c *curveClient, _ *curveServer, hello []byte) []byte {
			at := len(hello) - box.Overhead - signedZeros
			counter := []byte{0, 0, 0, 0, 0, 0, 0, 2} // INITIATE will have it, too
			return box.Seal(append(hello[:at-shortNonce], counter...), make([]byte, signedZeros), nonce("CurveZMQHELLO---", counter), (*[32]byte)(c.server), (*[32]byte)(c.short))
		},
		"short key of low order": lowOrder(new([32]byte)), // the secret of all with it, before it is hashed
		"and hashed":             lowOrder(&hashed),
	} {
		cm, sm := curvePair(t, letIn("u"))
		client, server := cm.(*curveClient), sm.(*curveServer)
		hello, _ := client.Begin(nil)
		server.Begin(nil)
		welcome, _, err := server.Next(cheat(client, server, hello))
		if err == nil {
			var initiate []byte
			if initiate, _, err = client.Next(welcome); err != nil {
				t.Fatal(name, err)
			}
			_, _, err = server.Next(initiate)
		}
		if honest := name == "honest"; (err == nil) != honest || !honest && !errors.Is(err, ErrSecurity) && !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// words are an exchange in which an end says one after the other; "" is nothing at all.
type words []string

func (w *words) say() []byte {
	if len(*w) == 0 {
		return nil
	}
	next := (*w)[0]
	if *w = (*w)[1:]; next == "" {
		return nil
	}
	return []byte(next)
}

// saslWords are a server's, saslAnswers a client's, who is content when all are said.
type (
	saslWords   struct{ *words }
	saslAnswers struct{ *words }
)

func (saslWords) Offers() []string { return []string{"OTHER", "WORDS"} }
func (saslWords) User() string     { return "u" }

func (s saslWords) Start(mechanism string, response []byte) ([]byte, bool, error) {
	if mechanism != "WORDS" || string(response) != "n" {
		return nil, false, &DeniedError{"400", "no"}
	}
	return s.Next(nil)
}

func (s saslWords) Next([]byte) ([]byte, bool, error) {
	return s.say(), len(*s.words) == 0, nil
}

func (s saslAnswers) Start(offers []string) (string, []byte, error) {
	return offers[len(offers)-1], s.say(), nil
}

func (s saslAnswers) Next([]byte) ([]byte, error) { return s.say(), nil }

func (s saslAnswers) Finish([]byte) error {
	if len(*s.words) > 0 {
		return ErrSecurity
	}
	return nil
}
