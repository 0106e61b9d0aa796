package zmtp

import (
	"encoding/binary"
	"fmt"
)

// plain is one Decode of frames that are in batch form already. Whole messages are only found, not moved, as long
// as nothing stands between them; what a command interrupts is gathered in the session's buf.
type plain struct {
	s     *Session
	in    []byte
	start int // the first byte that is neither in buf nor done with
	end   int // in[start:end] are whole messages
	pos   int // the frame to look at; in[end:pos] belong to a message that is not whole
	begin int // where that message would begin, had all of it come in one piece; negative if it began in an earlier input
	size  int // its bodies' bytes
	count int
}

// decodePlain decodes ZMTP 2.0 and 3.x without sealing.
func (s *Session) decodePlain(in []byte) (Decoded, error) {
	p := plain{s: s, in: in, begin: -len(s.buf), pos: s.pos, size: s.size}
	if p.pos > len(in) { // the caller lost bytes; nothing sensible can come out
		return Decoded{Need: p.pos}, nil
	}
	for {
		need, err := p.scan()
		if err != nil || need > 0 {
			return p.finish(need), err
		}
		d, stop, err := p.command()
		if stop || err != nil {
			return d, err
		}
	}
}

// scan runs over message frames until one is not whole (need: how long the input has to become), or is no message
// frame (0). This is the hot path: it keeps its state in locals and allocates nothing.
func (p *plain) scan() (need int, err error) {
	in, pos, size, begin, end, count := p.in, p.pos, p.size, p.begin, p.end, p.count
	limit, room := p.s.limit, p.s.room()
	for {
		if len(in)-pos < 2 {
			need = pos + 2
			break
		}
		flags, n, next := in[pos], int(in[pos+1]), pos+2
		if flags > flagMore {
			if flags&^(flagMore|flagLong) != 0 {
				break
			}
			if len(in)-pos < 9 {
				need = pos + 9
				break
			}
			long := binary.BigEndian.Uint64(in[pos+1:])
			if long > uint64(maxFrame) {
				err = fmt.Errorf("%w: frame of %d bytes", ErrProtocol, long)
				break
			}
			n, next = int(long), pos+9
		}
		if n > limit-size {
			err = p.s.tooBig(size + n)
			break
		}
		next += n
		if next > len(in) {
			need = next
			if flags&flagMore != 0 {
				need += 2
			}
			break
		}
		size += n
		pos = next
		if flags&flagMore != 0 {
			if pos-begin-size > room {
				err = p.s.heads(pos - begin - size)
				break
			}
			continue
		}
		count++
		size, begin, end = 0, pos, pos
	}
	p.pos, p.size, p.begin, p.end, p.count = pos, size, begin, end, count
	return need, err
}

// command takes the frame at pos, which is not a message's. stop: d is the Decode's result; otherwise the scan goes
// on behind the command.
func (p *plain) command() (d Decoded, stop bool, err error) {
	flags := p.in[p.pos]
	if flags&^flagLong != flagCommand || p.s.Version.Major < 3 {
		return p.finish(0), true, fmt.Errorf("%w: flags %#02x on a frame of ZMTP %v", ErrProtocol, flags, p.s.Version)
	}
	size, n, want, err := p.commandHead()
	if err == nil && n > p.s.room() {
		err = p.s.tooBig(n)
	}
	if err != nil {
		return p.finish(0), true, err
	}
	after := p.pos + size + n
	if size == 0 || after > len(p.in) {
		return p.finish(p.pos + max(want, size+n)), true, nil
	}
	name, data, err := splitCommand(p.in[after-n : after])
	if err != nil {
		return p.finish(0), true, err
	}
	if p.s.publishes && (name == "SUBSCRIBE" || name == "CANCEL") {
		if err := p.subscription(name, data, after); err != nil {
			return p.finish(0), true, err
		}
		return Decoded{}, false, nil
	}
	var c Decoded
	control, err := c.control(name, data)
	switch {
	case err != nil:
		return p.finish(0), true, err
	case control && p.pos == p.end && len(p.s.buf) == 0: // the messages can stay where they are
		d = p.finish(0)
		d.Used = after
	case control: // maybe within a message: libzmq sends its PINGs and PONGs between any two frames
		p.jump(after)
		d = p.finish(0)
	default: // a peer may use commands that are not known here
		p.jump(after)
		return Decoded{}, false, nil
	}
	d.Control, d.TTL, d.Context, d.Reason = c.Control, c.TTL, c.Context, c.Reason
	return d, true, nil
}

// commandHead is head for the command at pos, and sees through a mistake of libzmq 4.3.4's: where a subscription's
// topic is of at most 255 bytes, but the command of more, it writes a long size without the LONG flag. As it stands
// that is a command of no bytes, which there cannot be. Taken at its word such a subscriber could never stay.
func (p *plain) commandHead() (size, body, want int, err error) {
	in := p.in[p.pos:]
	if p.s.publishes && len(in) >= 2 && in[0] == flagCommand && in[1] == 0 {
		if len(in) < 9 {
			return 0, 0, 9, nil
		}
		if n := binary.BigEndian.Uint64(in[1:]); 0xFF < n && n <= 0xFF+uint64(len("\x09SUBSCRIBE")) {
			return 9, int(n), 9, nil
		}
	}
	_, size, body, want, err = head(in)
	return size, body, want, err
}

// subscription puts a SUBSCRIBE or CANCEL among the messages, as the message that it stands for.
func (p *plain) subscription(name string, topic []byte, after int) error {
	if p.pos != p.end || p.begin != p.pos {
		return fmt.Errorf("%w: %s within a message", ErrProtocol, name)
	}
	if 1+len(topic) > p.s.limit {
		return p.s.tooBig(1 + len(topic))
	}
	p.jump(after)
	p.s.keepSubscription(name, topic)
	p.count++
	return nil
}

// keepSubscription appends to buf a whole message: what sockets know subscriptions as.
func (s *Session) keepSubscription(name string, topic []byte) {
	if s.fits(largeHead + 1 + len(topic)) {
		s.buf = appendSubscriptionMessage(s.buf, name, topic)
		s.done = len(s.buf)
	}
}

// appendSubscriptionMessage appends what sockets know subscriptions as.
func appendSubscriptionMessage(dst []byte, name string, topic []byte) []byte {
	dst = appendHead(dst, 0, 1+len(topic))
	first := byte(0)
	if name == "SUBSCRIBE" {
		first = 1
	}
	return append(append(dst, first), topic...)
}

// jump goes on behind a command. What stands before it moves to buf, unless there is nothing.
func (p *plain) jump(after int) {
	p.gather()
	p.s.keep(p.in[p.end:p.pos])
	p.begin += after - p.pos
	p.start, p.end, p.pos = after, after, after
}

// gather moves the whole messages to buf.
func (p *plain) gather() {
	if p.end > p.start {
		p.s.keep(p.in[p.start:p.end])
		p.s.done = len(p.s.buf)
	}
}

// finish makes the result and leaves the session's state for the next Decode. need counts from the front of in.
func (p *plain) finish(need int) Decoded {
	s := p.s
	s.pos, s.size = p.pos-p.end, p.size
	d := Decoded{Count: p.count, Used: p.end}
	if len(s.buf) == 0 {
		d.Messages = p.in[p.start:p.end]
	} else {
		p.gather()
		if len(s.buf) > s.done { // the rest of a message that began in buf follows it there
			s.keep(p.in[p.end:p.pos])
			s.pos, d.Used = 0, p.pos
		}
		d.Messages = s.buf[:s.done]
	}
	if need > 0 && len(p.in) > d.Used {
		d.Need = need - d.Used
	}
	return d
}
