// Package native is what the tests need of libzmq and czmq that neither the application in the tests of Go packages
// nor a Go binding gives them. It is a package because tests themselves cannot use cgo.
package native

/*
#cgo pkg-config: libzmq libczmq
#include <czmq.h>
#include <errno.h>
#include <stdlib.h>
#include <zmq.h>
*/
import "C"

import "unsafe"

// CzmqContext is czmq's one context of the process. czmq is kept from handling the process's signals.
func CzmqContext() unsafe.Pointer {
	C.zsys_handler_set(nil)
	return C.zsys_init()
}

// Monitor is zmq_socket_monitor. It stops with events 0.
func Monitor(socket unsafe.Pointer, endpoint string, events int) error {
	var e *C.char
	if events != 0 {
		e = C.CString(endpoint)
		defer C.free(unsafe.Pointer(e))
	}
	if rc, err := C.zmq_socket_monitor(socket, e, C.int(events)); rc != 0 {
		return err
	}
	return nil
}
