package zmtp

// Mechanism is one end of the security handshake between the greeting and the first message (RFC 23, security
// mechanisms). One is made for each connection and used by one goroutine at a time. Commands are frame bodies: a
// byte with the length of the name, the name, and what belongs to it.
type Mechanism interface {
	// Name stands in the greeting: "NULL", "PLAIN", "CURVE".
	Name() string
	// Server is the greeting's as-server bit.
	Server() bool
	// Begin takes this end's metadata, encoded, and returns the first command, or nil where the peer speaks first.
	Begin(metadata []byte) (command []byte, err error)
	// Next takes the peer's next command and returns the answer, or nil. done: with this answer sent, messages
	// may flow. ERROR commands do not come here. An error ends the connection; a *DeniedError is told to the peer.
	// command is memory that is used again after the call.
	Next(command []byte) (answer []byte, done bool, err error)
	// Peer gives the peer's metadata, encoded, and the user id that authentication found, once done.
	Peer() (metadata []byte, user string)
	// Sealer protects the messages; nil: they travel as they are.
	Sealer() Sealer
}

// Sealer turns frames into MESSAGE commands and back. The commands travel, RFC and libzmq agree, in frames without COMMAND.
type Sealer interface {
	// Seal appends to dst the MESSAGEs, in their frames, that carry frames: whole ones of messages or of commands. Errors:
	// ENOMEM.
	Seal(dst, frames []byte) ([]byte, error)
	// SealFrame does so for one frame, whose body is elsewhere. flags: MORE, COMMAND.
	SealFrame(dst []byte, flags byte, body []byte) ([]byte, error)
	// Open appends to dst the frames that are in MESSAGEs: whole ones, in their frames. used is how many bytes of them
	// stand before the first mistake; what was in those is there even with an error. Errors: ErrProtocol, ErrSecurity, ENOMEM.
	Open(dst, messages []byte) (frames []byte, used int, err error)
	// OpenFrame opens one MESSAGE, without its frame, where it is: body is the end of it. Errors: as Open.
	OpenFrame(message []byte) (flags byte, body []byte, err error)
	// Overhead is how many bytes longer a MESSAGE is than the body of the frame that it carries.
	Overhead() int
}

// Authenticate asks the application whether a peer may come in (RFC 27): for the mechanism with these
// credentials. Errors: *DeniedError; any other says that there was no answer.
type Authenticate func(mechanism string, credentials ...[]byte) (user string, err error)
