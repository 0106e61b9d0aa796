package tls_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/vtx"
)

// encrypted is a key that needs a passphrase, as far as anybody looks at it.
const encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgeheimgeheim==\n-----END ENCRYPTED PRIVATE KEY-----\n"

var allOptions = []string{"tls.cert", "tls.key", "tls.ca", "tls.verify", "tls.servername", "tls.min", "tls.pins", "tls.alpn"}

// A private key's text is taken by vtx_setopt and by no endpoint, whatever it is given as; and wherever it was given, no
// error, event, statistic or metadatum shows a line of it, and nothing is printed.
func TestSecretsAreNotShown(t *testing.T) {
	var shown strings.Builder
	printed := capture(t)
	ca := testca.New(t, "authority")
	pair, far := ca.Issue(nil, "127.0.0.1"), ca.Issue(nil, "client")
	near := newHost(t)
	see := func(err error) error {
		if err != nil {
			fmt.Fprintln(&shown, err)
		}
		return err
	}
	named := near.end(vtx.Router, shows(pair))
	secrets := map[string]string{
		"key": pair.Key, "certificate and key": pair.Cert + pair.Key, "encrypted key": encrypted,
		"key without an end": strings.TrimSuffix(pair.Key, "-----END PRIVATE KEY-----\n"), "key without a frame": bare(pair.Key), "passphrase": "geheim",
	}
	for what, secret := range secrets {
		for _, option := range append([]string{"tls.passphrase", "tls.colour"}, allOptions...) {
			// As an option: many of these are no good, which shows at once or when the socket is bound.
			e := near.end(vtx.Router, shows(pair))
			if see(near.SetOption(e.P, option, secret)) == nil {
				see(near.Bind(e.P, "tls://127.0.0.1:*"))
				see(near.Connect(e.P, "tls://127.0.0.1:1"))
			}
			// In an endpoint.
			framed := strings.Contains(secret, "PRIVATE KEY")
			for _, name := range []string{option, strings.TrimPrefix(option, "tls.")} {
				for _, value := range []string{url.QueryEscape(secret), url.PathEscape(secret), secret} {
					for _, endpoint := range []string{
						"tls://127.0.0.1:*?" + name + "=" + value, "tls://127.0.0.1:1?verify=require&" + name + "=" + value,
						"tcp://127.0.0.1:*?" + option + "=" + value, "tsl://127.0.0.1:1?" + name + "=" + value,
					} {
						for _, call := range []func() error{
							func() error { return near.Bind(e.P, endpoint) }, func() error { return near.Connect(e.P, endpoint) },
							func() error { return near.Unbind(e.P, endpoint) }, func() error { return near.Disconnect(e.P, endpoint) },
						} {
							if err := see(call()); framed && err == nil {
								t.Errorf("%s as %s: an endpoint took it", what, option)
							}
						}
						if err := near.Bind(e.P, endpoint); framed && endpoint[:4] == "tls:" && !errors.Is(err, vtx.ErrInvalid) {
							t.Errorf("%s as %s: %v", what, option, err)
						}
					}
				}
			}
			e.drain(&shown)
			if err := near.Close(e.P); err != nil {
				t.Fatal(err)
			}
			e.Forget()
			if !framed {
				continue // nobody takes it for a name
			}
			for _, name := range []string{url.QueryEscape(secret), "-----BEGIN%20PRIVATE%20KEY-----%0A" + bare(pair.Key)} {
				see(near.Bind(named.P, "tls://127.0.0.1:*?"+name))
				see(near.Bind(named.P, "tls://127.0.0.1:*?"+name+"=1"))
			}
			see(near.SetOption(named.P, secret, "1"))
		}
	}

	// A pair of sockets that has keys and talks, and one that is refused.
	router := near.end(vtx.Router, shows(pair).with("tls.ca", ca.Cert))
	endpoint := router.bind()
	dealer := newHost(t).end(vtx.Dealer, options{"tls.cert": far.Key + far.Cert, "tls.ca": ca.Cert})
	dealer.connect(endpoint)
	talk(router, dealer)
	refused := newHost(t).end(vtx.Dealer, shows(testca.SelfSigned(t, "client")).with("tls.ca", ca.Cert))
	refused.connect(endpoint)
	refused.event("did not accept our certificate")
	for _, e := range []*end{router, dealer, refused} {
		e.drain(&shown)
		for _, name := range []string{"endpoint", "stats", "peers", "sender", "user", "tls.subject", "tls.certificate", "tls.version", "tls.alpn", "tls.pin", "tls.key", "tls.cert"} {
			value, err := e.h.Meta(e.P, name)
			see(err)
			fmt.Fprintln(&shown, value)
		}
	}
	stats, err := near.Meta(nil, "stats")
	if err != nil || !json.Valid([]byte(stats)) {
		t.Errorf("statistics %q: %v", stats, err)
	}
	fmt.Fprintln(&shown, stats)

	if text := printed(); text != "" {
		t.Errorf("printed: %.300q", text)
	}
	// What is private of a key on P-256 is bytes 36 to 67 of its PKCS #8; the rest stands in its certificate too.
	patterns := []string{"geheim", "BEGIN.{1,3}(ENCRYPTED.{1,3})?PRIVATE"}
	for _, key := range []string{pair.Key, far.Key} {
		private := bare(key)[48:88]
		for ; private != ""; private = private[10:] { // an error may show a piece
			patterns = append(patterns, regexp.QuoteMeta(private[:10]))
		}
	}
	for _, pattern := range patterns {
		if at := regexp.MustCompile(pattern).FindStringIndex(shown.String()); at != nil {
			t.Errorf("a secret is shown: %.300q", shown.String()[max(0, at[0]-200):])
		}
	}
	if !strings.Contains(shown.String(), "a secret must not stand in an endpoint") || !strings.Contains(shown.String(), "Accepted "+endpoint[:15]) {
		t.Error("the test has not looked where it thinks")
	}
}

// bare is what stands between PEM's frame, in one line.
func bare(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "-----") {
			b.WriteString(strings.TrimSpace(line))
		}
	}
	return b.String()
}

// drain appends all events that are there.
func (e *end) drain(to *strings.Builder) {
	for _, said := range e.said {
		fmt.Fprintln(to, said)
	}
	for {
		frames, err := e.events.RecvWithin(0)
		if err == app.EAGAIN {
			return
		}
		if frames[0][0] == byte(vtx.EventAccepted) {
			fmt.Fprint(to, "Accepted ")
		}
		fmt.Fprintln(to, strings.Join(frames[1:], " "))
	}
}

// capture takes what the process prints until printed is called, which gives it back.
func capture(t *testing.T) (printed func() string) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "printed")
	if err != nil {
		t.Fatal(err)
	}
	var saved [2]int
	for i := range saved {
		if saved[i], err = unix.FcntlInt(uintptr(i+1), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(int(file.Fd()), i+1, 0); err != nil {
			t.Fatal(err)
		}
	}
	done := false
	restore := func() {
		for i := range saved {
			if !done {
				_ = unix.Dup3(saved[i], i+1, 0)
				_ = unix.Close(saved[i])
			}
		}
		done = true
	}
	t.Cleanup(restore)
	return func() string {
		restore()
		_, _ = file.Seek(0, io.SeekStart)
		text, _ := io.ReadAll(file)
		_ = file.Close()
		return string(text)
	}
}

// A key that is encrypted is refused with a word: there is nobody to ask for the passphrase.
func TestEncryptedKey(t *testing.T) {
	pair := testca.New(t, "authority").Issue(nil, "127.0.0.1")
	older := strings.Replace(pair.Key, "KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0123456789ABCDEF0123456789ABCDEF\n\n", 1)
	for _, key := range []string{encrypted, older} {
		e := newHost(t).end(vtx.Router, options{"tls.cert": pair.Cert, "tls.key": key})
		err := e.h.Bind(e.P, "tls://127.0.0.1:*")
		if !errors.Is(err, vtx.ErrInvalid) || !strings.Contains(err.Error(), "the key is encrypted") {
			t.Errorf("%v", err)
		}
	}
}
