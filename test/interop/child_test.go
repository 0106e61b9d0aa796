package interop

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

// A child is a process that owns sockets, because its library is of another language or because it is to be
// stopped or killed. It carries out one request after the other from its standard input:
//
//	open TYPE [OPTION VALUE]…   → ok ID         bind ID ENDPOINT, connect ID ENDPOINT, close ID  → ok
//	send ID FRAME…              → ok            subscribe ID TOPIC, unsubscribe ID TOPIC         → ok
//	recv ID MILLISECONDS        → ok FRAME… or nothing
//	echo ID                     → ok            from now on it sends back whatever the socket receives; only in Go
//	flood ID FRAME…             → ok            from now on it sends the message all the time; only in Go
//	allow DIRECTORY [USER PASSWORD]…  → ok      starts a ZAP handler; keys stand in the directory
//	deny                        → ok            ends it
//
// A socket that echoes or floods is in use for good: there are no further requests for it.
// What fails is answered with: error TEXT. Requests and answers are lists of fields: their number, and before
// each field its length, with 32 bits each, big-endian.
type child struct {
	library
	cmd *exec.Cmd
	mu  sync.Mutex // held from request to answer
	in  io.WriteCloser
	out *bufio.Reader

	once sync.Once // to kill it
	fate error     // why it was no more by then
}

// spawn runs a child. It is killed at the end of the test.
func spawn(t testing.TB, l library, command ...string) *child {
	t.Helper()
	c, err := startChild(l, command...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.kill(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func startChild(l library, command ...string) (*child, error) {
	c := &child{library: l, cmd: exec.Command(command[0], command[1:]...)}
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		c.in, err = c.cmd.StdinPipe()
	}
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReaderSize(out, 1<<20)
	return c, nil
}

// spawnGo runs a library of this test in a process of its own: this test's program again.
func spawnGo(t testing.TB, l library) *child {
	t.Helper()
	args := []string{os.Args[0], "-child=" + l.name()}
	if *reference {
		args = append(args, "-reference")
	}
	return spawn(t, l, args...)
}

// kill ends the child without a warning. It is an error if it had ended by itself.
func (c *child) kill() error {
	c.once.Do(func() {
		c.cmd.Process.Kill()
		c.cmd.Wait()
		if state := c.cmd.ProcessState; state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			c.fate = fmt.Errorf("the child of %s had ended before it was killed: %v", c.name(), state)
		}
	})
	return c.fate
}

func writeFields(w io.Writer, fields ...string) error {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(fields)))
	for _, f := range fields {
		b = binary.BigEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	_, err := w.Write(b)
	return err
}

func readFields(r io.Reader) ([]string, error) {
	var n uint32
	if err := binary.Read(r, binary.BigEndian, &n); err != nil {
		return nil, err
	}
	fields := make([]string, n)
	for i := range fields {
		var size uint32
		if err := binary.Read(r, binary.BigEndian, &size); err != nil {
			return nil, err
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		fields[i] = string(b)
	}
	return fields, nil
}

// ask sends a request and gives what comes after "ok".
func (c *child) ask(request ...string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := writeFields(c.in, request...); err != nil {
		return nil, err
	}
	answer, err := readFields(c.out)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the child of %s: %w", c.name(), err)
	case answer[0] == "ok":
		return answer[1:], nil
	case answer[0] == "nothing":
		return nil, errNothing
	}
	return nil, errors.New(strings.Join(answer[1:], " "))
}

func (c *child) open(t testing.TB, typ vtx.SocketType, o options) socket {
	t.Helper()
	id, err := c.ask(append([]string{"open", typ.String()}, o.fields()...)...)
	if err != nil {
		t.Fatal(err)
	}
	s := &childSocket{c: c, id: id[0]}
	t.Cleanup(s.close)
	return s
}

func (c *child) authenticate(t testing.TB, l guestList) {
	t.Helper()
	request := []string{"allow", certificates(t, l.keys)}
	for user, password := range l.users {
		request = append(request, user, password)
	}
	if _, err := c.ask(request...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.ask("deny") })
}

type childSocket struct {
	c      *child
	id     string
	closed bool
}

func (s *childSocket) do(what string, arguments ...string) error {
	_, err := s.c.ask(append([]string{what, s.id}, arguments...)...)
	return err
}

func (s *childSocket) bind(endpoint string) error     { return s.do("bind", endpoint) }
func (s *childSocket) connect(endpoint string) error  { return s.do("connect", endpoint) }
func (s *childSocket) subscribe(topic string) error   { return s.do("subscribe", topic) }
func (s *childSocket) unsubscribe(topic string) error { return s.do("unsubscribe", topic) }
func (s *childSocket) send(frames ...string) error    { return s.do("send", frames...) }
func (s *childSocket) echo() error                    { return s.do("echo") }

func (s *childSocket) recv(within time.Duration) ([]string, error) {
	return s.c.ask("recv", s.id, strconv.FormatInt(within.Milliseconds(), 10))
}

func (s *childSocket) close() {
	if !s.closed {
		s.closed = true
		s.do("close")
	}
}

// serveChild is the other side, for a library in Go.
func serveChild(l library, in io.Reader, out io.Writer) {
	t := &childT{}
	sockets := make(map[string]socket)
	input := bufio.NewReaderSize(in, 1<<20)
	for {
		request, err := readFields(input)
		if err != nil {
			return
		}
		answer, err := carryOut(t, l, sockets, request)
		switch {
		case errors.Is(err, errNothing):
			err = writeFields(out, "nothing")
		case err != nil:
			err = writeFields(out, "error", err.Error())
		default:
			err = writeFields(out, append([]string{"ok"}, answer...)...)
		}
		if err != nil {
			return
		}
	}
}

func carryOut(t *childT, l library, sockets map[string]socket, request []string) ([]string, error) {
	if request[0] == "open" {
		o := make(options)
		for i := 2; i < len(request); i += 2 {
			o[request[i]] = request[i+1]
		}
		for typ := vtx.Pair; typ <= vtx.XSub; typ++ {
			if typ.String() == request[1] {
				id := strconv.Itoa(len(sockets))
				sockets[id] = l.open(t, typ, o)
				return []string{id}, nil
			}
		}
		return nil, errors.New("no such type: " + request[1])
	}
	s := sockets[request[1]]
	if s == nil {
		return nil, errors.New("no such socket: " + request[1])
	}
	switch arguments := request[2:]; request[0] {
	case "bind":
		return nil, s.bind(arguments[0])
	case "connect":
		return nil, s.connect(arguments[0])
	case "subscribe":
		return nil, s.subscribe(arguments[0])
	case "unsubscribe":
		return nil, s.unsubscribe(arguments[0])
	case "send":
		return nil, s.send(arguments...)
	case "recv":
		ms, _ := strconv.Atoi(arguments[0])
		return s.recv(time.Duration(ms) * time.Millisecond)
	case "echo":
		sockets[request[1]] = nil
		go func() {
			for {
				if m, err := s.recv(time.Hour); err == nil {
					s.send(m...)
				}
			}
		}()
		return nil, nil
	case "flood":
		sockets[request[1]] = nil
		go func() {
			for s.send(arguments...) == nil {
			}
		}()
		return nil, nil
	case "close":
		s.close()
		return nil, nil
	}
	return nil, errors.New("no such request: " + request[0])
}

// childT is a child's testing.TB: it cleans up when the process ends, and a failure ends the process.
type childT struct{ testing.TB }

func (*childT) Helper()        {}
func (*childT) Cleanup(func()) {}
func (*childT) Fatal(a ...any) { fmt.Fprintln(os.Stderr, a...); os.Exit(1) }
func (*childT) Fatalf(f string, a ...any) {
	fmt.Fprintf(os.Stderr, f+"\n", a...)
	os.Exit(1)
}
func (*childT) Errorf(f string, a ...any) { fmt.Fprintf(os.Stderr, f+"\n", a...) }
