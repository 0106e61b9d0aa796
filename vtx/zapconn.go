package vtx

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
)

const (
	zapEndpoint = "inproc://zeromq.zap.01"
	zapPeer     = "handler" // what our ROUTER calls it
)

// zapConn is a connection to whoever is bound to zapEndpoint, or will be. All but receive's waiting is guarded by zap's
// lock; whoever else has used the socket stirs receive, which looks at it again.
//
// Whether there is a handler must be known for sure: if there is none, many a peer comes in unasked. libzmq says yes to a
// connection to nobody, and lets it pend. zapProbe has met somebody before this one is opened, but he may have been unbound
// in between. Three things together tell, and for that this is a ROUTER, with
// ZMQ_ROUTER_MANDATORY and with this one connection, and not a DEALER:
//
//   - A connection that pends takes as many messages as this end's mark allows, which is one. One to a handler takes more:
//     the handler's mark is added.
//   - A DEALER is not writable when the mark is reached, and not when the other end is going either, which takes libzmq a
//     moment or more: then a handler that answered and went would look like none. Such a ROUTER looks at the mark alone
//     until the other end has gone for good.
//   - Where it is not writable, another attempt to send tells: EAGAIN says that the mark is reached, EHOSTUNREACH that
//     somebody is going or has gone.
//
// A pending connection is kept, and the next question tried on it: libzmq does not let go of one before somebody binds. The
// mark stays as it is: libzmq tells a change of it to the other end also where that has gone, and crashes.
type zapConn struct {
	s       *zmq.Socket
	name    string                  // begins its ids
	heard   time.Time               // its last answer, or its beginning
	waiting map[string]*zapQuestion // which have gone out, by id
	queue   []*zapQuestion          // for which there has been no room

	met     bool   // there is, or was, a handler at the other end
	answers bool   // it has said something
	last    *Batch // the last question that has gone out
	asked   uint64 // how many have
	read    uint64 // so many of them the handler has read, at least
}

// maxUnread is how many questions may go out that a handler has perhaps not read, if its own mark allows: those whose
// peers have left are among them, and libzmq cannot take them back.
const maxUnread = 10000

// openZAP connects. What comes in has no mark, since a handler that finds one reached throws its answer away.
func openZAP(m *Manager) (*zapConn, error) {
	s, err := zmq.Open(m.ctx, zmq.TypeRouter, m.poller)
	if err != nil {
		return nil, err
	}
	err = errors.Join(s.SetInt(zmq.SndHWM, 1), s.SetInt(zmq.RcvHWM, 0), s.SetInt(zmq.RouterMandatory, 1),
		s.SetBytes(zmq.ConnectRoutingID, []byte(zapPeer)), s.Connect(zapEndpoint))
	if err != nil {
		s.Close()
		return nil, err
	}
	return &zapConn{
		s: s, name: strconv.FormatUint(m.serial.Add(1), 10) + "-", heard: time.Now(),
		waiting: make(map[string]*zapQuestion),
	}, nil
}

// ask has a question go out, at once or when there is room for it. Errors: errNoZAPHandler; EHOSTUNREACH if the handler
// has gone before.
func (c *zapConn) ask(q *zapQuestion) error {
	defer c.s.Stir()
	if len(c.queue) > 0 {
		c.queue = append(c.queue, q)
		return nil
	}
	sent, err := c.send(q)
	switch {
	case sent || err != nil:
		return err
	case c.met:
		c.queue = append(c.queue, q)
		return nil
	}
	return errNoZAPHandler
}

// send sends a question, if there is room. Where nobody has been met it looks whether somebody is there: if not, there
// never was room, and what has been left in the connection is nobody's.
func (c *zapConn) send(q *zapQuestion) (sent bool, err error) {
	if c.unread() >= maxUnread {
		return false, nil
	}
	id := c.name + strconv.FormatUint(c.asked+1, 10) // no other question of this manager's has it
	message := q.message(id)
	_, n, err := c.s.Send(message.buf)
	if err != nil || n == 0 {
		return false, err
	}
	c.asked++
	c.last = message
	if !c.met {
		if c.met, err = c.somebody(); !c.met {
			return false, err
		}
	}
	q.id = id
	c.waiting[id] = q
	return true, nil
}

// somebody says whether somebody is, or was, at the other end, where one question has gone out.
func (c *zapConn) somebody() (bool, error) {
	if c.s.CanSend() {
		return true, nil
	}
	_, n, err := c.s.Send(c.last.buf) // where that succeeds the handler has just come, and gets it twice
	if errors.Is(err, syscall.EHOSTUNREACH) {
		return true, nil
	}
	return n > 0, err
}

// proceed sends what waits for room, and says whether the other end has gone.
func (c *zapConn) proceed() (over bool) {
	for len(c.queue) > 0 {
		if q := c.queue[0]; !q.given {
			sent, err := c.send(q)
			if err != nil {
				return errors.Is(err, syscall.EHOSTUNREACH)
			}
			if !sent { // nor has the other end gone
				return false
			}
		}
		c.queue = c.queue[1:]
	}
	if !c.met || c.s.CanSend() {
		return false
	}
	_, _, err := c.s.Send(c.last.buf) // where the handler has just made room, it gets it twice
	return errors.Is(err, syscall.EHOSTUNREACH)
}

// give passes an answer on. One that says not whose it is belongs to the only one there is, if so.
func (c *zapConn) give(id string, a zapAnswer) {
	c.answers, c.heard = true, time.Now()
	only := len(c.waiting) == 1 && c.unread() == 1
	number, ours := strings.CutPrefix(id, c.name)
	if n, err := strconv.ParseUint(number, 10, 64); ours && err == nil && n <= c.asked {
		c.read = max(c.read, n)
	}
	if c.waiting[id] == nil && a.err == errMalformedZAP && only {
		for id = range c.waiting {
		}
	}
	if q := c.waiting[id]; q != nil {
		q.answer <- a
		delete(c.waiting, id)
	}
}

// giveUp forgets a question that nobody waits for any more.
func (c *zapConn) giveUp(q *zapQuestion) {
	q.given = true
	delete(c.waiting, q.id)
	if q.id == "" {
		c.queue = slices.DeleteFunc(c.queue, func(other *zapQuestion) bool { return other == q })
	}
}

// end closes the connection. Who still waits gets no answer.
func (c *zapConn) end(err error) {
	c.s.Close()
	for _, q := range c.waiting {
		q.answer <- zapAnswer{err: err}
	}
	for _, q := range c.queue {
		q.answer <- zapAnswer{err: err}
	}
	c.waiting, c.queue = nil, nil
}

// idle: nobody waits for an answer.
func (c *zapConn) idle() bool { return len(c.waiting) == 0 && len(c.queue) == 0 }

// unread is how many questions have gone out since the last one that was answered. Those up to that one the handler
// has read, as they come to it in order.
func (c *zapConn) unread() uint64 { return c.asked - c.read }
