package hostile

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/libvtx/libvtx/vtx"
)

const oddLogins = 20_000

func logins(x *transport) bool { return strings.HasPrefix(x.name, "sasl") }

// login is a raw connection in SASL.md's log-in.
type login struct {
	net.Conn
	wire net.Conn
}

// login connects from an address of its own, so that nobody's failures slow it down, and reads what is offered.
func (s *stage) login(from uint32) (*login, error) {
	wire, err := s.x.wire(s.at[vtx.Router], loopback(from))
	if err != nil {
		return nil, err
	}
	wire.SetDeadline(time.Now().Add(*patient))
	l := &login{wire, wire}
	if s.x.over != nil {
		l.Conn = s.x.over(s.k, wire)
	}
	greeting := make([]byte, 64)
	copy(greeting, "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01SASL")
	l.Write(greeting)
	io.ReadFull(l, greeting)
	if offer := l.read(); !bytes.HasPrefix(offer, []byte("\x0aMECHANISMS")) {
		wire.Close()
		return nil, fmt.Errorf("instead of MECHANISMS: %q", offer)
	}
	return l, nil
}

func (l *login) read() []byte { return (&curveClient{conn: l}).read() }

// say sends a command and reads the answer; nil: the server has hung up.
func (l *login) say(command string) []byte {
	l.Write(appendFrame(nil, 4, []byte(command)))
	return l.read()
}

// end leaves no connection in TIME_WAIT.
func (l *login) end() {
	if tcp, ok := l.wire.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	l.wire.Close()
}

const (
	authFirst = "\x04AUTH\x0dSCRAM-SHA-256\x01"
	first     = authFirst + "n,,n=alice,r=fyko+d2lbbFgONRv9qkxdawL"
	response  = "\x08RESPONSE"
	plainAuth = "\x04AUTH\x05PLAIN\x01"
)

// oddities are log-ins that must fail. In a response %s is the nonce of this log-in, %S one of another's.
var oddities = [][]string{
	{response}, {"\x08INITIATE"}, {"\x07SUCCESS\x00"}, {"\x0aMECHANISMS\x05PLAIN"}, {"\x09CHALLENGE"}, {"\x05ERROR\x03400"}, {"\x05READY"}, {"\x00"}, {""},
	{first, "\x08INITIATE"}, {first, first}, {first, "\x07SUCCESS\x00"}, {first, response}, {first, response + strings.Repeat("\x00", 100)},
	{"\x04AUTH"}, {"\x04AUTH\x00\x01"}, {"\x04AUTH\x15AAAAAAAAAAAAAAAAAAAAA\x01"}, {"\x04AUTH\x0dscram-sha-256\x01"}, {"\x04AUTH\x05NOPE!\x01"},
	{"\x04AUTH\x0dSCRAM-SHA-256"}, {"\x04AUTH\x0dSCRAM-SHA-256\x02"}, {"\x04AUTH\x0dSCRAM-SHA-256\x00", response}, {"\x04AUTH\xffSCRAM-SHA-256\x01"},
	{authFirst}, {authFirst + "n,,"}, {authFirst + "n,,n=,r=abc"}, {authFirst + "n,,n=alice,r="}, {authFirst + "n,,n=alice"}, {authFirst + "n,,r=abc,n=alice"},
	{authFirst + "n,a=bob,n=alice,r=abc", response + "c=bixhPWJvYiw=,r=%s,p=AAAA"}, {authFirst + "p=tls-unique,,n=alice,r=abc"}, {authFirst + "p=tls-exporter,,n=alice,r=abc"},
	{authFirst + "y,,n=alice,r=abc", response + "c=eSws,r=%s,p=AAAA"}, {authFirst + "x,,n=alice,r=abc"}, {authFirst + "n,,m=ext,n=alice,r=abc"}, {authFirst + "n,,n=al=XXice,r=abc"},
	{authFirst + "n,,n=al\x00ice,r=abc"}, {authFirst + "n,,n=\xff\xfe,r=abc"}, {authFirst + "n,,n=alice,r=a\x00bc"}, {authFirst + "n,,n=alice,r=a\x1b[31m\nbc"},
	{authFirst + "n,,n=" + strings.Repeat("a", 60_000) + ",r=abc"}, {authFirst + "n,,n=alice,r=" + strings.Repeat("a", 60_000)}, {authFirst + strings.Repeat("=", 60_000)},
	{first, response + "c=biws,r=%s"}, {first, response + "c=biws,r=%s,p="}, {first, response + "c=biws,r=%s,p=!!!!"}, {first, response + "c=biws,r=%s,p=AAA"},
	{first, response + "c=eSws,r=%s,p=AAAA"}, {first, response + "c=biws,r=%S,p=AAAA"}, {first, response + "c=biws,r=,p=AAAA"}, {first, response + "c=,r=%s,p=AAAA"},
	{first, response + "c=biws,r=%s,p=" + strings.Repeat("A", 60_000)}, {first, response + "c=biws,r=%s\x00,p=AAAA"}, {first, response + "r=%s,c=biws,p=AAAA"},
	{first, response + "c=biws,r=%s,p=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}, {first, response + strings.Repeat(",", 10_000)},
	{plainAuth}, {plainAuth + "alice"}, {plainAuth + "\x00\x00"}, {plainAuth + "\x00alice\x00"}, {plainAuth + "\x00\x00pencil"}, {plainAuth + "\x00alice\x00pencil\x00"},
	{plainAuth + "bob\x00alice\x00pencil"}, {plainAuth + "\x00alice\x00wrong"}, {plainAuth + "\x00" + strings.Repeat("a", 30_000) + "\x00" + strings.Repeat("b", 30_000)},
	{plainAuth + "\x00al\nice\x00\x1b[31m"},
}

// Log-ins that are out of order, endless, empty, or made of others' let nobody in, end, and disturb nobody.
func TestOddLogins(t *testing.T) {
	each(t, logins, func(t *testing.T, x *transport) {
		s := newStage(t, x, &sasl, []part{parts[0]})
		s.replayed(3)
		n, random := max(len(oddities), portion(oddLogins)), chance(t, 0)
		for i := range n {
			odd := oddities[i%len(oddities)]
			s.odd(odd, i >= len(oddities), random, uint32(10+i))
			if i%100 == 0 {
				s.served()
			}
		}
		s.served()
		s.settled(48<<10, 60)
	})
}

// odd plays one, changed at random if it has been played as it is.
func (s *stage) odd(commands []string, change bool, random *rand.Rand, from uint32) {
	s.t.Helper()
	l, err := s.login(from)
	if err != nil {
		s.fail("%v", err)
	}
	defer l.end()
	l.wire.SetDeadline(time.Now().Add(20 * time.Millisecond)) // a changed length makes the server wait for more
	if !change {
		l.wire.SetDeadline(time.Now().Add(*patient))
	}
	nonce := "another+nonce"
	var answer []byte
	for _, command := range commands {
		command = strings.ReplaceAll(strings.ReplaceAll(command, "%s", nonce), "%S", "fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j")
		b := []byte(command)
		if change {
			b = mutate(random, b)
		}
		s.last.add("log-in", b)
		if answer = l.say(string(b)); answer == nil {
			return
		}
		if _, rest, found := bytes.Cut(answer, []byte("r=")); found {
			value, _, _ := bytes.Cut(rest, []byte(","))
			nonce = string(value)
		}
		if bytes.HasPrefix(answer, []byte("\x07SUCCESS")) {
			s.fail("let in: %.200q", commands)
		}
	}
	if !bytes.HasPrefix(answer, []byte("\x05ERROR")) && !change {
		// A challenge is an answer to what was well-formed so far; the end has to come then, too
		if answer = l.say("\x08INITIATE"); answer != nil && !bytes.HasPrefix(answer, []byte("\x05ERROR")) {
			s.fail("%.200q is answered by %q", commands, answer)
		}
	}
	if _, err := io.Copy(io.Discard, l); isTimeout(err) && !change {
		s.fail("nobody hangs up: %.200q", commands)
	}
}

// replayed: what let alice in once, sent again on another connection, lets nobody in.
func (s *stage) replayed(times int) {
	s.t.Helper()
	for i := range times {
		from := uint32(1 + i)
		client := must(scram.SHA256.NewClient("alice", "pencil", "")).NewConversation()
		begin := must(client.Step(""))
		l, err := s.login(from)
		if err != nil {
			s.fail("%v", err)
		}
		challenge, found := bytes.CutPrefix(l.say(authFirst+begin), []byte("\x09CHALLENGE"))
		if !found {
			s.fail("instead of CHALLENGE: %q", challenge)
		}
		proof := response + must(client.Step(string(challenge)))
		if answer := l.say(proof); !bytes.HasPrefix(answer, []byte("\x07SUCCESS")) {
			s.fail("a good proof is answered by %q", answer)
		}
		l.end()
		if l, err = s.login(from); err != nil {
			s.fail("%v", err)
		}
		l.say(authFirst + begin)
		if answer := l.say(proof); bytes.HasPrefix(answer, []byte("\x07SUCCESS")) {
			s.fail("an old proof is good again")
		}
		l.end()
	}
}

// guess logs in with a wrong password, and takes the time of both answers.
func (s *stage) guess(user string, from uint32) (challenge, refusal []byte, times [2]time.Duration) {
	s.t.Helper()
	l, err := s.login(from)
	if err != nil {
		s.fail("%v", err)
	}
	defer l.end()
	began := time.Now()
	challenge = l.say(authFirst + "n,,n=" + user + ",r=fyko+d2lbbFgONRv9qkxdawL")
	times[0] = time.Since(began)
	_, nonce, _ := bytes.Cut(challenge, []byte("r="))
	nonce, _, _ = bytes.Cut(nonce, []byte(","))
	proof := response + "c=biws,r=" + string(nonce) + ",p=" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	began = time.Now()
	refusal = l.say(proof)
	times[1] = time.Since(began)
	return challenge, refusal, times
}

// shape is what a challenge tells about a user, but for the salt's own bytes.
func shape(challenge []byte) string {
	_, rest, _ := strings.Cut(string(challenge), ",s=")
	salt, count, _ := strings.Cut(rest, ",")
	return fmt.Sprintf("%d bytes, salt of %d, %s", len(challenge), len(salt), count)
}

// manyUsers replaces the file of users by one of n more, named as name says, who all have alice's verifiers.
func (s *stage) manyUsers(n int, name func(int) string) {
	s.t.Helper()
	old, err := os.ReadFile(s.k.users)
	if err != nil {
		s.t.Fatal(err)
	}
	var file bytes.Buffer
	file.Write(old)
	for line := range strings.Lines(string(old)) {
		if verifier, found := strings.CutSuffix(line, " alice\n"); found {
			for i := range n {
				fmt.Fprintf(&file, "%s %s\n", verifier, name(i))
			}
		}
	}
	if err := os.WriteFile(s.k.users+".new", file.Bytes(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(s.k.users+".new", s.k.users); err != nil {
		s.t.Fatal(err)
	}
}
