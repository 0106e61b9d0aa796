package vtx

import (
	"fmt"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
)

// A PAIR has one connection. libzmq does not take a second before the first has been read to its end, and does not say so to
// the application.

// joinPair uses the socket's one pipe for one peer after the other: libzmq silently ignores a second pipe
// while the first has not been drained.
func (p *peering) joinPair() error {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pairUser != nil {
		return &HandshakeError{Kind: EventAcceptFailed, Reason: "Max peerings reached for socket"}
	}
	if s.pairPipe == nil {
		pipe, err := s.m.joinedPipe(newPipeKind(Pair, p.cfg.Options), p.inproc, p.cfg.Options, false, false, "")
		if err != nil {
			return err
		}
		s.pairPipe = pipe
	}
	s.pairUser = p
	p.pipe, p.ours = s.pairPipe, true
	return nil
}

// leavePair lets the next peer have the pipe; one that the application itself connected goes with the peering.
func (s *Socket) leavePair(p *peering, pipe *pipe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pairUser = nil
	if !p.ours {
		s.pairPipe, s.pairLeft = nil, &leftPair{inproc: p.inproc, cut: p.cut}
		s.stats.drop(DropUnsent, pipe.Drop()) // with room in it, the connection says that it can send until it ends
		s.m.closePipe(pipe)
	}
}

// leftPair is the connection that a PAIR had last. libzmq may not be done with it.
type leftPair struct {
	inproc string
	cut    bool // by vtx_disconnect: nothing can be read from it any more
	old    bool // what is there is the old one
}

// How long vtx_connect waits for libzmq to be done with the connection that a PAIR had before: as long as the application
// has something of it, and as long as it seems that it has another peer.
const (
	pairPatience = 10 * time.Second
	pairDoubt    = time.Second
)

// meetPair is for where libzmq has to be done with the last connection.
func (s *Socket) meetPair(p *peering) (err error) {
	s.mu.Lock()
	if s.pairUser != nil {
		s.mu.Unlock()
		return pairTaken(p)
	}
	if p.cfg.Options.Immediate || s.pairPipe != nil {
		s.mu.Unlock()
		return s.invite(p)
	}
	s.pairUser = p
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.pairUser = nil
		} else {
			s.pairPipe, s.pairLeft = p.pipe.(*pipe), nil
		}
	}()
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		if err := s.meetNow(p); err != nil {
			return err
		}
		pipe := p.pipe.(*pipe)
		if pipe.CanSend() {
			if s.pairUnread.Len() > 0 {
				s.pairUnread.Offer(pipe.Send)
				s.stats.drop(DropFull, s.pairUnread.Len())
				s.pairUnread = Batch{}
			}
			return nil
		}
		p.pipe = nil
		s.m.closePipe(pipe)
		if err := s.leftToEnd(p, time.Since(begun)); err != nil {
			return err
		}
	}
}

func pairTaken(p *peering) error {
	return fmt.Errorf("endpoint %s: a PAIR socket has one peer, and this one has it: %w", p.cfg.Endpoint, syscall.EISCONN)
}

// leftToEnd looks why libzmq has taken no new connection. Where the last one is still there it takes out of that what keeps
// it, for pairUnread: the new one will carry it. Errors: EISCONN, ErrBusy.
func (s *Socket) leftToEnd(p *peering, waited time.Duration) error {
	left := s.pairLeft
	if left == nil || waited > pairPatience {
		return pairTaken(p)
	}
	events, err := zmq.Events(s.handle)
	if err != nil {
		return err
	}
	if events&zmq.PollOut != 0 || left.cut && events&zmq.PollIn != 0 { // it is another, or the end of the last is on its way
		if waited > pairDoubt {
			s.pairLeft = nil
			return pairTaken(p)
		}
		return nil
	}
	if left.cut {
		return nil
	}
	if err := s.halfReceived(p.endpoint); err != nil {
		return err
	}
	if !left.old {
		// libzmq knows it as long as it is there, and goes on letting it be read.
		if zmq.Disconnect(s.handle, left.inproc) != nil {
			s.pairLeft = nil // it may have gone since; who refuses once more is another
			return nil
		}
		left.old = true
	}
	buf, n := zmq.Drain(s.handle)
	s.pairUnread.buf, s.pairUnread.n = append(s.pairUnread.buf, buf...), s.pairUnread.n+n
	return nil
}
