package sasl

import (
	"fmt"
	"sync"

	"github.com/libvtx/libvtx/drivers/internal/files"
	"github.com/libvtx/libvtx/drivers/sasl/passwd"
)

// store follows the file of verifiers. Its methods may be called from any goroutine.
type store struct {
	name string
	tell func(news string) // tells the monitor what nobody can be refused for

	mu    sync.Mutex
	file  *passwd.File
	stamp files.Stamp // of what file was made of
	told  files.Stamp // of what the monitor has been told that it is not usable
}

func newStore(name string, tell func(string)) (*store, error) {
	s := &store{name: name, tell: tell}
	s.stamp = files.Look(s.name)
	var err error
	s.file, err = s.load()
	return s, err
}

// current is the content now. If the file has changed and is not usable, it is the old one, and the monitor is told, once
// for each change.
func (s *store) current() *passwd.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := files.Look(s.name)
	if now == s.stamp {
		return s.file
	}
	file, err := s.load()
	switch {
	case err == nil:
		s.file, s.stamp = file, now
	case now != s.told:
		s.told = now
		s.tell("the file has changed and cannot be used; what was read before still holds: " + err.Error())
	}
	return s.file
}

func (s *store) load() (*passwd.File, error) {
	content, err := files.Read(s.name)
	var file *passwd.File
	if err == nil {
		file, err = passwd.Parse(content)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", optVerifiers, err)
	}
	return file, nil
}
