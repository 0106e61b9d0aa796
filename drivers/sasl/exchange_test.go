package sasl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/libvtx/libvtx/drivers/sasl/passwd"
	"github.com/libvtx/libvtx/internal/zmtp"
	"github.com/libvtx/libvtx/vtx"
)

// Both ends of the log-in without a network between them: what one says, the test hands to the other, or something else.

// user is whom every server here knows. Iterations are few, so that tests are fast.
const user, password = "user", "pencil"

func parsed(t testing.TB, content string) *store {
	t.Helper()
	name := filepath.Join(t.TempDir(), "vtx.passwd")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := newStore(name, func(news string) { t.Error(news) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// users makes a file of one user.
func users(t testing.TB) *store {
	return parsed(t, string(fileOf(t, password).Bytes()))
}

func fileOf(t testing.TB, password string) *passwd.File {
	f := passwd.New()
	if err := errors.Join(f.SetIterations(passwd.MinIterations), f.Set(user, password)); err != nil {
		t.Fatal(err)
	}
	return f
}

// bound is a TLS connection, of which there are as many as numbers.
func bound(n byte) *channel {
	return &channel{tls: true, binding: scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: bytes.Repeat([]byte{n}, 32)}}
}

// entry makes the server's end of one connection.
func (s *server) entry(ch *channel, ask vtx.Ask) *serverExchange {
	return &serverExchange{server: s, channel: ch, ctx: context.Background(), ask: ask, address: "127.0.0.1"}
}

func newTestServer(t testing.TB) *server {
	return &server{users: users(t), failures: newFailures()}
}

func newTestClient(password string, only ...string) *client {
	c := &client{username: user, password: password, scrams: make(map[string]*scram.Client)}
	c.only = only
	for _, name := range strongest {
		if _, isScram := scramHash(name); (isScram || name == "PLAIN") && (only == nil || c.named(name)) {
			c.can = append(c.can, name)
		}
	}
	return c
}

func (c *client) entry(ch *channel) *clientExchange { return &clientExchange{client: c, channel: ch} }

// unslowed makes the server's end of one connection as if nobody had failed before.
func (s *server) unslowed(ch *channel, ask vtx.Ask) *serverExchange {
	x := s.entry(ch, ask)
	x.server = &server{settings: s.settings, users: s.users, failures: newFailures()}
	return x
}

// said is one command.
type said struct {
	byServer bool
	body     []byte
}

// name is the command's.
func (s said) name() string { return string(s.body[1 : 1+s.body[0]]) }

// converse runs the mechanisms of both ends until one fails or both are done. meddle may change what is said.
func converse(client, server zmtp.Mechanism, meddle func(said) []byte) (all []said, clientErr, serverErr error) {
	pass := func(s said) []byte {
		all = append(all, said{s.byServer, append([]byte{}, s.body...)})
		if meddle == nil {
			return s.body
		}
		return meddle(s)
	}
	if _, err := client.Begin([]byte("client's")); err != nil {
		return nil, err, nil
	}
	words, err := server.Begin([]byte("server's"))
	if err != nil {
		return nil, nil, err
	}
	for {
		answer, clientDone, err := client.Next(pass(said{true, words}))
		if err != nil || clientDone {
			return all, err, nil
		}
		if words, _, err = server.Next(pass(said{false, answer})); err != nil {
			return all, nil, err
		}
	}
}

// login runs one exchange.
func login(c *clientExchange, s *serverExchange, meddle func(said) []byte) (all []said, clientErr, serverErr error) {
	return converse(zmtp.NewSASLClient(c), zmtp.NewSASLServer(s), meddle)
}

// denied wants that the server has turned the client away, with words.
func denied(t *testing.T, err error, status, says string) {
	t.Helper()
	var d *zmtp.DeniedError
	if !errors.As(err, &d) || d.Status != status || !strings.Contains(d.Text, says) {
		t.Errorf("the server says %v, want %s and %q", err, status, says)
	}
}

// distrusted wants that the client has ended the exchange, with words.
func distrusted(t *testing.T, err error, says string) {
	t.Helper()
	var h *vtx.HandshakeError
	if !errors.As(err, &h) || !strings.Contains(h.Reason, says) {
		t.Errorf("the client says %v, want %q", err, says)
	}
}

func TestStrongestIsTaken(t *testing.T) {
	for _, c := range []struct {
		what           string
		client, server *channel
		only           []string
		want           string
	}{
		{"in the clear", &channel{}, &channel{}, nil, "SCRAM-SHA-512"},
		{"TLS", bound(1), bound(1), nil, "SCRAM-SHA-512-PLUS"},
		{"TLS without an exporter", &channel{tls: true}, &channel{tls: true}, nil, "SCRAM-SHA-512"},
		{"a client that cannot bind", &channel{tls: true}, bound(1), nil, "SCRAM-SHA-512"},
		{"a server that cannot bind", bound(1), &channel{tls: true}, nil, "SCRAM-SHA-512"},
		{"only the one", bound(1), bound(1), []string{"SCRAM-SHA-256-PLUS"}, "SCRAM-SHA-256-PLUS"},
		{"only the other", bound(1), bound(1), []string{"SCRAM-SHA-256"}, "SCRAM-SHA-256"},
	} {
		s := newTestServer(t)
		s.only = c.only
		x, y := newTestClient(password, c.only...).entry(c.client), s.entry(c.server, nil)
		if _, clientErr, serverErr := login(x, y, nil); clientErr != nil || serverErr != nil {
			t.Errorf("%s: client %v, server %v", c.what, clientErr, serverErr)
		}
		if x.mechanism != c.want || y.mechanism != c.want || y.User() != user {
			t.Errorf("%s: %s and %s, want %s; user %q", c.what, x.mechanism, y.mechanism, c.want, y.User())
		}
	}
}

func TestMetadataWaitsForTheLogin(t *testing.T) {
	all, clientErr, serverErr := login(newTestClient("wrong").entry(&channel{}), newTestServer(t).entry(&channel{}, nil), nil)
	denied(t, serverErr, "400", `user "user": the password is wrong, or there is no such user; 1 failed from 127.0.0.1, 1 as this user`)
	if clientErr != nil || len(all) != 4 || all[3].name() != "RESPONSE" {
		t.Errorf("%d commands, client %v", len(all), clientErr)
	}
	for _, s := range all {
		if bytes.Contains(s.body, []byte("'s")) {
			t.Errorf("%s tells metadata", s.name())
		}
	}
}

// A bit that is turned on the way in anything that the peers say before they are sure of each other ends the log-in, at
// the end that it was said to or at the other. What is left is that the list of mechanisms is shorter.
func TestTampering(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, ch := range []*channel{{}, bound(1)} {
		s, c := newTestServer(t), newTestClient(password)
		sound, _, _ := login(c.entry(ch), s.entry(ch, nil), nil)
		turned := 0
		for i, command := range sound[:5] { // up to SUCCESS
			for at := range command.body {
				if i >= 3 && at == len(command.body)-len("A==") {
					continue // the last digit of a proof, four of whose bits nobody reads
				}
				bit := byte(1) << random.IntN(8)
				n := 0
				x, y := c.entry(ch), s.unslowed(ch, nil)
				_, clientErr, serverErr := login(x, y, func(s said) []byte {
					if n++; n-1 == i && at < len(s.body) {
						s.body[at] ^= bit
					}
					return s.body
				})
				turned++
				if i > 0 && clientErr == nil && serverErr == nil { // a mechanism that nobody has wanted may have another name
					t.Errorf("%s, byte %d, bit %#02x: nobody minded", command.name(), at, bit)
				}
			}
		}
		if turned < 400 {
			t.Errorf("only %d bits were turned", turned)
		}
	}
}

// What is cut off anywhere is no log-in, and no panic.
func TestTruncation(t *testing.T) {
	s, c := newTestServer(t), newTestClient(password)
	sound, _, _ := login(c.entry(&channel{}), s.entry(&channel{}, nil), nil)
	for i, command := range sound[1:5] {
		for size := range command.body {
			n := -1
			_, clientErr, serverErr := login(c.entry(&channel{}), s.unslowed(&channel{}, nil), func(s said) []byte {
				if n++; n-1 == i {
					return s.body[:min(size, len(s.body)-1)]
				}
				return s.body
			})
			if clientErr == nil && serverErr == nil {
				t.Errorf("%s of %d bytes: nobody minded", command.name(), size)
			}
		}
	}
}

// Commands out of their order end the handshake, and let nobody in.
func TestOrder(t *testing.T) {
	s, c := newTestServer(t), newTestClient(password)
	sound, _, _ := login(c.entry(&channel{}), s.entry(&channel{}, nil), nil)
	var fromClient, fromServer [][]byte
	for _, command := range sound {
		if command.byServer {
			fromServer = append(fromServer, command.body)
		} else {
			fromClient = append(fromClient, command.body)
		}
	}
	try := func(m zmtp.Mechanism, list ...[]byte) (done bool) {
		m.Begin(nil)
		for _, command := range list {
			if _, over, err := m.Next(command); err != nil || over {
				return over && err == nil
			}
		}
		return false
	}
	for i, a := range fromClient {
		for j, b := range fromClient {
			for _, d := range fromClient {
				if try(zmtp.NewSASLServer(s.unslowed(&channel{}, nil)), a, b, d) {
					t.Errorf("the server is content with commands %d, %d", i, j)
				}
			}
		}
	}
	for i, a := range fromServer {
		for j, b := range fromServer {
			for _, d := range fromServer {
				if try(zmtp.NewSASLClient(c.entry(&channel{})), fromServer[0], a, b, d) {
					t.Errorf("the client is content with commands %d, %d", i, j)
				}
			}
		}
	}
	// In their order, and once more: the words of another log-in.
	if try(zmtp.NewSASLServer(s.entry(&channel{}, nil)), fromClient...) || try(zmtp.NewSASLClient(c.entry(&channel{})), fromServer...) {
		t.Error("a replay was taken for a log-in")
	}
}

func TestReplay(t *testing.T) {
	s, c := newTestServer(t), newTestClient(password)
	sound, _, _ := login(c.entry(&channel{}), s.entry(&channel{}, nil), nil)
	again := zmtp.NewSASLServer(s.entry(&channel{}, nil))
	again.Begin(nil)
	if _, _, err := again.Next(sound[1].body); err != nil {
		t.Fatal(err)
	}
	_, _, serverErr := again.Next(sound[3].body)
	denied(t, serverErr, "400", "is for another log-in than this one")

	n := -1
	_, clientErr, _ := login(c.entry(&channel{}), s.entry(&channel{}, nil), func(s said) []byte {
		if n++; s.byServer {
			return sound[n].body
		}
		return s.body
	})
	distrusted(t, clientErr, "belongs to another log-in")
}

// Somebody in between takes the -PLUS off the list: the server finds out, from a client that could have bound its log-in.
func TestDowngrade(t *testing.T) {
	strip := func(s said) []byte {
		if s.name() != "MECHANISMS" {
			return s.body
		}
		list := []byte("\x0aMECHANISMS")
		for _, name := range []string{"SCRAM-SHA-512", "SCRAM-SHA-256"} {
			list = append(append(list, byte(len(name))), name...)
		}
		return list
	}
	_, _, serverErr := login(newTestClient(password).entry(bound(1)), newTestServer(t).entry(bound(1), nil), strip)
	denied(t, serverErr, "400", "somebody in between has changed our list of mechanisms")
	// and cannot have the client say that it never could: that is under its proof.
	_, _, serverErr = login(newTestClient(password).entry(bound(1)), newTestServer(t).entry(bound(1), nil), func(s said) []byte {
		return bytes.Replace(strip(s), []byte("\x01y,,"), []byte("\x01n,,"), 1)
	})
	denied(t, serverErr, "400", "or has changed what it said")
	// Both ends have TLS, but not with each other.
	_, _, serverErr = login(newTestClient(password).entry(bound(1)), newTestServer(t).entry(bound(2), nil), nil)
	denied(t, serverErr, "400", "is not this connection: somebody is in between")
}

// What a client says of channel binding has to fit the mechanism that it names.
func TestBindingFitsTheMechanism(t *testing.T) {
	for _, c := range []struct{ mechanism, first, says string }{
		{"SCRAM-SHA-256-PLUS", "n,,n=user,r=abc", "somebody in between"},
		{"SCRAM-SHA-256-PLUS", "y,,n=user,r=abc", "somebody in between"},
		{"SCRAM-SHA-256-PLUS", "p=tls-unique,,n=user,r=abc", "in a way that is not tls-exporter"},
		{"SCRAM-SHA-256", "y,,n=user,r=abc", "somebody in between"},
		{"SCRAM-SHA-256", "p=tls-exporter,,n=user,r=abc", "SCRAM-SHA-256, bound to TLS"},
		{"SCRAM-SHA-256", "n,a=root,n=user,r=abc", "may not act for another user"},
		{"SCRAM-SHA-256", "n,,n=user,r=abc", ""},
	} {
		_, _, err := newTestServer(t).entry(bound(1), nil).Start(c.mechanism, []byte(c.first))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s, %s: %v, want %q", c.mechanism, c.first, err, c.says)
		}
	}
}

// A client does not show its password to who may be anybody, and believes nobody who has not proved to know it.
func TestFalseServer(t *testing.T) {
	for what, list := range map[string]string{`"PLAIN"`: "\x05PLAIN", "nothing": "", `"LOGIN", "PL\nIN"`: "\x05LOGIN\x05PL\nIN"} {
		x := newTestClient(password).entry(&channel{tls: true})
		m := zmtp.NewSASLClient(x)
		m.Begin(nil)
		_, _, err := m.Next([]byte("\x0aMECHANISMS" + list))
		distrusted(t, err, "the server offers "+what)
		if what == `"PLAIN"` {
			distrusted(t, err, "we do not use PLAIN, since nobody has verified that this is the server")
		}
	}
	first := func(change func(nonce string) string) (zmtp.Mechanism, error) {
		m := zmtp.NewSASLClient(newTestClient(password).entry(&channel{}))
		m.Begin(nil)
		answer, _, err := m.Next([]byte("\x0aMECHANISMS\x0dSCRAM-SHA-256"))
		if err != nil {
			t.Fatal(err)
		}
		nonce := string(answer[bytes.Index(answer, []byte("r="))+2:])
		_, _, err = m.Next([]byte("\x09CHALLENGE" + change(nonce)))
		return m, err
	}
	const salt = ",s=W22ZaJ0SNY7soEsUEjb6gQ=="
	for _, c := range []struct{ rest, says string }{
		{salt + ",i=1", "asks for 1 iterations"},
		{salt + ",i=4095", "asks for 4095 iterations"},
		{salt + ",i=2000000000", "asks for 2000000000 iterations"},
		{salt + ",i=-5", "asks for -5 iterations"},
		{salt + ",i=99999999999999999999999", "was changed"},
		{",s=?,i=4096", "was changed"},
		{"", "was changed"},
	} {
		_, err := first(func(nonce string) string { return "r=" + nonce + "x" + c.rest })
		distrusted(t, err, c.says)
	}
	_, err := first(func(nonce string) string { return "r=x" + nonce + salt + ",i=4096" })
	distrusted(t, err, "belongs to another log-in")

	for _, success := range []string{"\x00", "\x01", "\x01v=", "\x01v=AAAA", "\x01e=other-error", "\x01v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="} {
		m, err := first(func(nonce string) string { return "r=" + nonce + "x" + salt + ",i=4096" })
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = m.Next([]byte("\x07SUCCESS" + success))
		if err == nil || !strings.Contains(err.Error(), "has not proved") && !strings.Contains(err.Error(), "was changed") {
			t.Errorf("SUCCESS %q: %v", success, err)
		}
	}
	m := zmtp.NewSASLClient(newTestClient(password).entry(&channel{}))
	m.Begin(nil)
	m.Next([]byte("\x0aMECHANISMS\x0dSCRAM-SHA-256"))
	_, _, err = m.Next([]byte("\x07SUCCESS\x00"))
	distrusted(t, err, "has not proved that it knows us")
}

// Whom the server does not know sees what others see: the same salt each time, an exchange as long, the same refusal.
func TestUnknownUserLooksLikeAny(t *testing.T) {
	s := newTestServer(t)
	attempt := func(name string) (salt, words string, err error) {
		c := newTestClient("wrong", "SCRAM-SHA-256")
		c.username = name
		all, _, err := login(c.entry(&channel{}), s.entry(&channel{}, nil), nil)
		for _, command := range all {
			if command.byServer {
				words += fmt.Sprint(command.name(), " ", len(command.body), "; ")
			}
			if command.name() == "CHALLENGE" {
				_, salt, _ = strings.Cut(string(command.body), ",s=")
			}
		}
		return salt, words, err
	}
	knownSalt, knownWords, knownErr := attempt(user)
	first, words, err := attempt("nobody")
	second, _, _ := attempt("nobody")
	other, _, _ := attempt("somebody")
	wide, _, _ := attempt("\uff4eobody") // SASLprep makes the same of it
	if first != second || first != wide || first == other || len(first) != len(knownSalt) || first[len(first)-7:] != knownSalt[len(knownSalt)-7:] {
		t.Errorf("salts and iterations %s, %s, %s, %s; a user's %s", first, second, other, wide, knownSalt)
	}
	denied(t, knownErr, "400", "the password is wrong, or there is no such user")
	denied(t, err, "400", "the password is wrong, or there is no such user")
	if words != knownWords {
		t.Errorf("commands %s with a user %s", words, knownWords)
	}
	again := newTestServer(t) // another secret
	again.users.file, _ = passwd.Parse(s.users.file.Bytes())
	s = again
	if third, _, _ := attempt("nobody"); third != first {
		t.Errorf("after a restart it is %s", third)
	}
}

func handler(answers map[string]string) vtx.Ask {
	return func(mechanism string, credentials ...[]byte) (string, error) {
		asked := mechanism
		for _, c := range credentials {
			asked += " " + string(c)
		}
		if user, ok := answers[asked]; ok {
			return user, nil
		}
		return "", &zmtp.DeniedError{Status: "400", Text: "no"}
	}
}

// PLAIN, OAUTHBEARER and EXTERNAL, as foreign clients may speak them.
func TestOtherMechanisms(t *testing.T) {
	const bearer = "n,a=al=2Cice,\x01host=h\x01auth=Bearer to.ken\x01\x01"
	ask := handler(map[string]string{"PLAIN bob pw": "Bob", "PLAIN nameless pw": "", "OAUTHBEARER al,ice to.ken": "Alice", "TLS cert CN=eve": "Eve"})
	certified := &channel{tls: true, verified: true, certificate: []byte("cert"), subject: []byte("CN=eve")}
	for _, c := range []struct {
		what, auth string
		ch         *channel
		user       string // "": refused, and says
		says       string
	}{
		{"PLAIN", "\x05PLAIN\x01\x00bob\x00pw", &channel{tls: true}, "Bob", ""},
		{"PLAIN, in two", "\x05PLAIN\x00|\x00bob\x00pw", &channel{tls: true}, "Bob", ""},
		{"PLAIN, a handler without names", "\x05PLAIN\x01\x00nameless\x00pw", &channel{tls: true}, "nameless", ""},
		{"PLAIN for oneself", "\x05PLAIN\x01bob\x00bob\x00pw", &channel{tls: true}, "Bob", ""},
		{"PLAIN for another", "\x05PLAIN\x01root\x00bob\x00pw", &channel{tls: true}, "", "may not act for another"},
		{"PLAIN, wrong", "\x05PLAIN\x01\x00bob\x00pencil", &channel{tls: true}, "", `user "bob": no; 1 failed`},
		{"PLAIN, short", "\x05PLAIN\x01\x00bob", &channel{tls: true}, "", "in PLAIN is malformed"},
		{"PLAIN in the clear", "\x05PLAIN\x01\x00bob\x00pw", &channel{}, "", `wants "PLAIN", and is offered nothing`},
		{"OAUTHBEARER", "\x0bOAUTHBEARER\x01" + bearer, &channel{tls: true}, "Alice", ""},
		{"OAUTHBEARER, wrong", "\x0bOAUTHBEARER\x01" + strings.Replace(bearer, "to.ken", "x", 1) + "|\x01", &channel{tls: true}, "", "no; 1 failed"},
		{"OAUTHBEARER, wrong, and an empty answer", "\x0bOAUTHBEARER\x01" + strings.Replace(bearer, "to.ken", "x", 1) + "|", &channel{tls: true}, "", "no; 1 failed"},
		{"OAUTHBEARER, malformed, and an empty answer", "\x0bOAUTHBEARER\x01x|", &channel{tls: true}, "", "in OAUTHBEARER is malformed"},
		{"EXTERNAL", "\x08EXTERNAL\x01", certified, "Eve", ""},
		{"EXTERNAL for oneself", "\x08EXTERNAL\x01Eve", certified, "Eve", ""},
		{"EXTERNAL for another", "\x08EXTERNAL\x01Bob", certified, "", "may not act for another"},
		{"EXTERNAL without a certificate", "\x08EXTERNAL\x01", &channel{tls: true}, "", `wants "EXTERNAL"`},
		{"PLAIN, with a certificate that is not wanted", "\x05PLAIN\x01\x00bob\x00pw", &channel{tls: true, certificate: []byte("bad")}, "", "no"},
	} {
		s := &server{failures: newFailures()}
		x := s.entry(c.ch, ask)
		m := zmtp.NewSASLServer(x)
		m.Begin(nil)
		var err error
		var done bool
		parts := strings.Split(c.auth, "|")
		for i, part := range parts {
			command := "\x04AUTH" + part
			if i > 0 {
				command = "\x08RESPONSE" + part
			}
			if _, _, err = m.Next([]byte(command)); err != nil {
				break
			}
		}
		if err == nil {
			_, done, err = m.Next([]byte("\x08INITIATE"))
		}
		switch {
		case c.user != "" && (err != nil || !done || x.User() != c.user):
			t.Errorf("%s: %v, user %q", c.what, err, x.User())
		case c.user == "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want %q", c.what, err, c.says)
		}
	}
}

// Our client's words in the mechanisms that show their secret, with a server that has been verified.
func TestOpenClients(t *testing.T) {
	verified := &channel{tls: true, verified: true}
	ask := handler(map[string]string{"PLAIN user pencil": "u", "OAUTHBEARER al,ice to.ken": "a"})
	token := &client{username: "al,ice", token: "to.ken", can: []string{"OAUTHBEARER"}}
	for what, c := range map[string]*client{"PLAIN": newTestClient(password, "PLAIN"), "OAUTHBEARER": token} {
		x, y := c.entry(verified), (&server{failures: newFailures()}).entry(&channel{tls: true}, ask)
		if _, clientErr, serverErr := login(x, y, nil); clientErr != nil || serverErr != nil || y.User() == "" {
			t.Errorf("%s: client %v, server %v", what, clientErr, serverErr)
		}
		all, clientErr, serverErr := login(c.entry(verified), (&server{failures: newFailures()}).entry(&channel{tls: true}, handler(nil)), nil)
		denied(t, serverErr, "400", "no; 1 failed")
		if clientErr != nil || what == "OAUTHBEARER" && string(all[len(all)-1].body) != "\x08RESPONSE\x01" { // RFC 7628, section 3.2.3
			t.Errorf("%s, refused: client %v, last %q", what, clientErr, all[len(all)-1].body)
		}
	}
}

// What clients say at random neither panics nor lets anybody in.
func FuzzServer(f *testing.F) {
	f.Add([]byte("\x04AUTH\x0dSCRAM-SHA-256\x01n,,n=user,r=abc"), []byte("\x08RESPONSEc=biws,r=abc,p=AAAA"))
	f.Add([]byte("\x04AUTH\x05PLAIN\x00"), []byte("\x08RESPONSE\x00user\x00pencil"))
	f.Add([]byte("\x04AUTH\x0bOAUTHBEARER\x01n,,\x01auth=Bearer x\x01\x01"), []byte("\x08RESPONSE"))
	s := newTestServer(f)
	s.only = strongest
	s.cleartext = true
	f.Fuzz(func(t *testing.T, first, second []byte) {
		m := zmtp.NewSASLServer(s.unslowed(bound(1), handler(nil)))
		m.Begin(nil)
		for _, command := range [][]byte{first, second, []byte("\x08INITIATE")} {
			if _, done, err := m.Next(command); done {
				t.Fatalf("%q and %q: let in", first, second)
			} else if err != nil {
				return
			}
		}
	})
}

// What servers say at random neither panics nor is believed.
func FuzzClient(f *testing.F) {
	f.Add([]byte("\x0aMECHANISMS\x0dSCRAM-SHA-256"), []byte("\x09CHALLENGEr=,s=AAAA,i=4096"), []byte("\x07SUCCESS\x01v=AAAA"))
	f.Add([]byte("\x0aMECHANISMS\x05PLAIN"), []byte("\x07SUCCESS\x00"), []byte("\x05READY"))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		if n, _ := iterations(string(b)); n > 10_000 {
			return // only slow
		}
		m := zmtp.NewSASLClient(newTestClient(password).entry(&channel{tls: true}))
		m.Begin(nil)
		for _, command := range [][]byte{a, b, c, []byte("\x05READY")} {
			if _, done, err := m.Next(command); done {
				t.Fatalf("%q, %q, %q: believed", a, b, c)
			} else if err != nil {
				return
			}
		}
	})
}

// A file that is changed holds for the next log-in; one that cannot be used does not, and is told once.
func TestFileIsReadAgain(t *testing.T) {
	var told []string
	s := newTestServer(t)
	s.users.tell = func(news string) { told = append(told, news) }
	in := func(password string) bool {
		_, _, err := login(newTestClient(password).entry(&channel{}), s.entry(&channel{}, nil), nil)
		return err == nil
	}
	write := func(content string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(s.users.name+".new", []byte(content), 0o600), os.Rename(s.users.name+".new", s.users.name)); err != nil {
			t.Fatal(err)
		}
	}
	f := fileOf(t, "crayon")
	write(string(f.Bytes()))
	if in(password) || !in("crayon") {
		t.Error("the old password still holds")
	}
	write("pencil pencil")
	if !in("crayon") || !in("crayon") || len(told) != 1 || !strings.Contains(told[0], "line 1") || strings.Contains(told[0], "pencil") {
		t.Errorf("after a bad change: told %q", told)
	}
	f.Remove(user)
	write(string(f.Bytes()))
	if in("crayon") {
		t.Error("a user who was removed is let in")
	}
	os.Remove(s.users.name)
	if in("crayon") || len(told) != 2 || !strings.Contains(told[1], "no such file") {
		t.Errorf("without a file: told %q", told)
	}
}
