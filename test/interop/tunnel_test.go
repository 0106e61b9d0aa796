package interop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/vtx"
)

// terminator is a program that puts TLS on the connections of others, or takes it off.
type terminator struct {
	name   string
	args   func(config string) []string
	config func(p plan) string
}

// plan is what a terminator is to do, with addresses and the names of files.
type plan struct {
	accept, connect string
	client          bool   // TLS is on the side where it connects, and it verifies that the server is localhost
	cert            string // its own certificate and key in one file, "" for none
	ca              string // whom a client trusts
	alpn            string // what haproxy calls the protocol; stunnel cannot name one, and is there to show that nobody needs to
}

var terminators = []terminator{
	{"stunnel", func(config string) []string { return []string{config} }, stunnelConfig},
	{"haproxy", func(config string) []string { return []string{"-db", "-f", config} }, haproxyConfig},
}

func stunnelConfig(p plan) string {
	lines := []string{"foreground = yes", "pid =", "[zmtp]", "accept = " + p.accept, "connect = " + p.connect}
	if p.client {
		lines = append(lines, "client = yes", "CAfile = "+p.ca, "verifyChain = yes", "checkHost = localhost")
	}
	if p.cert != "" {
		lines = append(lines, "cert = "+p.cert)
	}
	return strings.Join(lines, "\n") + "\n"
}

func haproxyConfig(p plan) string {
	// What it would do of itself with a connection on which nothing happens is not what is tested
	const begin = "global\n\tnoreuseport\n\tnbthread 1\n\tmaxconn 100\n" +
		"defaults\n\tmode tcp\n\ttimeout connect 30s\n\ttimeout client 1h\n\ttimeout server 1h\n" +
		"listen zmtp\n\tbind %s\n\tserver peer %s\n"
	bind, server, protected := p.accept, p.connect, " ssl"
	if p.alpn != "" {
		protected += " alpn " + p.alpn
	}
	if p.cert != "" {
		protected += " crt '" + p.cert + "'" // a test's directory may have a # in its name
	}
	if p.client {
		server += protected + " verify required verifyhost localhost ca-file '" + p.ca + "'"
	} else {
		bind += protected
	}
	return fmt.Sprintf(begin, bind, server)
}

// tunnel is a terminator that runs, until the end of the test.
type tunnel struct {
	t      testing.TB
	term   terminator
	plan   plan
	config string
	run    *run // nil while it is killed
}

// run is one process.
type run struct {
	cmd   *exec.Cmd
	said  said
	ended chan struct{}
}

// said is what a process says.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// program finds the terminator's, or skips the test.
func (term terminator) program(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath(term.name); err == nil {
		return path
	}
	// A user's PATH lacks what Debian has for root
	path := filepath.Join("/usr/sbin", term.name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("there is no %s here", term.name)
	}
	return path
}

// start runs a terminator at a port that the kernel chooses.
func (term terminator) start(t testing.TB, p plan) *tunnel {
	t.Helper()
	term.program(t)
	tun := &tunnel{t: t, term: term, config: filepath.Join(t.TempDir(), "config")}
	t.Cleanup(tun.kill)
	for range 10 {
		p.accept = freeAddress(t)
		tun.plan = p
		testca.Write(t, filepath.Dir(tun.config), "config", term.config(p))
		if tun.launch() {
			return tun
		}
	}
	t.Fatalf("%s did not start", term.name)
	return nil
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// launch starts the program and waits until it listens. False: it has ended, as it does where somebody was faster to
// take the port.
func (tun *tunnel) launch() bool {
	tun.t.Helper()
	r := &run{cmd: exec.Command(tun.term.program(tun.t), tun.term.args(tun.config)...), ended: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = &r.said, &r.said
	if err := r.cmd.Start(); err != nil {
		tun.t.Fatal(err)
	}
	tun.run = r
	go func() {
		defer close(r.ended)
		r.cmd.Wait()
	}()
	for end := time.Now().Add(app.Patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		conn, err := net.Dial("tcp", tun.plan.accept)
		if err == nil {
			conn.Close()
		}
		select {
		case <-r.ended:
			tun.t.Logf("%s has ended: %s", tun.term.name, &r.said)
			tun.run = nil
			return false
		default:
			if err == nil {
				return true
			}
		}
	}
	tun.t.Fatalf("%s does not listen: %s", tun.term.name, &r.said)
	return false
}

// kill ends the program without a warning.
func (tun *tunnel) kill() {
	if tun.run == nil {
		return
	}
	tun.run.cmd.Process.Kill()
	<-tun.run.ended
	if tun.t.Failed() {
		tun.t.Logf("%s said: %s", tun.term.name, &tun.run.said)
	}
	tun.run = nil
}

// restart runs it again where it was, which others may be dialling.
func (tun *tunnel) restart() {
	tun.t.Helper()
	for end := time.Now().Add(app.Patience); !tun.launch(); {
		if time.Now().After(end) {
			tun.t.Fatalf("%s cannot be started again", tun.term.name)
		}
	}
}

// way is how we and a stock socket meet: it is bound and has a terminator before it to which we connect, or we are
// bound and it connects to a terminator that comes to us.
type way struct {
	t      testing.TB
	term   terminator
	weBind bool
	mutual bool // we demand a certificate
	ca     *testca.CA
	dir    string
}

// eachWay runs a test with every terminator on every way.
func eachWay(t *testing.T, test func(t *testing.T, w *way)) {
	for _, term := range terminators {
		for _, w := range []struct {
			name           string
			weBind, mutual bool
		}{{"they bind", false, false}, {"we bind", true, false}, {"we bind and demand a certificate", true, true}} {
			t.Run(term.name+"/"+w.name, func(t *testing.T) { test(t, newWay(t, term, w.weBind, w.mutual)) })
		}
	}
}

func newWay(t testing.TB, term terminator, weBind, mutual bool) *way {
	t.Helper()
	term.program(t)
	if *reference {
		t.Skip("libzmq has no tls://")
	}
	return &way{t, term, weBind, mutual, testca.New(t, "authority"), t.TempDir()}
}

// stock is an application without VTX.
func stock(t testing.TB) *ours { return &ours{t: t, ctx: app.NewContext(t)} }

// join has the two sockets meet, of which the second is stock libzmq's.
func (w *way) join(us, they *end) *tunnel {
	w.t.Helper()
	if w.weBind {
		w.bind(us)
		tun := w.term.start(w.t, w.toUs(us))
		they.connect("tcp://" + tun.plan.accept)
		return tun
	}
	tun := w.term.start(w.t, w.toThem(they))
	set(us, "tls.ca", w.ca.Cert)
	us.connect("tls://" + tun.plan.accept)
	return tun
}

// toThem binds their socket, and plans a terminator in front of it.
func (w *way) toThem(they *end) plan {
	w.t.Helper()
	they.bind("tcp://127.0.0.1:*")
	at := strings.TrimPrefix(they.s.(*ourSocket).LastEndpoint(), "tcp://")
	return plan{connect: at, cert: w.pem("server.pem", w.ca.Issue(nil, "127.0.0.1")), alpn: "zmtp/3.1"}
}

// bind binds our socket.
func (w *way) bind(us *end) {
	w.t.Helper()
	pair := w.ca.Issue(nil, "localhost", "127.0.0.1")
	set(us, "tls.cert", pair.Cert)
	set(us, "tls.key", pair.Key)
	if w.mutual {
		set(us, "tls.ca", w.ca.Cert)
	}
	us.bind("tls://127.0.0.1:*")
}

// toUs plans a terminator that comes to our socket.
func (w *way) toUs(us *end) plan {
	w.t.Helper()
	p := plan{client: true, connect: strings.TrimPrefix(meta(us, "endpoint"), "tls://"), alpn: "zmtp/3.1",
		ca: testca.Write(w.t, w.dir, "ca.pem", w.ca.Cert)}
	if w.mutual {
		p.cert = w.pem("client.pem", w.ca.Issue(nil, "the terminator"))
	}
	return p
}

// pem writes a certificate and its key.
func (w *way) pem(name string, pair testca.Pair) (file string) {
	w.t.Helper()
	return testca.Write(w.t, w.dir, name, pair.Cert+pair.Key)
}

// set sets an option of VTX.
func set(us *end, name, value string) {
	us.t.Helper()
	s := us.s.(*ourSocket)
	if err := s.o.m.SetOption(s.P, name, value); err != nil {
		us.t.Fatal(err)
	}
}

func meta(us *end, name string) string {
	us.t.Helper()
	s := us.s.(*ourSocket)
	value, err := s.o.m.Meta(s.P, name)
	if err != nil {
		us.t.Fatal(err)
	}
	return value
}

// says waits for an event of one of the kinds whose sentence contains the text.
func (n *news) says(text string, kinds ...vtx.EventKind) {
	n.t.Helper()
	var seen []string
	for end := time.Now().Add(app.Patience); time.Now().Before(end); {
		frames, err := n.s.RecvWithin(time.Until(end))
		if err != nil || len(frames) < 3 || len(frames[0]) != 6 {
			continue
		}
		got := vtx.EventKind(binary.NativeEndian.Uint16([]byte(frames[0])))
		if slices.Contains(kinds, got) && strings.Contains(frames[2], text) {
			return
		}
		if line := fmt.Sprintf("%#x %q", uint16(got), frames[2]); !slices.Contains(seen, line) {
			seen = append(seen, line)
		}
	}
	n.t.Fatalf("no event %#x says %q, but %s", kinds, text, strings.Join(seen, ", "))
}
