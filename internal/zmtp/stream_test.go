package zmtp

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is one direction of a stream that takes everything at once.
type memory struct {
	mu     sync.Mutex
	more   sync.Cond
	data   []byte
	closed bool
	chunk  int // how much one Read gives; 0: what there is
}

func newMemory(chunk int) *memory {
	m := &memory{chunk: chunk}
	m.more.L = &m.mu
	return m
}

func (m *memory) Read(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.data) == 0 {
		if m.closed {
			return 0, io.EOF
		}
		m.more.Wait()
	}
	if m.chunk > 0 {
		b = b[:min(len(b), m.chunk)]
	}
	n := copy(b, m.data)
	m.data = m.data[n:]
	return n, nil
}

func (m *memory) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data = append(m.data, b...)
	m.more.Broadcast()
	return len(b), nil
}

func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.more.Broadcast()
}

// conn is an end of a stream in memory.
type conn struct {
	io.Reader
	io.Writer
}

// script is a peer that has said everything already, and then is gone.
type script struct {
	in    []byte
	chunk int
	out   bytes.Buffer
}

func (s *script) Read(b []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	if s.chunk > 0 {
		b = b[:min(len(b), s.chunk)]
	}
	n := copy(b, s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *script) Write(b []byte) (int, error) { return s.out.Write(b) }

// chunks are the sizes of a Read under which everything has to work.
var chunks = map[string]int{"at once": 0, "byte by byte": 1, "in sevens": 7}

// ends runs the handshakes of a dialing and a listening end against each other. An end that fails hangs up.
func ends(chunk int, dial, listen *Config) (d, l *Session, dialErr, listenErr error) {
	up, down := newMemory(chunk), newMemory(chunk)
	dial.Listening, listen.Listening = false, true
	var wg sync.WaitGroup
	wg.Go(func() {
		if d, dialErr = Handshake(conn{down, up}, dial); dialErr != nil {
			up.close()
		}
	})
	l, listenErr = Handshake(conn{up, down}, listen)
	if listenErr == nil {
		down.Write(l.Final())
	} else {
		down.close()
	}
	wg.Wait()
	return d, l, dialErr, listenErr
}

// batch builds messages in batch form, each of these frames.
func batch(messages ...[]string) (b []byte) {
	for _, m := range messages {
		for i, frame := range m {
			flags := byte(flagMore)
			if i == len(m)-1 {
				flags = 0
			}
			b = appendFrame(b, flags, []byte(frame))
		}
	}
	return b
}

// drain decodes in until nothing more comes out, and gathers it.
func drain(t testing.TB, s *Session, in []byte) (all []byte, count int, controls []Decoded, rest []byte, err error) {
	t.Helper()
	for {
		d, err := s.Decode(in)
		all = append(all, d.Messages...)
		count += d.Count
		in = in[d.Used:]
		if d.Control != NoControl {
			d.Context = append([]byte(nil), d.Context...)
			controls = append(controls, d)
			continue
		}
		return all, count, controls, in, err
	}
}

// trickle decodes in as it comes in pieces of size bytes.
func trickle(t testing.TB, s *Session, in []byte, size int) (all []byte, count int, controls []Decoded, err error) {
	t.Helper()
	var have []byte
	for {
		n := min(size, len(in))
		have, in = append(have, in[:n]...), in[n:]
		b, c, controlled, rest, err := drain(t, s, have)
		all, count, controls = append(all, b...), count+c, append(controls, controlled...)
		if len(rest) < len(have) {
			have = append([]byte(nil), rest...)
		}
		if err != nil || len(in) == 0 {
			return all, count, controls, err
		}
	}
}
