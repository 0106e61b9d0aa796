package hostile

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/nacl"
	"github.com/libvtx/libvtx/vtx"
)

// curveClient is an attacker's end of CURVE (RFC 26), of which each part can be another's.
type curveClient struct {
	conn                net.Conn
	long, short         pair
	server, serverShort *nacl.Key
	cookie              []byte
	number              uint64
}

type pair struct{ public, secret *nacl.Key }

func anyPair() pair {
	public, secret := newPair()
	return pair{public, secret}
}

func counter(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func nonceOf(prefix string, rest []byte) *[nacl.NonceSize]byte {
	n := [nacl.NonceSize]byte(append([]byte(prefix), rest...))
	return &n
}

func sharedKey(public, secret *nacl.Key) *nacl.Key {
	k, _ := nacl.Share(public, secret)
	return k
}

// welcomed connects and goes as far as WELCOME.
func (s *stage) welcomed(long pair) *curveClient {
	s.t.Helper()
	conn, err := s.x.wire(s.at[vtx.Router], loopback(1))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(*patient))
	c := &curveClient{conn: conn, long: long, short: anyPair(), server: s.k.curve.server, number: 2}
	greeting := make([]byte, 64)
	copy(greeting, "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01CURVE")
	c.conn.Write(append(greeting, appendFrame(nil, 4, c.hello())...))
	io.ReadFull(c.conn, greeting)
	welcome := c.read()
	const head = len("\x07WELCOME")
	if !bytes.HasPrefix(welcome, []byte("\x07WELCOME")) || len(welcome) != head+160 {
		s.t.Fatalf("instead of WELCOME: %q", welcome)
	}
	opened, ok := nacl.Open(nil, welcome[head+16:], nonceOf("WELCOME-", welcome[head:head+16]), sharedKey(c.server, c.short.secret))
	if !ok {
		s.t.Fatal("WELCOME does not open")
	}
	k := nacl.Key(opened[:32])
	c.serverShort, c.cookie = &k, opened[32:]
	return c
}

func (c *curveClient) hello() []byte {
	signature := nacl.Seal(nil, make([]byte, 64), nonceOf("CurveZMQHELLO---", counter(1)), sharedKey(c.server, c.short.secret))
	b := append([]byte("\x05HELLO\x01\x00"), make([]byte, 72)...)
	return append(append(append(b, c.short.public[:]...), counter(1)...), signature...)
}

// vouch is for a short-term key, by the long-term secret key, for this server's two keys.
func vouch(short, long *nacl.Key, server, serverShort *nacl.Key) []byte {
	random := make([]byte, 16)
	rand.Read(random)
	box := nacl.Seal(nil, append(bytes.Clone(short[:]), server[:]...), nonceOf("VOUCH---", random), sharedKey(serverShort, long))
	return append(random, box...)
}

func (c *curveClient) goodVouch() []byte {
	return vouch(c.short.public, c.long.secret, c.server, c.serverShort)
}

// initiate makes an INITIATE of these parts.
func (c *curveClient) initiate(cookie []byte, long *nacl.Key, vouch []byte) []byte {
	metadata := "\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
	content := append(append(bytes.Clone(long[:]), vouch...), metadata...)
	box := nacl.Seal(nil, content, nonceOf("CurveZMQINITIATE", counter(c.number)), sharedKey(c.serverShort, c.short.secret))
	b := append([]byte("\x08INITIATE"), cookie...)
	return append(append(b, counter(c.number)...), box...)
}

func (c *curveClient) message(number uint64, body string) []byte {
	box := nacl.Seal(nil, append([]byte{0}, body...), nonceOf("CurveZMQMESSAGEC", counter(number)), sharedKey(c.serverShort, c.short.secret))
	return appendFrame(nil, 0, append(append([]byte("\x07MESSAGE"), counter(number)...), box...))
}

// read reads the next frame's body; nil at the connection's end.
func (c *curveClient) read() []byte {
	head := make([]byte, 9)
	if _, err := io.ReadFull(c.conn, head[:2]); err != nil {
		return nil
	}
	n := uint64(head[1])
	if head[0]&2 != 0 {
		if _, err := io.ReadFull(c.conn, head[2:]); err != nil {
			return nil
		}
		n = binary.BigEndian.Uint64(head[1:])
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.conn, b); err != nil {
		return nil
	}
	return b
}

// refused sends commands and wants that the server hangs up without READY.
func (s *stage) refused(c *curveClient, what string, commands ...[]byte) {
	s.t.Helper()
	for _, command := range commands {
		c.conn.Write(appendFrame(nil, 4, command))
		s.last.add(what, command)
	}
	c.conn.Write(c.message(c.number+1, "forged"))
	for {
		answer := c.read()
		if answer == nil {
			break
		}
		if bytes.HasPrefix(answer, []byte("\x05READY")) {
			s.fail("%s: let in", what)
		}
	}
	if _, err := io.Copy(io.Discard, c.conn); isTimeout(err) {
		s.fail("%s: nobody hangs up", what)
	}
	c.conn.Close()
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// Parts of another connection's handshake, or another's name, open no door; and what was sealed once is taken once.
func TestCurveMixUps(t *testing.T) {
	each(t, func(x *transport) bool { return x.stock }, func(t *testing.T, x *transport) {
		s := newStage(t, x, &curve, []part{parts[0]})
		for round := range portion(400) {
			s.mixUps()
			if round%10 == 0 {
				s.served()
			}
		}
		s.served()
		s.settled(48<<10, 60)
	})
}

func (s *stage) mixUps() {
	s.t.Helper()
	alice := pair{s.k.curve.client, s.k.curve.clientSecret}
	mallory := anyPair()

	// To begin with: a good one is let in, so that what is refused below is not refused for another reason
	good := s.welcomed(alice)
	initiate := good.initiate(good.cookie, good.long.public, good.goodVouch())
	good.conn.Write(appendFrame(nil, 4, initiate))
	if ready := good.read(); !bytes.HasPrefix(ready, []byte("\x05READY")) {
		s.fail("a good INITIATE is answered by %q", ready)
	}

	c, other := s.welcomed(mallory), s.welcomed(alice)
	s.refused(c, "an INITIATE of another connection", other.initiate(other.cookie, other.long.public, other.goodVouch()))
	c = s.welcomed(mallory)
	s.refused(c, "an INITIATE that was good once", initiate)
	c = s.welcomed(mallory)
	s.refused(c, "another connection's cookie", c.initiate(other.cookie, mallory.public, c.goodVouch()))
	c = s.welcomed(mallory)
	s.refused(c, "a cookie that was good once", c.initiate(good.cookie, mallory.public, c.goodVouch()))
	c = s.welcomed(mallory)
	bad := bytes.Clone(c.cookie)
	bad[len(bad)-1] ^= 1
	s.refused(c, "a changed cookie", c.initiate(bad, mallory.public, c.goodVouch()))
	c = s.welcomed(mallory)
	s.refused(c, "alice's key and mallory's vouch", c.initiate(c.cookie, alice.public, c.goodVouch()))
	c = s.welcomed(mallory)
	s.refused(c, "alice's vouch of another connection", c.initiate(c.cookie, alice.public, other.goodVouch()))
	c = s.welcomed(mallory)
	s.refused(c, "a vouch for another short-term key", c.initiate(c.cookie, mallory.public, vouch(other.short.public, mallory.secret, c.server, c.serverShort)))
	c = s.welcomed(mallory)
	s.refused(c, "a vouch for another server", c.initiate(c.cookie, mallory.public, vouch(c.short.public, mallory.secret, mallory.public, c.serverShort)))
	c = s.welcomed(mallory)
	s.refused(c, "HELLO twice", c.hello())
	c = s.welcomed(mallory)
	c.number = 1
	s.refused(c, "INITIATE with HELLO's nonce", c.initiate(c.cookie, mallory.public, c.goodVouch()))
	c = s.welcomed(mallory)
	c.number = 0
	s.refused(c, "INITIATE with the nonce 0", c.initiate(c.cookie, mallory.public, c.goodVouch()))
	other.conn.Close()

	s.replays(good, 3)
	for _, second := range []uint64{2, 1, 0} {
		c := s.welcomed(alice)
		c.conn.Write(appendFrame(nil, 4, c.initiate(c.cookie, alice.public, c.goodVouch())))
		c.read()
		s.replays(c, second)
	}
}

// replays sends a box with nonce 3, and then one with another that is no later. The first is echoed, the second is not.
func (s *stage) replays(c *curveClient, second uint64) {
	s.t.Helper()
	body := fmt.Sprintf("box 3, then %d", second)
	c.conn.Write(append(c.message(3, body), c.message(second, body)...))
	echoes := 0
	for c.read() != nil {
		echoes++
	}
	if _, err := io.Copy(io.Discard, c.conn); isTimeout(err) {
		s.fail("%s: nobody hangs up", body)
	}
	// The end of the connection may overtake the echo
	if echoes > 1 {
		s.fail("%s: echoed %d times", body, echoes)
	}
	c.conn.Close()
}
