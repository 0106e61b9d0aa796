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
	ErrBusy         = errors.New("message half received")     // EBUSY
	ErrTooMany      = errors.New("out of sockets")            // EMFILE
	ErrTerminated   = errors.New("the context is terminated") // ETERM
)

// errClosing is the reason of a link that this end closes because it has no more use for it.
var errClosing = errors.New("closed by this end")

// HandshakeError says that a peer was there and would not talk to us, or we not to it. As the reason of
// Link.Close its text is told to the peer; as the result of Dial it is the text that the peer told.
type HandshakeError struct {
	Kind   EventKind // one of EventAcceptFailed and EventHandshakeFailed…
	Value  uint32    // the event's, as in libzmq
	Reason string
	Err    error // the cause, if it has a name of its own
}

func (e *HandshakeError) Error() string { return e.Reason }
func (e *HandshakeError) Unwrap() error { return e.Err }

// failure is the event that tells of an error, or of none: kind, unless the error is a failed handshake, which
// has kinds of its own.
func failure(kind EventKind, endpoint string, err error) Event {
	e := Event{Kind: kind, Endpoint: endpoint}
	if err == nil || errors.Is(err, errClosing) {
		return e
	}
	e.Reason, e.Value = err.Error(), uint32(errnoOf(err))
	if kind == EventDisconnected {
		return e
	}
	var h *HandshakeError
	if errors.As(err, &h) {
		e.Kind, e.Value = h.Kind, h.Value
	}
	return e
}
