package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/libvtx/libvtx/vtx"
)

func TestErrnoOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{vtx.ErrInvalid, syscall.EINVAL},
		{fmt.Errorf("endpoint x: %w", vtx.ErrNoScheme), syscall.ENOPROTOOPT},
		{fmt.Errorf("a: %w", fmt.Errorf("b: %w", vtx.ErrNotUnique)), syscall.ENOTUNIQ},
		{vtx.ErrNotSupported, syscall.ENOTSUP},
		{vtx.ErrNotSocket, syscall.ENOTSOCK},
		{vtx.ErrNotFound, syscall.ENOENT},
		{vtx.ErrBusy, syscall.EBUSY},
		{vtx.ErrTooMany, syscall.EMFILE},
		{vtx.ErrTerminated, 156384765},
		{fmt.Errorf("bind: %w", syscall.EADDRINUSE), syscall.EADDRINUSE},
		// The engine's word counts for more than what was below it
		{fmt.Errorf("%w: %w", vtx.ErrTooMany, syscall.EADDRINUSE), syscall.EMFILE},
		{errors.Join(nil, syscall.EACCES), syscall.EACCES},
		{io.EOF, syscall.EIO},
		{syscall.Errno(0), syscall.EIO},
	} {
		if got := errnoOf(c.err); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
	}
}

func TestSentence(t *testing.T) {
	for _, c := range []struct {
		in   string
		size int
		want string
	}{
		{"plain", 100, "plain"},
		{"plain", 6, "plain"},
		{"plain", 5, "plai"},
		{"plain", 1, ""},
		{"two\nlines\x00and \x7f\x1b[m", 100, `two; lines\x00and \x7f\x1b[m`},
		{"not \xff text", 100, `not \xff text`},
		{"größer", 5, "grö"},
		{"größer", 4, "gr"},
	} {
		if got := sentence(errors.New(c.in), c.size); got != c.want {
			t.Errorf("%q in %d bytes: got %q, want %q", c.in, c.size, got, c.want)
		}
	}
}

func FuzzSentence(f *testing.F) {
	f.Add("endpoint \xff\x00", 8)
	f.Fuzz(func(t *testing.T, text string, size int) {
		if size < 1 || size > 1<<16 {
			t.Skip()
		}
		got := sentence(errors.New(text), size)
		if len(got) >= size || !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\n\x1b\x7f") {
			t.Errorf("%q in %d bytes: got %q", text, size, got)
		}
	})
}

// A panic in the engine is an error of the call, and nothing worse.
func TestAnswerRecovers(t *testing.T) {
	if got := answer(nil, func() error { panic("on purpose") }); got != 5 {
		t.Errorf("got errno %d, want EIO", got)
	}
	if got := answer(nil, func() error { var m map[int]int; m[1] = 1; return nil }); got != 5 {
		t.Errorf("got errno %d, want EIO", got)
	}
}

func TestHandles(t *testing.T) {
	m := &manager{}
	self, err := add(m)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := find(self); got != m || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := find(self + 1); !errors.Is(err, vtx.ErrInvalid) {
		t.Errorf("a wild handle: %v", err)
	}
	if _, err := find(0); !errors.Is(err, vtx.ErrInvalid) {
		t.Errorf("no handle: %v", err)
	}
	if got, err := remove(self); got != m || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := remove(self); !errors.Is(err, vtx.ErrInvalid) {
		t.Errorf("removed twice: %v", err)
	}
}
