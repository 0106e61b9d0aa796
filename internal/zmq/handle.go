// Package zmq is the only one that calls libzmq. It works in contexts that the application made, on two
// kinds of sockets: a Handle is the application's own, touched only on the application's thread inside one
// of its calls; a Socket is the engine's.
package zmq

/*
#cgo pkg-config: libzmq
#include <errno.h>
#include <stdlib.h>
#include "batch.h"
*/
import "C"

import (
	"errors"
	"syscall"
	"unsafe"
)

// Options of libzmq that the engine reads or sets.
const (
	RoutingID        = C.ZMQ_ROUTING_ID
	Subscribe        = C.ZMQ_SUBSCRIBE
	Unsubscribe      = C.ZMQ_UNSUBSCRIBE
	SndBuf           = C.ZMQ_SNDBUF
	RcvBuf           = C.ZMQ_RCVBUF
	Type             = C.ZMQ_TYPE
	Linger           = C.ZMQ_LINGER
	ReconnectIvl     = C.ZMQ_RECONNECT_IVL
	Backlog          = C.ZMQ_BACKLOG
	ReconnectIvlMax  = C.ZMQ_RECONNECT_IVL_MAX
	MaxMsgSize       = C.ZMQ_MAXMSGSIZE
	SndHWM           = C.ZMQ_SNDHWM
	RcvHWM           = C.ZMQ_RCVHWM
	Immediate        = C.ZMQ_IMMEDIATE
	XPubVerbose      = C.ZMQ_XPUB_VERBOSE
	IPv6             = C.ZMQ_IPV6
	Conflate         = C.ZMQ_CONFLATE
	TOS              = C.ZMQ_TOS
	HandshakeIvl     = C.ZMQ_HANDSHAKE_IVL
	XPubNoDrop       = C.ZMQ_XPUB_NODROP
	XPubManual       = C.ZMQ_XPUB_MANUAL
	InvertMatching   = C.ZMQ_INVERT_MATCHING
	HeartbeatIvl     = C.ZMQ_HEARTBEAT_IVL
	HeartbeatTTL     = C.ZMQ_HEARTBEAT_TTL
	HeartbeatTimeout = C.ZMQ_HEARTBEAT_TIMEOUT
	ConnectTimeout   = C.ZMQ_CONNECT_TIMEOUT
	BindToDevice     = C.ZMQ_BINDTODEVICE
	Mechanism        = C.ZMQ_MECHANISM

	TCPKeepalive      = C.ZMQ_TCP_KEEPALIVE
	TCPKeepaliveCnt   = C.ZMQ_TCP_KEEPALIVE_CNT
	TCPKeepaliveIdle  = C.ZMQ_TCP_KEEPALIVE_IDLE
	TCPKeepaliveIntvl = C.ZMQ_TCP_KEEPALIVE_INTVL
	TCPMaxRT          = C.ZMQ_TCP_MAXRT
	UseFD             = C.ZMQ_USE_FD
	SocksProxy        = C.ZMQ_SOCKS_PROXY
	PlainServer       = C.ZMQ_PLAIN_SERVER
	PlainUsername     = C.ZMQ_PLAIN_USERNAME
	PlainPassword     = C.ZMQ_PLAIN_PASSWORD
	CurveServer       = C.ZMQ_CURVE_SERVER
	CurvePublicKey    = C.ZMQ_CURVE_PUBLICKEY
	CurveSecretKey    = C.ZMQ_CURVE_SECRETKEY
	CurveServerKey    = C.ZMQ_CURVE_SERVERKEY
	ZAPDomain         = C.ZMQ_ZAP_DOMAIN
	ZAPEnforceDomain  = 93 // libzmq has it; its header hides it as a draft
	RouterMandatory   = C.ZMQ_ROUTER_MANDATORY
	ConnectRoutingID  = C.ZMQ_CONNECT_ROUTING_ID
)

// Bits of Events.
const (
	PollIn  = C.ZMQ_POLLIN
	PollOut = C.ZMQ_POLLOUT
)

// Types of the engine's own sockets.
const (
	TypePair   = C.ZMQ_PAIR
	TypePub    = C.ZMQ_PUB
	TypeDealer = C.ZMQ_DEALER
	TypeRouter = C.ZMQ_ROUTER
	TypePull   = C.ZMQ_PULL
	TypePush   = C.ZMQ_PUSH
	TypeXPub   = C.ZMQ_XPUB
)

// ETERM is libzmq's errno for a terminated context.
const ETERM = syscall.Errno(C.ETERM)

// Handle is a socket of the application's. Its methods may be called only while the application's
// call into VTX lasts, on that thread.
type Handle unsafe.Pointer

// NewHandle opens a socket for the application in ctx.
func NewHandle(ctx unsafe.Pointer, typ int) (Handle, error) {
	h, err := C.zmq_socket(ctx, C.int(typ))
	if h == nil {
		return nil, failed(err)
	}
	return Handle(h), nil
}

// CloseHandle closes the application's socket.
func CloseHandle(h Handle) error {
	return retry(func() (rc C.int, err error) { rc, err = C.zmq_close(unsafe.Pointer(h)); return })
}

// Bind binds h to an endpoint.
func Bind(h Handle, endpoint string) error {
	return withEndpoint(endpoint, func(e *C.char) (rc C.int, err error) { rc, err = C.zmq_bind(unsafe.Pointer(h), e); return })
}

// Unbind undoes Bind.
func Unbind(h Handle, endpoint string) error {
	return withEndpoint(endpoint, func(e *C.char) (rc C.int, err error) { rc, err = C.zmq_unbind(unsafe.Pointer(h), e); return })
}

// Connect connects h to an endpoint.
func Connect(h Handle, endpoint string) error {
	return withEndpoint(endpoint, func(e *C.char) (rc C.int, err error) { rc, err = C.zmq_connect(unsafe.Pointer(h), e); return })
}

// Disconnect undoes Connect.
func Disconnect(h Handle, endpoint string) error {
	return withEndpoint(endpoint, func(e *C.char) (rc C.int, err error) { rc, err = C.zmq_disconnect(unsafe.Pointer(h), e); return })
}

func withEndpoint(endpoint string, call func(e *C.char) (C.int, error)) error {
	e := C.CString(endpoint)
	defer C.free(unsafe.Pointer(e))
	return retry(func() (C.int, error) { return call(e) })
}

// Events is ZMQ_EVENTS. libzmq then has looked into each connection up to the first that has a message: the
// descriptor tells of the next one in all that were found empty.
func Events(h Handle) (int, error) { return GetInt(h, C.ZMQ_EVENTS) }

// HalfReceived says whether the application has received a message in part.
func HalfReceived(h Handle) bool {
	more, err := GetInt(h, C.ZMQ_RCVMORE)
	return err == nil && more != 0
}

// GetInt reads an option of type int.
func GetInt(h Handle, option int) (int, error) {
	var v C.int
	_, err := get(h, option, unsafe.Pointer(&v), unsafe.Sizeof(v))
	return int(v), err
}

// GetInt64 reads an option of type int64_t.
func GetInt64(h Handle, option int) (int64, error) {
	var v C.int64_t
	_, err := get(h, option, unsafe.Pointer(&v), unsafe.Sizeof(v))
	return int64(v), err
}

// GetBytes reads an option of variable length, up to 255 bytes.
func GetBytes(h Handle, option int) ([]byte, error) {
	var v [256]byte
	n, err := get(h, option, unsafe.Pointer(&v), unsafe.Sizeof(v))
	return v[:n:n], err
}

// GetKey reads a CURVE key, which is 32 bytes.
func GetKey(h Handle, option int) ([]byte, error) {
	var v [32]byte
	_, err := get(h, option, unsafe.Pointer(&v), unsafe.Sizeof(v))
	return v[:], err
}

func get(h Handle, option int, to unsafe.Pointer, room uintptr) (int, error) {
	size := C.size_t(room)
	err := retry(func() (rc C.int, err error) {
		rc, err = C.zmq_getsockopt(unsafe.Pointer(h), C.int(option), to, &size)
		return
	})
	if err != nil {
		return 0, err
	}
	return int(size), nil
}

// SetInt sets an option of type int.
func SetInt(h Handle, option, value int) error {
	v := C.int(value)
	return setsockopt(h, option, unsafe.Pointer(&v), unsafe.Sizeof(v))
}

// SetBytes sets an option of variable length.
func SetBytes(h Handle, option int, value []byte) error {
	return setsockopt(h, option, unsafe.Pointer(unsafe.SliceData(value)), uintptr(len(value)))
}

func setsockopt(h Handle, option int, from unsafe.Pointer, size uintptr) error {
	return retry(func() (rc C.int, err error) {
		rc, err = C.zmq_setsockopt(unsafe.Pointer(h), C.int(option), from, C.size_t(size))
		return
	})
}

// MaxSockets is how many sockets ctx allows; 0 if it cannot be asked.
func MaxSockets(ctx unsafe.Pointer) int {
	n, _ := C.zmq_ctx_get(ctx, C.ZMQ_MAX_SOCKETS)
	return max(int(n), 0)
}

// retry repeats a call that a signal interrupted.
func retry(call func() (C.int, error)) error {
	for {
		rc, err := call()
		if rc != -1 {
			return nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return failed(err)
		}
	}
}

// failed makes sure that a failure has a number.
func failed(err error) error {
	if err == nil {
		return syscall.EIO
	}
	return err
}
