package hostile

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

// tag begins the messages of the legitimate peers; attackers do not know it.
var tag = rand.Text()

// program is a running host.c.
type program struct {
	t     testing.TB
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // its answers; closed at its end
	said  *tail       // its standard error
	ended chan struct{}
	mu    sync.Mutex // one question at a time
}

// tail keeps the last bytes that were written to it.
type tail struct {
	mu    sync.Mutex
	bytes []byte
}

func (w *tail) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// The beginning says what happened, the end how
	if w.bytes = append(w.bytes, b...); len(w.bytes) > 16<<10 {
		w.bytes = append(w.bytes[:8<<10], w.bytes[len(w.bytes)-8<<10:]...)
	}
	return len(b), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.bytes)
}

// start starts one; it ends with the test.
func start(t testing.TB, name string, env ...string) *program {
	t.Helper()
	p := &program{t: t, name: name, cmd: exec.Command(hostProgram, tag), lines: make(chan string, 16), said: &tail{}, ended: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), "VTX_UDP_BROADCAST=127.255.255.255"), env...)
	p.cmd.Stderr = p.said
	in, err1 := p.cmd.StdinPipe()
	out, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, p.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	p.in = in
	go func() {
		defer close(p.ended)
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				break
			}
			p.lines <- strings.TrimSpace(line)
		}
		close(p.lines)
		p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends it as kill -9 does.
func (p *program) kill() {
	p.cmd.Process.Signal(syscall.SIGKILL)
	p.in.Close()
	for {
		select {
		case <-p.lines:
		case <-p.ended:
			return
		}
	}
}

// ask has it do what a line says, and returns its answer.
func (p *program) ask(line string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		return "", p.died(err)
	}
	select {
	case answer, alive := <-p.lines:
		if !alive {
			return "", p.died(nil)
		}
		if rest, ok := strings.CutPrefix(answer, "ok"); ok {
			return strings.TrimSpace(rest), nil
		}
		return "", fmt.Errorf("%s: %s: %s", p.name, line, answer)
	case <-time.After(*patient):
		return "", fmt.Errorf("%s: no answer to %q", p.name, line)
	}
}

func (p *program) died(err error) error {
	<-p.ended
	if err == nil {
		err = io.EOF
	}
	return fmt.Errorf("%s has ended: %w, %v\n%s", p.name, err, p.cmd.ProcessState, p.said)
}

// do has it do each line, and returns the last answer.
func (p *program) do(lines ...string) (answer string) {
	p.t.Helper()
	for _, line := range lines {
		var err error
		if answer, err = p.ask(line); err != nil {
			p.t.Fatal(err)
		}
	}
	return answer
}

// state is what it says of itself: resident kB, descriptors, and of each socket what has come and gone.
type state map[string]int

func parseState(line string) state {
	s := state{}
	for _, word := range strings.Fields(line) {
		name, value, _ := strings.Cut(word, "=")
		s[name], _ = strconv.Atoi(value)
	}
	return s
}

func (s state) String() string {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if s[name] != 0 {
			fmt.Fprintf(&b, " %s=%d", name, s[name])
		}
	}
	return b.String()
}

func (p *program) state() state {
	p.t.Helper()
	return parseState(p.do("state"))
}

// socket makes one with options, which are lines without the socket's name: "int 22 100".
func (p *program) socket(name string, typ vtx.SocketType, role string, options ...string) {
	p.t.Helper()
	p.do(fmt.Sprintf("socket %s %d %s", name, typ, role))
	for _, o := range options {
		p.do(named(o, name))
	}
}

// bytesOption is the line of an option of variable length.
func bytesOption(option int, value []byte) string {
	return fmt.Sprintf("bytes %d %s", option, hex.EncodeToString(value))
}

func intOption(option, value int) string { return fmt.Sprintf("int %d %d", option, value) }

// limit sets a limit of the process.
func (p *program) limit(resource int, value uint64) {
	p.t.Helper()
	if err := prlimit(p.cmd.Process.Pid, resource, value); err != nil {
		p.t.Fatal(err)
	}
}
