package main

// #include <stdint.h>
// #include <stdlib.h>
// #include "internal.h"
import "C"

import (
	"runtime/cgo"
	"syscall"
	"unsafe"

	"github.com/libvtx/libvtx/drivers/attached"
	"github.com/libvtx/libvtx/vtx"
)

// Drivers that are functions of the program's own.

// The same, and let a driver of your own know whether to trace what it does: the first frame that it receives
// is "1", or "0" as for vtx_register. The built-in drivers print nothing.
//
//	int vtx_register_verbose (vtx_t *self, const char *scheme, zthread_attached_fn *driver_fn, int verbose);
//
//export vtxgo_register_verbose
func vtxgo_register_verbose(self C.uintptr_t, scheme *C.char, function C.uintptr_t, verbose C.int, why *C.char) C.int {
	return with(self, why, func(m *manager) error {
		return register(m.Manager, C.GoString(scheme), function, verbose != 0)
	})
}

// register starts a C function as a driver.
func register(m *vtx.Manager, scheme string, function C.uintptr_t, verbose bool) error {
	return m.RegisterOwn(scheme, func() (vtx.OwnDriver, error) {
		return attached.Start(m, scheme, verbose, func(control string, ended func()) error {
			name := C.CString(control)
			defer C.free(unsafe.Pointer(name))
			driver := cgo.NewHandle(ended)
			if number := C.vtx_driver_start_(m.Context(), function, name, C.uintptr_t(driver)); number != 0 {
				driver.Delete()
				return syscall.Errno(number)
			}
			return nil
		})
	})
}

// vtxgo_driver_ended is told by a driver's thread that the function has returned.
//
//export vtxgo_driver_ended
func vtxgo_driver_ended(driver C.uintptr_t) C.int {
	return answer(nil, func() error {
		h := cgo.Handle(driver)
		ended := h.Value().(func())
		h.Delete()
		ended()
		return nil
	})
}

// For a driver: here is a peer of the endpoint that BIND or CONNECT called vtxname. Returns the socket through which
// its messages pass, frame by frame as on a ZMTP connection, to be polled and used without blocking in the thread
// that opened it: a PAIR for a PAIR, PULL for PUSH, PUSH for PULL, and a DEALER otherwise. routing_id is what
// the peer calls itself, address where it is; either may be NULL. Returns NULL with errno if the application
// does not take the peer, and vtx_error says why, for the peer to be told: ECONNREFUSED, EMFILE, EAGAIN
// for not now, EISCONN if a connected endpoint has its peer, ENOENT for a vtxname that is closed, EINVAL.
//
//	void *vtx_peering_open (zctx_t *ctx, const char *vtxname, const char *routing_id, const char *address);
//
//export vtxgo_peering_open
func vtxgo_peering_open(vtxname, routingID, address *C.char, peering *unsafe.Pointer, why *C.char) C.int {
	return answer(why, func() (err error) {
		*peering, err = attached.OpenPeering(C.GoString(vtxname), C.GoString(routingID), C.GoString(address))
		return err
	})
}

// For a driver: the peer is gone, or after UNBIND or DISCONNECT the last message has been sent to it. What was sent
// through the socket is still delivered; what was not received from it goes to the next peer of a connected endpoint.
// The socket is closed. Same thread. Errors: ENOTSOCK if it is not an open peering.
//
//	int vtx_peering_close (zctx_t *ctx, void *peering);
//
//export vtxgo_peering_close
func vtxgo_peering_close(peering unsafe.Pointer, why *C.char) C.int {
	return answer(why, func() error { return attached.ClosePeering(peering) })
}

// For a driver: tell the monitor of an endpoint's socket an event of zmq_socket_monitor, or VTX_EVENT_REFUSED, with
// its value and for a failure a sentence, or NULL; or count with VTX_EVENT_DROPPED that value messages will
// not be delivered, where text is the key in the statistics: too_big, full, duplicate, lost, malformed, stray,
// network or unsent. Any thread. Errors: ENOENT for an unknown vtxname, EINVAL.
//
//	int vtx_driver_event (zctx_t *ctx, const char *vtxname, int event, int value, const char *text);
//
//export vtxgo_driver_event
func vtxgo_driver_event(vtxname *C.char, event, value C.int, text, why *C.char) C.int {
	return answer(why, func() error {
		return attached.RaiseEvent(C.GoString(vtxname), int(event), int(value), C.GoString(text))
	})
}
