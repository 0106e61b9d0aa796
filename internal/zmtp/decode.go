package zmtp

import (
	"fmt"
	"net"

	"github.com/libvtx/libvtx/internal/arena"
)

// Decoded is what Decode found at the front of its input: whole messages, then perhaps one control command.
type Decoded struct {
	// Messages are Count whole messages in batch form: a part of the input, or memory of the session's that is
	// valid until the next Decode.
	Messages []byte
	Count    int
	// Used is how much of the input is done with.
	Used int
	// Need is how long the input must at least become, from what is left of it, before anything more
	// comes out of it; 0: not known.
	Need int
	// Control is the command after the messages; Context and TTL belong to PING and PONG, Reason to ERROR. Context
	// is memory as Messages is. Only behind a control there may be more to decode in what is left of the input.
	Control Control
	TTL     uint16
	Context []byte
	Reason  string
}

// Control is a command that is not for the application.
type Control int

// The controls.
const (
	NoControl Control = iota
	Ping
	Pong
	Error
)

// decoder is what a session remembers between two Decodes.
type decoder struct {
	// A message that is not whole stays in the input, up to pos looked at, or its frames are gathered in buf.
	pos  int
	size int // its bodies' bytes so far
	// buf holds done bytes of whole messages, which the last Decode gave, and then frames of one that is not whole.
	buf  []byte
	done int

	short error // there was no memory for more in buf

	opened  []byte // what was in sealed frames; decodePlain is done with from bytes of it
	from    int
	mistake error // in what came behind that

	phantom bool // the subscription that a ZMTP 1.0 peer does not send is still to be given
	err     error
}

// keepBuf is how much memory an idle decoder may keep for the next time.
const keepBuf = 64 << 10

// Decode takes whole messages and commands off the front of in. What it leaves must stand at the front of the
// next call's input, with more behind it. Errors: ErrProtocol, ErrTooBig, ErrSecurity, ENOMEM; what came before the
// mistake is in the Decoded even then, but with ENOMEM. After an error there is nothing but this error.
func (s *Session) Decode(in []byte) (d Decoded, err error) {
	if s.err != nil {
		return Decoded{}, s.err
	}
	if s.done > 0 {
		s.buf, s.done = recycle(s.buf, s.done), 0
	}
	switch {
	case s.Version.Major < 2:
		d, err = s.decodeV1(in)
	case s.sealer != nil:
		d, err = s.decodeSealed(in)
	default:
		d, err = s.decodePlain(in)
	}
	if s.short != nil {
		d, err = Decoded{}, s.short
	}
	s.err = err
	return d, err
}

// Release gives the decoder's memory back. Nobody may use what it has given any more, or decode again.
func (s *Session) Release() {
	arena.Put(s.buf)
	arena.Put(s.opened)
	s.decoder = decoder{err: net.ErrClosed}
}

// fits makes room for n bytes more in buf. false: there is none, and Decode will say so.
func (s *Session) fits(n int) bool {
	if s.short == nil {
		s.buf, s.short = arena.Grow(s.buf, n)
	}
	return s.short == nil
}

// keep appends bytes to buf, if they fit.
func (s *Session) keep(b []byte) {
	if s.fits(len(b)) {
		s.buf = append(s.buf, b...)
	}
}

// recycle forgets the messages of the last Decode, done bytes, and moves the one that was not whole to buf's front.
func recycle(buf []byte, done int) []byte {
	left := buf[done:]
	switch {
	case done == 0: // a long message that grows is not to be moved each time
		return buf
	case len(left) == 0 && cap(buf) > keepBuf:
		arena.Put(buf)
		return nil
	}
	return buf[:copy(buf, left)]
}

// room is how many bytes the frame headers of one message, or a command, may take.
func (s *Session) room() int {
	if s.limit > maxInt-slack {
		return maxInt
	}
	return s.limit + slack
}

func (s *Session) tooBig(size int) error {
	return fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooBig, size, s.limit)
}

// heads is the error for a message whose frame headers alone would fill the memory.
func (s *Session) heads(size int) error {
	return fmt.Errorf("%w: %d bytes of frame headers, %d are allowed", ErrTooBig, size, s.room())
}
