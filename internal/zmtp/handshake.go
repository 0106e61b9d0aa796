package zmtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	// maxIdentity is the longest routing id (RFC 37: 0 to 255 bytes).
	maxIdentity = 255
	// maxHandshakeCommand limits what a peer that nobody knows yet can make us hold.
	maxHandshakeCommand = 64 << 10
)

// Handshake agrees with the peer on a version and on security, and learns who it is. The caller limits the
// time by the stream's deadlines. After an error the stream is of no use.
//
// Both ends write before they read: the stream has to take some hundred bytes (with CURVE the metadata in addition)
// without waiting for the peer's read, as sockets do and net.Pipe does not.
func Handshake(rw io.ReadWriter, cfg *Config) (*Session, error) {
	if len(cfg.Identity) > maxIdentity {
		return nil, fmt.Errorf("identity of %d bytes, at most %d are possible", len(cfg.Identity), maxIdentity)
	}
	h := &handshake{rw: rw, cfg: cfg, s: newSession(cfg)}
	if err := h.greet(); err != nil {
		if errors.Is(err, ErrMechanism) {
			_ = h.flush() // from our greeting the peer can tell why
		}
		return nil, err
	}
	if h.s.Version.Major >= 3 {
		if err := h.secure(); err != nil {
			return nil, err
		}
	}
	if err := h.flush(); err != nil {
		return nil, err
	}
	h.s.rest = h.in
	return h.s, nil
}

// handshake is the state of one Handshake.
type handshake struct {
	rw  io.ReadWriter
	cfg *Config
	s   *Session
	in  []byte // read and not yet used
	out []byte // to be written before the next read: what one event calls for leaves in one piece
}

// secure exchanges the commands of ZMTP 3's mechanism and reads the peer's metadata.
func (h *handshake) secure() error {
	m := h.cfg.Mechanism
	own, err := h.metadata()
	if err != nil {
		return err
	}
	first, err := m.Begin(own)
	if err != nil {
		return err
	}
	h.command(first)
	for done := false; !done; {
		command, err := h.nextCommand()
		if err != nil {
			return err
		}
		var answer []byte
		if answer, done, err = m.Next(command); err != nil {
			return h.denied(err)
		}
		if done && h.cfg.Listening && answer != nil {
			h.s.final = appendFrame(nil, flagCommand, answer)
			break
		}
		h.command(answer)
	}
	theirs, user := m.Peer()
	if h.s.Properties, err = ParseMetadata(theirs); err != nil {
		return err
	}
	h.s.User, h.s.sealer = user, m.Sealer()
	socketType, _ := h.s.Properties.Get(socketTypeProperty)
	h.s.SocketType = string(socketType)
	h.s.Identity, _ = h.s.Properties.Get(identityProperty)
	if len(h.s.Identity) > maxIdentity {
		return fmt.Errorf("%w: identity of %d bytes", ErrProtocol, len(h.s.Identity))
	}
	return nil
}

// metadata encodes what this end says about itself, in libzmq's order.
func (h *handshake) metadata() ([]byte, error) {
	m := Metadata{{socketTypeProperty, []byte(h.cfg.SocketType)}}
	switch h.cfg.SocketType {
	case "REQ", "DEALER", "ROUTER": // libzmq tells it for these only, and then also an empty one
		m = append(m, Property{identityProperty, h.cfg.Identity})
	default:
		if len(h.cfg.Identity) > 0 {
			m = append(m, Property{identityProperty, h.cfg.Identity})
		}
	}
	m = append(m, h.cfg.Metadata...)
	if len(m) > maxProperties {
		return nil, fmt.Errorf("metadata of %d properties, at most %d are possible", len(m), maxProperties)
	}
	b, err := m.Append(nil)
	if err == nil && len(b) > maxHandshakeCommand/2 {
		err = fmt.Errorf("metadata of %d bytes, at most %d are possible", len(b), maxHandshakeCommand/2)
	}
	return b, err
}

// command queues a command; nil is none.
func (h *handshake) command(body []byte) {
	if body != nil {
		h.out = appendFrame(h.out, flagCommand, body)
	}
}

// nextCommand reads the peer's next command, and turns an ERROR into the error that it is.
func (h *handshake) nextCommand() ([]byte, error) {
	flags, body, err := h.frame(maxHandshakeCommand)
	if err != nil {
		return nil, err
	}
	if flags != flagCommand {
		return nil, fmt.Errorf("%w: flags %#02x on a command of the handshake", ErrProtocol, flags)
	}
	if reason, found := bytes.CutPrefix(body, []byte("^RROR")); found {
		// So libzmq 4.3.4's PLAIN server spells it: its source has "\x5ERROR". No name has 94 letters.
		body = append([]byte("\x05ERROR"), reason...)
	}
	name, data, err := splitCommand(body)
	if err != nil || name != "ERROR" {
		return body, err
	}
	reason, err := parseError(data)
	if err != nil {
		return nil, err
	}
	return nil, &RefusedError{reason}
}

// denied tells the peer that it was turned away, if it was that, and hands the error on.
func (h *handshake) denied(err error) error {
	var d *DeniedError
	// RFC 27: 300 is a temporary failure; a peer that is told nothing comes back.
	if errors.As(err, &d) && d.Status != "300" {
		h.command(errorCommand(d.Status))
		_ = h.flush() // the peer is lost in either case
	}
	return err
}

// frame reads one frame; its flags come without LONG, its body is good until the next read.
func (h *handshake) frame(limit int) (flags byte, body []byte, err error) {
	for {
		flags, size, n, want, err := head(h.in)
		switch {
		case err != nil:
			return 0, nil, err
		case n > limit:
			return 0, nil, fmt.Errorf("%w: frame of %d bytes in the handshake, at most %d are allowed", ErrProtocol, n, limit)
		case size > 0 && len(h.in) >= size+n:
			return flags &^ flagLong, h.take(size + n)[size:], nil
		}
		if err := h.need(max(want, size+n)); err != nil {
			return 0, nil, err
		}
	}
}

// need reads until there are n bytes, after writing what is due: the peer may be waiting for it.
func (h *handshake) need(n int) error {
	if len(h.in) < n {
		if err := h.flush(); err != nil {
			return err
		}
	}
	for empty := 0; len(h.in) < n; {
		if len(h.in) == cap(h.in) { // grows with what has come, not with what was announced
			h.in = append(make([]byte, 0, max(512, 2*len(h.in))), h.in...)
		}
		k, err := h.rw.Read(h.in[len(h.in):cap(h.in)])
		h.in = h.in[:len(h.in)+k]
		if k > 0 {
			empty = 0
		} else if empty++; err == nil && empty == 100 {
			err = io.ErrNoProgress
		}
		if err != nil && len(h.in) < n {
			return err
		}
	}
	return nil
}

// take takes n bytes that are there.
func (h *handshake) take(n int) []byte {
	b := h.in[:n:n]
	h.in = h.in[n:]
	return b
}

func (h *handshake) flush() error {
	if len(h.out) == 0 {
		return nil
	}
	_, err := h.rw.Write(h.out)
	h.out = h.out[:0]
	return err
}
