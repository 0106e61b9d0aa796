// Command capi is libvtx.so: the C API of VTX over the engine in package vtx. It converts, calls,
// maps the error to an errno and recovers from panics; it decides nothing.
//
// A call passes through three layers: the public function in shim.c looks at what C alone can
// see (fork, NULL, memory that is not there), the vtxgo_ function of the same name in exports.go
// calls the engine, and the shim sets errno last. include/vtx.h is made from exports.go.
package main

// #cgo CFLAGS: -std=gnu11 -Wall -Wextra -I${SRCDIR}/../include
// #cgo LDFLAGS: -lzmq -ldl -lpthread
import "C"

import (
	"runtime"

	_ "github.com/libvtx/libvtx/drivers/all" // the built-in drivers register themselves
)

// The runtime is the library's own, and its polling thread holds on to a processor (GOMAXPROCS) while messages come one
// after the other: see zmq.Poller.
func init() { runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) }

// program is what the package does as one: as a library nothing (but see drivertest.go).
var program = func() {}

func main() { program() }
