package vtx_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/libvtx/libvtx/vtx"
)

// ownDriver is a driver of one manager that only ends.
type ownDriver struct{ close func() }

func (ownDriver) Scheme() string                           { return "own" }
func (ownDriver) Traits() vtx.Traits                       { return vtx.Traits{} }
func (ownDriver) Listen(*vtx.Config) (vtx.Listener, error) { return nil, vtx.ErrNotSupported }
func (ownDriver) Dialer(*vtx.Config) (vtx.Dialer, error)   { return nil, vtx.ErrNotSupported }
func (d ownDriver) Close()                                 { d.close() }

// A driver that is registered while the manager closes its others is closed as well.
func TestRegisterWhileClosing(t *testing.T) {
	h := newHost(t)
	closing, goOn := make(chan struct{}), make(chan struct{})
	first := ownDriver{sync.OnceFunc(func() { close(closing); <-goOn })}
	if err := h.RegisterOwn("first", func() (vtx.OwnDriver, error) { return first, nil }); err != nil {
		t.Fatal(err)
	}
	destroyed := make(chan struct{})
	go func() { vtx.CloseContext(h.P); close(destroyed) }()
	<-closing
	closed := false
	second := ownDriver{func() { closed = true }}
	err := h.RegisterOwn("second", func() (vtx.OwnDriver, error) { return second, nil })
	if !errors.Is(err, vtx.ErrTerminated) || !closed {
		t.Errorf("registering gave %v, closed %v", err, closed)
	}
	close(goOn)
	<-destroyed
}
