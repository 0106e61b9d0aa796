// Package files reads the files that options name, and tells when they have changed.
package files

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// Stamp tells one state of a file from another. The zero value is that of a file that is not there.
type Stamp struct {
	changed time.Time
	size    int64
	inode   uint64
}

// Look gives the state that a file is in.
func Look(name string) Stamp {
	info, err := os.Stat(name)
	if err != nil {
		return Stamp{}
	}
	at := Stamp{changed: info.ModTime(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		at.inode = sys.Ino
	}
	return at
}

// Read reads a file. Its errors are the operating system's own, without the name: that may be a key's text that stands
// where a name was meant.
func Read(name string) ([]byte, error) {
	content, err := os.ReadFile(name)
	var bare *os.PathError
	if errors.As(err, &bare) {
		err = bare.Err
	}
	return content, err
}
