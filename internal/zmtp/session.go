package zmtp

import "io"

// Handshake agrees with the peer on a version and on security, and learns who it is. The caller limits the
// time by the stream's deadlines. After an error the stream is of no use.
func Handshake(rw io.ReadWriter, cfg *Config) (*Session, error) { panic("not yet") }

// Session is a connection after the handshake. Encoding and decoding are independent of each other: each may
// be used by one goroutine at a time.
type Session struct {
	Version Version
	// SocketType, Identity and Metadata are the peer's; a ZMTP 1.0 peer tells only its identity.
	SocketType string
	Identity   []byte
	Metadata   Metadata
	// User is the user id that authentication gave the peer, "" if none.
	User string
}

// Final is what a listening end still has to write before its first message, once it takes the peer; nil if nothing.
func (s *Session) Final() []byte { panic("not yet") }

// Refusal is what a listening end writes in place of Final when it does not take the peer; nil if the peer's
// version has no way to say so.
func (s *Session) Refusal(reason string) []byte { panic("not yet") }

// Rest is what the handshake has read beyond its end: the first bytes for Decode.
func (s *Session) Rest() []byte { panic("not yet") }

// Verbatim says that messages leave in batch form, so that Encode would only copy them.
func (s *Session) Verbatim() bool { panic("not yet") }

// Encode appends to dst the wire form of whole messages in batch form.
func (s *Session) Encode(dst, messages []byte) []byte { panic("not yet") }

// AppendPing appends a PING (RFC 37, connection heartbeating): ttl in tenths of a second, context of at most
// 16 bytes. Versions before 3.0 have none: then dst is returned as it is.
func (s *Session) AppendPing(dst []byte, ttl uint16, context []byte) []byte { panic("not yet") }

// AppendPong appends the answer to a PING.
func (s *Session) AppendPong(dst []byte, context []byte) []byte { panic("not yet") }

// AppendError appends an ERROR command, for an end that has to go after the handshake; nothing before version 3.0.
func (s *Session) AppendError(dst []byte, reason string) []byte { panic("not yet") }

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
	// Control is the command after the messages; Context and TTL belong to PING and PONG, Reason to ERROR.
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

// Decode takes whole messages and commands off the front of in. What it leaves must stand at the front of the
// next call's input, with more behind it. Errors: ErrProtocol, ErrTooBig, ErrSecurity; what came before the
// mistake is in the Decoded even then.
func (s *Session) Decode(in []byte) (Decoded, error) { panic("not yet") }
