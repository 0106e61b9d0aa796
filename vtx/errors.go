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

// Errors with which a link ends, told to the peer where the protocol can and to the monitor.
var (
	errRefused = errors.New("refused")
	errClosing = errors.New("closed by this end")
)
