package vtx

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/zmtp"
)

// errNoZAPHandler: nobody is bound to zapEndpoint.
var errNoZAPHandler = errors.New("there is no ZAP handler")

// errZAPHandlerLeft: somebody was there, and has gone without an answer. That is no word in the peer's favour.
var errZAPHandlerLeft = fmt.Errorf("the ZAP handler has gone without an answer: %w", syscall.EFAULT)

// errMalformedZAP: what the handler has said is no answer.
var errMalformedZAP error = &zmtp.DeniedError{Status: "500", Text: "the ZAP handler's answer is malformed"}

// zapRequest is one question; its frames are in RFC 27's order.
type zapRequest struct {
	domain, address string
	identity        []byte
	mechanism       string
	credentials     [][]byte
}

// zapQuestion is one that somebody waits with. All but answer is guarded by zap's lock.
type zapQuestion struct {
	zapRequest
	answer chan zapAnswer // has room for it
	conn   *zapConn
	id     string // "": it has not gone out
	given  bool   // up
}

// zapAnswer is what becomes of one.
type zapAnswer struct {
	user string
	err  error
}

// zap is how one manager asks. As a rule one connection carries all questions that wait; what bounds them are the
// handshakes that wait with them.
type zap struct {
	mu      sync.Mutex
	current *zapConn              // which the next question may go out on; nil: none
	earlier map[*zapConn]struct{} // the others on which an answer may still come
	probe   *zapProbe             // says that nobody is bound; nil: none says so
	closed  bool
}

// libzmq connects for each question, and so asks whoever is bound at that time. The handler that a connection leads to may
// have been unbound meanwhile, without having been closed. So one on which questions wait gets no more of them when
// nothing has been answered for zapRenewal, unless maxEarlier like it wait already.
const (
	zapRenewal = time.Second
	maxEarlier = 8
)

// zapAttempts is how many handlers may go between our connecting and the question.
const zapAttempts = 3

// askZAP asks the ZAP handler (RFC 27) that the application runs in its context, as libzmq does for its own
// connections, and waits for the answer until ctx ends. Errors: *zmtp.DeniedError, errNoZAPHandler, errZAPHandlerLeft,
// ctx's cause, libzmq's.
func (m *Manager) askZAP(ctx context.Context, request zapRequest) (user string, err error) {
	q := &zapQuestion{zapRequest: request, answer: make(chan zapAnswer, 1)}
	if err := m.putZAP(q); err != nil {
		return "", err
	}
	defer m.zap.giveUp(q)
	select {
	case a := <-q.answer:
		return a.user, a.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// putZAP puts a question. Errors: errNoZAPHandler, errZAPHandlerLeft, libzmq's.
func (m *Manager) putZAP(q *zapQuestion) error {
	z := &m.zap
	z.mu.Lock()
	defer z.mu.Unlock()
	for range zapAttempts {
		c, err := m.zapConnection()
		if err == nil {
			q.conn = c
			err = c.ask(q)
		}
		switch {
		case err == nil || err == errNoZAPHandler:
			return err
		case !errors.Is(err, syscall.EHOSTUNREACH):
			return fmt.Errorf("asking the ZAP handler: %w", err)
		}
		z.replace(c) // the handler went before it could be asked: the next may be there
	}
	return errZAPHandlerLeft
}

// zapConnection gives the connection that the next question goes out on. Where nothing is on its way it is a new one, as
// natively. errNoZAPHandler: there is nobody to connect to. The lock is held.
func (m *Manager) zapConnection() (*zapConn, error) {
	z := &m.zap
	if z.closed {
		return nil, ErrTerminated
	}
	if c := z.current; c != nil {
		answered := c.answers && c.idle()
		fresh := time.Since(c.heard) < zapRenewal || len(z.earlier) >= maxEarlier
		switch {
		case !c.met && !c.s.CanSend(): // there was nobody, and there still is, unless sending says otherwise
			return c, nil
		case c.met && !answered && fresh:
			return c, nil
		}
		z.replace(c)
	}
	if err := m.noZAPHandler(); err != nil {
		return nil, err
	}
	c, err := openZAP(m)
	if err != nil {
		return nil, err
	}
	z.current = c
	go z.receive(c)
	return c, nil
}

// replace has the next question go out on another connection. The lock is held.
func (z *zap) replace(c *zapConn) {
	z.current = nil
	if z.earlier == nil {
		z.earlier = make(map[*zapConn]struct{})
	}
	z.earlier[c] = struct{}{}
	z.tidy(c)
}

// tidy closes a connection that is not in use any more when nobody waits for its answers. That of a handler which has
// never answered stays: it may be one that does not look at its socket, and until it does libzmq does not let go of a
// closed one. The lock is held.
func (z *zap) tidy(c *zapConn) {
	_, earlier := z.earlier[c]
	if earlier && c.idle() && (c.answers || !c.met) {
		delete(z.earlier, c)
		c.s.Close()
	}
}

func (z *zap) giveUp(q *zapQuestion) {
	z.mu.Lock()
	defer z.mu.Unlock()
	q.conn.giveUp(q)
	z.tidy(q.conn)
}

// receive passes the answers on until the connection ends.
func (z *zap) receive(c *zapConn) {
	buf := make([]byte, 0, 1024)
	for over := false; ; {
		var n int
		var err error
		if buf, n, _, err = c.s.Recv(buf[:0]); n > 0 {
			answers := Batch{buf: buf, n: n}
			for a := answers.Pop(); a != nil; a = answers.Pop() {
				z.answered(c, a)
			}
			continue
		}
		if err != nil || over {
			z.lost(c, err)
			return
		}
		// The last look before waiting: what libzmq learns later wakes the descriptor.
		if over = z.proceed(c); !over { // else once more, for what the handler has said before
			<-c.s.Readable()
		}
	}
}

func (z *zap) proceed(c *zapConn) (over bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return c.proceed()
}

func (z *zap) answered(c *zapConn, m Message) {
	z.mu.Lock()
	defer z.mu.Unlock()
	c.give(readZAP(m))
	z.tidy(c)
}

// lost forgets a connection that has ended.
func (z *zap) lost(c *zapConn, err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.current == c {
		z.current = nil
	}
	delete(z.earlier, c)
	if err == nil {
		err = errZAPHandlerLeft
	}
	c.end(err)
}

// close ends what is left.
func (z *zap) close() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.closed = true
	if z.probe != nil {
		z.probe.close()
	}
	if z.current != nil {
		z.current.s.Close()
	}
	for c := range z.earlier {
		c.s.Close()
	}
}

func (q *zapRequest) message(id string) *Batch {
	frames := [][]byte{[]byte(zapPeer), {}, []byte("1.0"), []byte(id), []byte(q.domain), []byte(q.address), q.identity, []byte(q.mechanism)}
	b := new(Batch)
	b.Append(append(frames, q.credentials...)...)
	return b
}

// readZAP reads an answer: our name for the handler, delimiter, version, id, status, text, user id, metadata. The id of
// one that has none is "".
func readZAP(m Message) (id string, a zapAnswer) {
	var f []string
	for frame := range m.Frames() {
		f = append(f, string(frame))
	}
	if len(f) > 3 {
		id = f[3]
	}
	if len(f) != 8 || f[1] != "" || f[2] != "1.0" {
		return id, zapAnswer{err: errMalformedZAP}
	}
	switch status := f[4]; status {
	case "200":
		return id, zapAnswer{user: f[6]}
	case "300", "400", "500":
		return id, zapAnswer{err: &zmtp.DeniedError{Status: status, Text: quoted(f[5])}}
	default:
		return id, zapAnswer{err: &zmtp.DeniedError{Status: "500", Text: "the ZAP handler's status is none: " + quoted(status)}}
	}
}
