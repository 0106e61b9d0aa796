package sasl

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/libvtx/libvtx/drivers/sasl/passwd"
)

// The worked examples of RFC 5802 (section 5) and RFC 7677 (section 3). The drivers have no SHA-1; the example of RFC 5802
// is run with the rest of what they have.
func TestExamplesOfTheRFCs(t *testing.T) {
	for _, e := range []struct {
		hash                                                passwd.Hash
		salt, client, server, first, challenge, last, final string
	}{{
		passwd.Hash{Name: "SCRAM-SHA-1", New: scram.SHA1}, "QSXCR+Q6sek8bf92", "fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j",
		"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
		"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
	}, {
		passwd.Hashes[1], "W22ZaJ0SNY7soEsUEjb6gQ==", "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
	}} {
		client, err := e.hash.New.NewClient(user, password, "")
		if err != nil {
			t.Fatal(err)
		}
		client.WithNonceGenerator(func() string { return e.client })
		c := newTestClient(password).entry(&channel{})
		c.mechanism, c.scram = e.hash.Name, client.NewConversation()
		if first, err := c.scram.Step(""); err != nil || first != e.first {
			t.Errorf("%s: first %q, %v", e.hash.Name, first, err)
		}
		if last, err := c.Next([]byte(e.challenge)); err != nil || string(last) != e.last {
			t.Errorf("%s: last %q, %v", e.hash.Name, last, err)
		}
		if err := c.Finish([]byte(e.final)); err != nil {
			t.Errorf("%s: %v", e.hash.Name, err)
		}

		salt, err := base64.StdEncoding.DecodeString(e.salt)
		if err != nil {
			t.Fatal(err)
		}
		server, err := e.hash.New.NewServer(func(string) (scram.StoredCredentials, error) {
			return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: 4096})
		})
		if err != nil {
			t.Fatal(err)
		}
		server.WithNonceGenerator(func() string { return e.server })
		s := newTestServer(t).entry(&channel{}, nil)
		s.mechanism, s.scram, s.known, s.claimed = e.hash.Name, server.NewConversation(), true, user
		if challenge, err := s.scram.Step(e.first); err != nil || challenge != e.challenge {
			t.Errorf("%s: challenge %q, %v", e.hash.Name, challenge, err)
		}
		if final, done, err := s.Next([]byte(e.last)); err != nil || !done || string(final) != e.final || s.User() != user {
			t.Errorf("%s: final %q, %v", e.hash.Name, final, err)
		}
	}
}

// foreign is a program that speaks SASL in lines of base64.
type foreign struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	shape *regexp.Regexp // of a line that carries a message
	seen  []string
	mark  string // before what we say
}

// program starts one; first is what it asks for before the exchange.
func program(t *testing.T, mark, shape, first string, args ...string) *foreign {
	t.Helper()
	p := &foreign{t: t, cmd: exec.Command("stdbuf", append([]string{"-oL"}, args...)...), lines: make(chan string, 100), shape: regexp.MustCompile(shape), mark: mark}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // passwords are read from the input where there is no terminal
	p.cmd.Env = append(os.Environ(), "LC_ALL=C", "SASL_CONF_PATH="+t.TempDir())
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	p.in = in
	go func() {
		defer close(p.lines)
		defer out.Close()
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	watchdog := time.AfterFunc(20*time.Second, func() { p.cmd.Process.Kill() })
	t.Cleanup(func() {
		in.Close()
		watchdog.Stop()
		p.cmd.Process.Kill()
		for range p.lines {
		}
		p.cmd.Wait()
	})
	io.WriteString(in, first)
	return p
}

// say sends a message.
func (p *foreign) say(message string) {
	fmt.Fprintf(p.in, "%s%s\n", p.mark, base64.StdEncoding.EncodeToString([]byte(message)))
}

// hear waits for a message that has something in it.
func (p *foreign) hear() string {
	p.t.Helper()
	for line := range p.lines {
		p.seen = append(p.seen, line)
		if m := p.shape.FindStringSubmatch(line); m != nil {
			if message, err := base64.StdEncoding.DecodeString(m[1]); err == nil {
				return string(message)
			}
		}
	}
	p.t.Fatalf("%s has ended; it said %q", p.cmd.Path, p.seen)
	return ""
}

// end waits for the program's end, and wants it to have been content with us, or not. What it ends with says nothing: both
// want to go on with other messages.
func (p *foreign) end(content bool) {
	p.t.Helper()
	fmt.Fprintln(p.in) // gsasl waits for the other's silence
	p.in.Close()
	for line := range p.lines {
		p.seen = append(p.seen, line)
	}
	if all := strings.Join(p.seen, "\n"); content != contented.MatchString(all) {
		p.t.Errorf("%s said %q", p.cmd.Path, p.seen)
	}
}

// contented is what gsasl and libsasl2's samples say when a log-in has succeeded.
var contented = regexp.MustCompile("(Client|Server) authentication finished|Negotiation complete")

// want skips the test where a program of Debian's is missing. build.sh installs both.
func want(t *testing.T, name, debian string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed (%s)", name, debian)
	}
}

const gsaslLine = `(?:^|: )([A-Za-z0-9+/]+=*)$`

var exporter = base64.StdEncoding.EncodeToString(bound(1).binding.Data) + "\n"

// gsasl's client with our server.
func TestGsaslClient(t *testing.T) {
	want(t, "gsasl", "gsasl")
	for _, c := range []struct {
		mechanism, password, first string
		ch                         *channel
		says                       string // "": let in
	}{
		{"SCRAM-SHA-256", password, "\n\n", &channel{}, ""},
		{"SCRAM-SHA-256", "wrong", "\n\n", &channel{}, "the password is wrong"},
		{"SCRAM-SHA-256-PLUS", password, exporter, bound(1), ""},
		{"SCRAM-SHA-256-PLUS", password, exporter, bound(2), "is not this connection"},
	} {
		t.Run(c.mechanism+"/"+c.says, func(t *testing.T) {
			p := program(t, "", gsaslLine, c.first, "gsasl", "--client", "-m", c.mechanism, "-a", user, "-p", c.password)
			s := newTestServer(t).entry(c.ch, nil)
			first := p.hear()
			for first == c.mechanism { // it is decoded too, if its length allows
				first = p.hear()
			}
			challenge, _, err := s.Start(c.mechanism, []byte(first))
			if err != nil {
				t.Fatal(err)
			}
			p.say(string(challenge))
			final, done, err := s.Next([]byte(p.hear()))
			if c.says != "" {
				denied(t, err, "400", c.says)
				return
			}
			if err != nil || !done || s.User() != user {
				t.Fatalf("done %v, %v, user %q", done, err, s.User())
			}
			p.say(string(final))
			p.end(true)
			forged := program(t, "", gsaslLine, c.first, "gsasl", "--client", "-m", c.mechanism, "-a", user, "-p", c.password)
			again := newTestServer(t).entry(c.ch, nil)
			challenge, _, _ = again.Start(c.mechanism, []byte(forged.hear()))
			forged.say(string(challenge))
			forged.hear()
			forged.say(string(final)) // another log-in's
			forged.end(false)
		})
	}
}

// Our client with gsasl's server.
func TestGsaslServer(t *testing.T) {
	want(t, "gsasl", "gsasl")
	for _, c := range []struct {
		password string
		content  bool
	}{{password, true}, {"wrong", false}} {
		t.Run(c.password, func(t *testing.T) {
			p := program(t, "", gsaslLine, "", "gsasl", "--server", "-m", "SCRAM-SHA-256", "-p", c.password)
			x := newTestClient(password, "SCRAM-SHA-256").entry(&channel{})
			_, first, err := x.Start([]string{"SCRAM-SHA-256"})
			if err != nil {
				t.Fatal(err)
			}
			p.say(string(first))
			last, err := x.Next([]byte(p.hear()))
			if err != nil {
				t.Fatal(err)
			}
			p.say(string(last))
			if c.content {
				if err := x.Finish([]byte(p.hear())); err != nil {
					t.Error(err)
				}
			}
			p.end(c.content)
		})
	}
}

const cyrusLine = `^[SC]: ([A-Za-z0-9+/]+=*)$`

// libsasl2's client with our server, for both hashes.
func TestCyrusClient(t *testing.T) {
	want(t, "sasl-sample-client", "sasl2-bin")
	for _, mechanism := range []string{"SCRAM-SHA-512", "SCRAM-SHA-256"} {
		for _, secret := range []string{password, "wrong"} {
			t.Run(mechanism+"/"+secret, func(t *testing.T) {
				p := program(t, "S: ", cyrusLine, "", "sasl-sample-client", "-s", "vtx", "-n", "vtx", "-m", mechanism, "-u", user, "-a", user)
				p.say(mechanism)
				fmt.Fprintln(p.in, secret)
				name, first, found := strings.Cut(p.hear(), "\x00")
				if !found || name != mechanism {
					t.Fatalf("it begins with %q", name)
				}
				s := newTestServer(t).entry(&channel{}, nil)
				challenge, _, err := s.Start(name, []byte(first))
				if err != nil {
					t.Fatal(err)
				}
				p.say(string(challenge))
				final, done, err := s.Next([]byte(p.hear()))
				if secret != password {
					denied(t, err, "400", "the password is wrong")
					return
				}
				if err != nil || !done || s.User() != user {
					t.Fatalf("done %v, %v, user %q", done, err, s.User())
				}
				p.say(string(final))
				p.end(true)
			})
		}
	}
}

// Our client with libsasl2's server.
func TestCyrusServer(t *testing.T) {
	const server = "/usr/sbin/sasl-sample-server"
	want(t, server, "sasl2-bin")
	want(t, "/usr/sbin/saslpasswd2", "sasl2-bin")
	for _, mechanism := range []string{"SCRAM-SHA-512", "SCRAM-SHA-256"} {
		for _, secret := range []string{password, "wrong"} {
			t.Run(mechanism+"/"+secret, func(t *testing.T) {
				dir := t.TempDir()
				db := filepath.Join(dir, "db")
				set := exec.Command("/usr/sbin/saslpasswd2", "-p", "-c", "-f", db, "-u", "vtx", user)
				set.Stdin = strings.NewReader(password)
				out, err := set.CombinedOutput()
				err = errors.Join(err, os.WriteFile(filepath.Join(dir, "sample.conf"),
					[]byte("sasldb_path: "+db+"\npwcheck_method: auxprop\nauxprop_plugin: sasldb\n"), 0o600))
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				p := program(t, "C: ", cyrusLine, "", "env", "SASL_CONF_PATH="+dir, server, "-s", "vtx", "-d", "vtx", "-u", "vtx", "-m", mechanism)
				offers := strings.Fields(p.hear())
				x := newTestClient(secret).entry(&channel{})
				name, first, err := x.Start(offers)
				if err != nil || name != mechanism {
					t.Fatalf("%v: %s of %q", err, name, offers)
				}
				p.say(name + "\x00" + string(first))
				last, err := x.Next([]byte(p.hear()))
				if err != nil {
					t.Fatal(err)
				}
				p.say(string(last))
				if secret != password {
					p.end(false)
					return
				}
				if _, err := x.Next([]byte(p.hear())); err != nil { // the server's signature, as a challenge
					t.Error(err)
				}
				p.say("")
				if err := x.Finish(nil); err != nil {
					t.Error(err)
				}
				p.end(true)
			})
		}
	}
}
