package zmtp

import (
	"encoding/binary"
	"fmt"
)

// decodeSealed decodes MESSAGE commands. The frames in them gather in buf, one by one.
func (s *Session) decodeSealed(in []byte) (d Decoded, err error) {
	for err == nil && d.Control == NoControl {
		flags, size, n, want, e := head(in[d.Used:])
		if e != nil {
			err = e
			break
		}
		// The RFC calls MESSAGE a command, libzmq sends it without COMMAND.
		if d.Used < len(in) && flags&^(flagLong|flagCommand) != 0 {
			err = fmt.Errorf("%w: flags %#02x on a sealed frame", ErrProtocol, flags)
			break
		}
		// What is a command will be known only when it is whole and open; a message is counted exactly then.
		if n-curveOverhead > max(s.limit-s.size, slack) {
			err = s.tooBig(s.size + n - curveOverhead)
			break
		}
		if size == 0 || len(in)-d.Used < size+n {
			if d.Used < len(in) {
				d.Need = max(want, size+n)
			}
			break
		}
		if err = s.open(&d, in[d.Used+size:d.Used+size+n]); err == nil {
			d.Used += size + n
		}
	}
	d.Messages = s.buf[:s.done]
	return d, err
}

// open takes one MESSAGE: a frame of a message goes to buf, a control to d.
func (s *Session) open(d *Decoded, message []byte) error {
	at, size := len(s.buf), 2
	if len(message) > 0xFF { // the frame in it will be shorter than it, but LONG is never wrong
		size = 9
	}
	var room [9]byte
	buf, flags, err := s.sealer.Open(append(s.buf, room[:size]...), message)
	if err != nil {
		return err
	}
	s.buf = buf[:at]
	body := buf[at+size:]
	if flags&flagCommand != 0 {
		if flags != flagCommand {
			return fmt.Errorf("%w: flags %#02x on a sealed command", ErrProtocol, flags)
		}
		return s.openCommand(d, body)
	}
	if len(body) > s.limit-s.size {
		return s.tooBig(s.size + len(body))
	}
	s.buf = buf
	s.buf[at] = flags
	if size == 2 {
		s.buf[at+1] = byte(len(body))
	} else {
		s.buf[at] |= flagLong
		binary.BigEndian.PutUint64(s.buf[at+1:], uint64(len(body)))
	}
	if flags&flagMore == 0 {
		d.Count++
	}
	return s.framed(flags, len(body))
}

// openCommand obeys a command that was sealed. body is memory behind buf's end.
func (s *Session) openCommand(d *Decoded, body []byte) error {
	name, data, err := splitCommand(body)
	if err != nil {
		return err
	}
	if !s.publishes || name != "SUBSCRIBE" && name != "CANCEL" {
		_, err := d.control(name, data)
		return err
	}
	if len(s.buf) > s.done {
		return fmt.Errorf("%w: %s within a message", ErrProtocol, name)
	}
	if 1+len(data) > s.limit {
		return s.tooBig(1 + len(data))
	}
	// The topic moves towards the front: what is written before it is shorter than the name that it stood behind.
	s.buf = appendSubscriptionMessage(s.buf, name, data)
	s.done = len(s.buf)
	d.Count++
	return nil
}
