package vtx

import "errors"

// The errors that callers tell apart. Each is wrapped in a sentence that names the endpoint
// and the cause; the C API maps it to the errno named here. Errors of the operating
// system and of libzmq are wrapped as they are (syscall.Errno) and keep their number.
var (
	ErrInvalid      = errors.New("invalid argument")          // EINVAL
	ErrNotSocket    = errors.New("not an open socket")        // ENOTSOCK
	ErrNoScheme     = errors.New("unknown scheme")            // ENOPROTOOPT
	ErrNotUnique    = errors.New("already registered")        // ENOTUNIQ
	ErrNotSupported = errors.New("not supported")             // ENOTSUP
	ErrNotFound     = errors.New("no such endpoint")          // ENOENT
	ErrTooMany      = errors.New("out of sockets")            // EMFILE
	ErrTerminated   = errors.New("the context is terminated") // ETERM
)

// errClosing is the reason of a link that this end closes because it has no more use for it.
var errClosing = errors.New("closed by this end")

// HandshakeError says that a peer was there and would not talk to us, or we not to it. As the reason of
// Link.Close its text is told to the peer; as the result of Dial it is the text that the peer told.
type HandshakeError struct {
	Kind   EventKind // one of EventAcceptFailed and EventHandshakeFailed…
	Reason string
}

func (e *HandshakeError) Error() string { return e.Reason }

// handshakeEvent is the event that tells a failed handshake, or otherwise what else is given.
func handshakeEvent(err error, otherwise EventKind) EventKind {
	var h *HandshakeError
	if errors.As(err, &h) {
		return h.Kind
	}
	return otherwise
}
