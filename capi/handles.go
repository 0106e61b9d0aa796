package main

/*
#include <stdint.h>
#include <stdlib.h>

static uintptr_t handle_new (void)
{
    return (uintptr_t) malloc (1);
}

static void handle_free (uintptr_t handle)
{
    free ((void *) handle);
}
*/
import "C"

import (
	"fmt"
	"sync"
	"syscall"

	"github.com/libvtx/libvtx/vtx"
)

// A vtx_t is the address of a small block of C memory, which makes it unique in the process. It is
// only ever looked up here and never followed, so a stale or wild one is an error and not a crash.
// It is kept as an integer: Go's stack scan does not accept any odd value as a pointer.
var handles struct {
	sync.RWMutex
	managers map[C.uintptr_t]*manager
}

// manager is what stands behind a vtx_t.
type manager struct {
	*vtx.Manager
	zctx C.uintptr_t // the zctx_t of ours that it was made from, or 0
}

// add makes a vtx_t for m.
func add(m *manager) (C.uintptr_t, error) {
	self := C.handle_new()
	if self == 0 {
		return 0, syscall.ENOMEM
	}
	handles.Lock()
	defer handles.Unlock()
	if handles.managers == nil {
		handles.managers = make(map[C.uintptr_t]*manager)
	}
	handles.managers[self] = m
	return self, nil
}

// find gives the manager behind a vtx_t. Errors: vtx.ErrInvalid.
func find(self C.uintptr_t) (*manager, error) {
	handles.RLock()
	defer handles.RUnlock()
	if m := handles.managers[self]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("%#x is not a vtx_t, or one that was destroyed: %w", uintptr(self), vtx.ErrInvalid)
}

// remove takes the manager from behind a vtx_t, and ends the vtx_t. Errors: vtx.ErrInvalid.
func remove(self C.uintptr_t) (*manager, error) {
	m, err := find(self)
	if err != nil {
		return nil, err
	}
	handles.Lock()
	defer handles.Unlock()
	if handles.managers[self] != m {
		return nil, fmt.Errorf("%#x was destroyed by another thread: %w", uintptr(self), vtx.ErrInvalid)
	}
	delete(handles.managers, self)
	C.handle_free(self)
	return m, nil
}
