package zmtp

import "fmt"

// decodeSealed decodes MESSAGE commands: it opens those that have come, and what is in them is decoded as if it had come
// that way.
func (s *Session) decodeSealed(in []byte) (Decoded, error) {
	s.opened, s.from = recycle(s.opened, s.from), 0
	var used, need int
	if s.mistake == nil {
		var err error
		used, need, s.mistake = s.sealed(in)
		if s.opened, used, err = s.sealer.Open(s.opened, in[:used]); err != nil {
			s.mistake = err
		}
	}
	d, err := s.decodePlain(s.opened)
	s.from = d.Used
	d.Used, d.Need = used, need
	if err == nil && d.Control == NoControl { // with which there may be more in opened
		err = s.mistake
	}
	return d, err
}

// sealed finds the whole frames at the front of in, and how many bytes it takes for another. Errors: what is in one is
// too big, or it is none of a sealed one's; the frames before that are found even then.
func (s *Session) sealed(in []byte) (used, need int, err error) {
	overhead := s.sealer.Overhead()
	for {
		flags, size, n, want, err := head(in[used:])
		if err != nil {
			return used, 0, err
		}
		// The RFC calls MESSAGE a command, libzmq sends it without COMMAND.
		if used < len(in) && flags&^(flagLong|flagCommand) != 0 {
			return used, 0, fmt.Errorf("%w: flags %#02x on a sealed frame", ErrProtocol, flags)
		}
		// What is a command will be known only when it is whole and open; a message is counted exactly then.
		if n-overhead > max(s.limit-s.size, slack) {
			return used, 0, s.tooBig(s.size + n - overhead)
		}
		if size == 0 || len(in)-used < size+n {
			if used < len(in) {
				need = max(want, size+n)
			}
			return used, need, nil
		}
		used += size + n
	}
}
