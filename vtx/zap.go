package vtx

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/internal/zmtp"
)

const zapEndpoint = "inproc://zeromq.zap.01"

// errNoZAPHandler: nobody is bound to zapEndpoint.
var errNoZAPHandler = errors.New("there is no ZAP handler")

// zapRequest is one question; its frames are in RFC 27's order.
type zapRequest struct {
	domain, address string
	identity        []byte
	mechanism       string
	credentials     [][]byte
}

// zap is how one manager asks.
type zap struct {
	slots chan struct{} // one for each question that waits for its answer

	mu      sync.Mutex
	waiting *zmq.Socket // connected to a handler that does not exist
	closed  bool
}

// zapAtOnce bounds how many questions wait for their answers at a time: each has a socket of the context.
const zapAtOnce = 16

func newZAP() zap { return zap{slots: make(chan struct{}, zapAtOnce)} }

// askZAP asks the ZAP handler (RFC 27) that the application runs in its context, as libzmq does for its own
// connections, and waits for the answer. Errors: *zmtp.DeniedError, errNoZAPHandler, ctx's, libzmq's.
func (m *Manager) askZAP(ctx context.Context, q zapRequest) (user string, err error) {
	select {
	case m.zap.slots <- struct{}{}:
		defer func() { <-m.zap.slots }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	id := strconv.FormatUint(m.serial.Add(1), 10)
	s, err := m.sendZAP(q.message(id))
	if err != nil {
		return "", err
	}
	defer s.Close()
	for {
		buf, n, _, err := s.Recv(nil)
		if err != nil {
			return "", fmt.Errorf("asking the ZAP handler: %w", err)
		}
		if n > 0 {
			answer := Batch{buf: buf, n: n}
			return readZAP(answer.Pop(), id)
		}
		select {
		case <-s.Readable():
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// sendZAP sends a question and returns the socket that the answer comes to. Errors: errNoZAPHandler, libzmq's.
//
// A connection to nobody takes as many messages as this end's mark allows; one to a handler takes more. That is the
// only way to tell them apart without disturbing the endpoint. But libzmq does not let go of a socket that is
// connected to nobody: so one is kept, and the next questions look whether it has found somebody.
func (m *Manager) sendZAP(question *Batch) (*zmq.Socket, error) {
	z := &m.zap
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.waiting != nil {
		if !z.waiting.CanSend() {
			return nil, errNoZAPHandler
		}
		z.waiting.Close()
		z.waiting = nil
	}
	s, err := zmq.Open(m.ctx, zmq.TypeDealer, m.poller)
	if err != nil {
		return nil, fmt.Errorf("asking the ZAP handler: %w", err)
	}
	err = errors.Join(s.SetInt(zmq.SndHWM, 1), s.Connect(zapEndpoint))
	if err == nil {
		_, _, err = s.Send(question.buf)
	}
	switch {
	case err != nil:
		s.Close()
		return nil, fmt.Errorf("asking the ZAP handler: %w", err)
	case s.CanSend():
		return s, nil
	case z.closed:
		s.Close()
	default:
		z.waiting = s
	}
	return nil, errNoZAPHandler
}

// close lets go of what is kept.
func (z *zap) close() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.closed = true
	if z.waiting != nil {
		z.waiting.Close()
		z.waiting = nil
	}
}

func (q *zapRequest) message(id string) *Batch {
	frames := [][]byte{{}, []byte("1.0"), []byte(id), []byte(q.domain), []byte(q.address), q.identity, []byte(q.mechanism)}
	b := new(Batch)
	b.Append(append(frames, q.credentials...)...)
	return b
}

// readZAP reads an answer: delimiter, version, id, status, text, user id, metadata.
func readZAP(m Message, id string) (user string, err error) {
	var f []string
	for frame := range m.Frames() {
		f = append(f, string(frame))
	}
	if len(f) != 7 || f[0] != "" || f[1] != "1.0" || f[2] != id {
		return "", &zmtp.DeniedError{Status: "500", Text: "the ZAP handler's answer is malformed"}
	}
	switch status := f[3]; {
	case status == "200":
		return f[5], nil
	case status == "300", status == "400", status == "500":
		return "", &zmtp.DeniedError{Status: status, Text: quoted(f[4])}
	default:
		return "", &zmtp.DeniedError{Status: "500", Text: "the ZAP handler's status is none: " + quoted(status)}
	}
}
