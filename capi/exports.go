package main

/*
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
*/
import "C"

import (
	"fmt"
	"runtime/debug"
	"sync"
	"unsafe"

	"github.com/libvtx/libvtx/vtx"
)

// The comment of an export is its entry in vtx.h, up to the C prototype of the public function
// that stands before it in shim.c. An export without a prototype is for the shim alone.
//
// Every export gives an errno, 0 for success, and on failure writes a sentence to why, unless that is NULL.

// answer runs one call: it turns a panic into an error, and an error into an errno and a sentence.
func answer(why *C.char, call func() error) (errno C.int) {
	tell := func(err error) C.int {
		if err == nil {
			return 0
		}
		if why != nil {
			buffer := unsafe.Slice((*byte)(unsafe.Pointer(why)), whySize)
			buffer[copy(buffer, sentence(err, whySize))] = 0
		}
		return C.int(errnoOf(err))
	}
	defer func() {
		if fault := recover(); fault != nil {
			errno = tell(fmt.Errorf("internal fault: %v at %s", fault, debug.Stack()))
		}
	}()
	return tell(call())
}

// with runs one call on the manager behind self.
func with(self C.uintptr_t, why *C.char, call func(m *manager) error) C.int {
	return answer(why, func() error {
		m, err := find(self)
		if err != nil {
			return err
		}
		return call(m)
	})
}

// Make a vtx for the sockets of a libzmq context. ctx is a zctx_t, of vtx_czmq.h or of czmq 2 or 3,
// and must outlive it; NULL stands for the context that czmq 3 and 4 keep for the whole process.
// The caller owns the vtx_t and destroys it with vtx_destroy. Returns NULL with errno on failure:
// EINVAL if ctx is no zctx_t, ENOTSUP if it is NULL and no czmq is in the process, ETERM, EMFILE.
//
//	vtx_t *vtx_new (zctx_t *ctx);
//
//export vtxgo_new
func vtxgo_new(zctx C.uintptr_t, zmq unsafe.Pointer, self *C.uintptr_t, why *C.char) C.int {
	return answer(why, func() error {
		m, err := vtx.NewManager(zmq)
		if err != nil {
			return err
		}
		*self, err = add(&manager{m, zctx})
		return err
	})
}

// The same for a plain libzmq context, as other languages have it: pyzmq's Context.underlying,
// cppzmq's context_t::handle (), ffi-rzmq's Context#context. It stays the caller's. Errors: EINVAL
// if zmq_ctx is not an open libzmq context, ETERM, EMFILE.
//
//	vtx_t *vtx_new_raw (void *zmq_ctx);
//
//export vtxgo_new_raw
func vtxgo_new_raw(zmq unsafe.Pointer, self *C.uintptr_t, why *C.char) C.int {
	return vtxgo_new(0, zmq, self, why)
}

// Close every socket that vtx_socket made and end the endpoints of all others, each within its
// ZMQ_LINGER, and null the caller's pointer. NULL and a pointer to NULL are fine. No other thread may
// be using the vtx_t or its sockets. After the context has ended this still has to be called.
//
//	void vtx_destroy (vtx_t **self_p);
//
//export vtxgo_destroy
func vtxgo_destroy(self C.uintptr_t, why *C.char) C.int {
	return answer(why, func() error {
		m, err := remove(self)
		if err != nil {
			return err
		}
		return m.Destroy()
	})
}

// Make a socket of a libzmq type, ZMQ_PAIR to ZMQ_XSUB. It is a libzmq socket like any other and
// belongs to one thread at a time; a zctx_t's linger and high-water marks are set on it. The vtx_t
// owns it until vtx_close. Returns NULL with errno: EINVAL, EMFILE, ETERM, ENOTSUP for other types.
//
//	void *vtx_socket (vtx_t *self, int type);
//
//export vtxgo_socket
func vtxgo_socket(self C.uintptr_t, socketType C.int, socket *unsafe.Pointer, zctx *C.uintptr_t, why *C.char) C.int {
	return with(self, why, func(m *manager) error {
		s, err := m.Socket(vtx.SocketType(socketType))
		*socket, *zctx = s, m.zctx
		return err
	})
}

// Accept peers at endpoint, scheme://host:port[?name=value&...]; vtx_getmeta tells the port that *
// found. The socket is a libzmq socket of the same context, whoever made it, or a zsock_t; call from
// the thread that uses it. Errors: EINVAL for a malformed endpoint, ENOPROTOOPT for an unknown scheme,
// ENOTSOCK, ENOTSUP for what the scheme or socket type cannot do, ETERM, EADDRINUSE and its like.
//
//	int vtx_bind (vtx_t *self, void *socket, const char *endpoint);
//
//export vtxgo_bind
func vtxgo_bind(self C.uintptr_t, socket unsafe.Pointer, endpoint *C.char, why *C.char) C.int {
	return with(self, why, func(m *manager) error { return m.Bind(socket, C.GoString(endpoint)) })
}

// Stop accepting peers at an endpoint that vtx_bind was given or vtx_getmeta told, and end the peerings
// it accepted. Same thread rule. Errors: ENOENT if the socket is not bound there, EBUSY while a message is
// half received (ZMQ_RCVMORE), EINVAL, ENOTSOCK, ETERM.
//
//	int vtx_unbind (vtx_t *self, void *socket, const char *endpoint);
//
//export vtxgo_unbind
func vtxgo_unbind(self C.uintptr_t, socket unsafe.Pointer, endpoint *C.char, why *C.char) C.int {
	return with(self, why, func(m *manager) error { return m.Unbind(socket, C.GoString(endpoint)) })
}

// Look for a peer at endpoint, now and whenever it is lost, until vtx_disconnect. Returns at once;
// messages wait for the peer as with zmq_connect, and an unknown host is tried again. DEALER, SUB, PUB
// and REQ connect to the same endpoint once: another call does nothing. Sockets, thread rule and errors
// are those of vtx_bind.
//
//	int vtx_connect (vtx_t *self, void *socket, const char *endpoint);
//
//export vtxgo_connect
func vtxgo_connect(self C.uintptr_t, socket unsafe.Pointer, endpoint *C.char, why *C.char) C.int {
	return with(self, why, func(m *manager) error { return m.Connect(socket, C.GoString(endpoint)) })
}

// End what vtx_connect made for endpoint, however often; what was sent on it is delivered within
// ZMQ_LINGER, in the background. Same thread rule. Errors: ENOENT if there is none, EBUSY as of vtx_unbind,
// EINVAL, ENOTSOCK, ETERM.
//
//	int vtx_disconnect (vtx_t *self, void *socket, const char *endpoint);
//
//export vtxgo_disconnect
func vtxgo_disconnect(self C.uintptr_t, socket unsafe.Pointer, endpoint *C.char, why *C.char) C.int {
	return with(self, why, func(m *manager) error { return m.Disconnect(socket, C.GoString(endpoint)) })
}

// Close a socket, whoever made it, after what was sent on it has left, within its ZMQ_LINGER. The
// pointer is not to be used again; of a zsock_t the libzmq socket is closed, and zsock_destroy, which
// should follow at once, frees the rest. Same thread rule. Errors: ENOTSOCK.
//
//	int vtx_close (vtx_t *self, void *socket);
//
//export vtxgo_close
func vtxgo_close(self C.uintptr_t, socket unsafe.Pointer, why *C.char) C.int {
	return with(self, why, func(m *manager) error { return m.Close(socket) })
}

// Let scheme stand for a driver: one of the functions below, under its own name, which needs no registration,
// or any other; or a function of your own, which now runs in a thread of its own until the vtx_t is destroyed.
// Its sockets are open until it returns: one that hangs keeps a zmq_ctx_term of yours waiting, while vtx_destroy
// and zctx_destroy give it up after seconds. A scheme can be registered once in each vtx_t. Errors: ENOTUNIQ if
// it was, EINVAL for a malformed scheme or no driver, ETERM, EMFILE.
//
//	int vtx_register (vtx_t *self, const char *scheme, zthread_attached_fn *driver_fn);
//
//export vtxgo_register
func vtxgo_register(self C.uintptr_t, scheme, driver *C.char, why *C.char) C.int {
	return with(self, why, func(m *manager) error { return m.Register(C.GoString(scheme), C.GoString(driver)) })
}

// Set what libzmq has no socket option for: for one socket, or with a NULL socket for all that the
// vtx_t will serve. It holds for later binds and connects. Secrets, such as the text of a private key, are
// taken here only, never in an endpoint. Errors: EINVAL for an unknown name or a value that is not allowed,
// ENOTSOCK.
//
//	int vtx_setopt (vtx_t *self, void *socket_or_null, const char *name, const char *value);
//
//export vtxgo_setopt
func vtxgo_setopt(self C.uintptr_t, socket unsafe.Pointer, name, value *C.char, why *C.char) C.int {
	return with(self, why, func(m *manager) error {
		return m.SetOption(socket, C.GoString(name), C.GoString(value))
	})
}

// Tell a fact about a socket: "endpoint", the last one bound or connected, as in use; "peers", how many;
// "stats", counters as JSON; and of its only peer, or with ":" and a routing id of a ROUTER's: "sender",
// its address; "user", who it is for the ZAP handler; "property:NAME", what it says of itself, such as
// "property:Socket-Type"; "tls.subject" and its like, what the transport has verified. The caller frees the
// string. Returns NULL with errno: EINVAL for an unknown name, ENOENT if there is nothing to tell, ENOTSUP
// if the socket cannot know it, ENOTSOCK.
//
//	char *vtx_getmeta (vtx_t *self, void *socket, const char *name);
//
//export vtxgo_getmeta
func vtxgo_getmeta(self C.uintptr_t, socket unsafe.Pointer, name *C.char, value **C.char, why *C.char) C.int {
	return with(self, why, func(m *manager) error {
		text, err := m.Meta(socket, C.GoString(name))
		if err == nil {
			*value = C.CString(text)
		}
		return err
	})
}

// Report what happens to the socket's endpoints to a ZMQ_PAIR bound at inproc_endpoint, which the caller
// connects to: the two frames and ZMQ_EVENT_ numbers of zmq_socket_monitor, and for a failure a third,
// a sentence on one printable line. VTX_EVENT_REFUSED is a message or peering that was refused. events is the sum of those
// wanted. A second call ends the first one's reports, and may name the same endpoint; 0 events end them.
// Errors: EINVAL, EADDRINUSE, ENOTSOCK, ETERM.
//
//	int vtx_monitor (vtx_t *self, void *socket, const char *inproc_endpoint, int events);
//
//export vtxgo_monitor
func vtxgo_monitor(self C.uintptr_t, socket unsafe.Pointer, endpoint *C.char, events C.int, why *C.char) C.int {
	return with(self, why, func(m *manager) error {
		return m.Monitor(socket, C.GoString(endpoint), int(events))
	})
}

// vtxgo_close_context lets every vtx on a libzmq context that is about to end flush its sockets.
//
//export vtxgo_close_context
func vtxgo_close_context(zmq unsafe.Pointer) C.int {
	return answer(nil, func() error { vtx.CloseContext(zmq); return nil })
}

// vtxgo_close_many closes sockets together, each through its vtx, so that their lingers run at the same
// time. It nulls those that are closed now.
//
//export vtxgo_close_many
func vtxgo_close_many(selves *C.uintptr_t, sockets *unsafe.Pointer, count C.size_t) C.int {
	var closing sync.WaitGroup
	all := unsafe.Slice(sockets, int(count))
	for i, self := range unsafe.Slice(selves, int(count)) {
		closing.Go(func() {
			errno := vtxgo_close(self, all[i], nil)
			if errno == 0 || errno == C.int(errnoOf(vtx.ErrNotSocket)) {
				all[i] = nil
			}
		})
	}
	closing.Wait()
	return 0
}

// vtxgo_close_all is the exit handler: it flushes whatever the process left open.
//
//export vtxgo_close_all
func vtxgo_close_all() C.int {
	return answer(nil, func() error { vtx.CloseAll(); return nil })
}
