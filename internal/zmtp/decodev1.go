package zmtp

import "fmt"

// decodeV1 decodes ZMTP 1.0, whose frames have to be written anew: they gather in buf, one by one.
func (s *Session) decodeV1(in []byte) (d Decoded, err error) {
	if s.phantom {
		// Such a subscriber sends no subscriptions, it wants everything and chooses for itself.
		s.phantom = false
		s.keepSubscription("SUBSCRIBE", nil)
		d.Count = 1
	}
	for {
		flags, size, n, want, e := headV1(in[d.Used:])
		if err = e; err == nil && n > s.limit-s.size {
			err = s.tooBig(s.size + n)
		}
		if err == nil && size > 0 && flags&^flagMore != 0 {
			err = fmt.Errorf("%w: flags %#02x on a frame of ZMTP %v", ErrProtocol, flags, s.Version)
		}
		if whole := size > 0 && len(in)-d.Used >= size+n; err != nil || !whole {
			d.Messages = s.buf[:s.done]
			if d.Used < len(in) {
				d.Need = max(want, size+n)
			}
			return d, err
		}
		body := in[d.Used+size : d.Used+size+n]
		if !s.fits(largeHead + n) {
			return d, s.short
		}
		s.buf = appendFrame(s.buf, flags, body)
		d.Used += size + n
		if err = s.framed(flags, n); err != nil {
			d.Messages = s.buf[:s.done]
			return d, err
		}
		if flags&flagMore == 0 {
			d.Count++
		}
	}
}

// framed counts a message's frame of n bytes that has just been put into buf.
func (s *Session) framed(flags byte, n int) error {
	s.size += n
	if flags&flagMore == 0 {
		s.done, s.size = len(s.buf), 0
	} else if heads := len(s.buf) - s.done - s.size; heads > s.room() {
		return s.heads(heads)
	}
	return nil
}
