package main

// #include "internal.h"
import "C"

import (
	"errors"
	"syscall"
	"unicode/utf8"

	"github.com/libvtx/libvtx/internal/printable"
	"github.com/libvtx/libvtx/vtx"
)

// eterm is libzmq's own errno, above those of the operating system.
const eterm syscall.Errno = C.ETERM

// whySize is the size of the buffer that an export writes its sentence to.
const whySize = C.VTX_WHY_SIZE

// errnos is the one table from the engine's errors to errno.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{vtx.ErrInvalid, syscall.EINVAL},
	{vtx.ErrNotSocket, syscall.ENOTSOCK},
	{vtx.ErrNoScheme, syscall.ENOPROTOOPT},
	{vtx.ErrNotUnique, syscall.ENOTUNIQ},
	{vtx.ErrNotSupported, syscall.ENOTSUP},
	{vtx.ErrNotFound, syscall.ENOENT},
	{vtx.ErrBusy, syscall.EBUSY},
	{vtx.ErrTooMany, syscall.EMFILE},
	{vtx.ErrTerminated, eterm},
}

// errnoOf gives the errno for an error: 0 for nil, EIO for one that the table does not know.
func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	for _, row := range errnos {
		if errors.Is(err, row.err) {
			return row.errno
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != 0 {
		return errno
	}
	return syscall.EIO
}

// sentence makes an error fit for a C buffer of size bytes: on one line, printable, whole
// characters only. It leaves room for the closing NUL.
func sentence(err error, size int) string {
	text := printable.Line(err.Error())
	if len(text) < size {
		return text
	}
	text = text[:size-1]
	for len(text) > 0 && !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text
}
