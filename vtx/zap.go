package vtx

import (
	"context"
	"errors"
	"fmt"
	"strconv"

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

// zapAtOnce bounds how many questions wait for their answers at a time: each has a socket of the context.
const zapAtOnce = 16

var zapSlots = make(chan struct{}, zapAtOnce)

// askZAP asks the ZAP handler (RFC 27) that the application runs in its context, as libzmq does for its own
// connections, and waits for the answer. Errors: *zmtp.DeniedError, errNoZAPHandler, ctx's, libzmq's.
func (m *Manager) askZAP(ctx context.Context, q zapRequest) (user string, err error) {
	select {
	case zapSlots <- struct{}{}:
		defer func() { <-zapSlots }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	s, err := zmq.Open(m.ctx, zmq.TypeDealer, m.poller)
	if err != nil {
		return "", fmt.Errorf("asking the ZAP handler: %w", err)
	}
	defer s.Close()
	// A connection to nobody takes as many messages as this end's mark allows; one to a handler takes more.
	// That is the only way to tell them apart without disturbing the endpoint.
	err = errors.Join(s.SetInt(zmq.SndHWM, 1), s.Connect(zapEndpoint))
	if err != nil {
		return "", fmt.Errorf("asking the ZAP handler: %w", err)
	}
	id := strconv.FormatUint(m.serial.Add(1), 10)
	if _, _, err := s.Send(q.message(id).buf); err != nil {
		return "", fmt.Errorf("asking the ZAP handler: %w", err)
	}
	if !s.CanSend() {
		return "", errNoZAPHandler
	}
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
		return "", &zmtp.DeniedError{Status: status, Text: f[4]}
	default:
		return "", &zmtp.DeniedError{Status: "500", Text: "the ZAP handler's status is none: " + quoted(status)}
	}
}
