// Package ipc is the driver of ipc://: byte streams over Unix domain sockets, on which the engine
// speaks ZMTP as libzmq does.
//
// One file per phase: address reads endpoints, claim takes a path and gives it back, listen and dial make
// connections, filter says who may.
package ipc

import (
	"fmt"
	"net"

	"github.com/libvtx/libvtx/drivers/internal/sockets"
	"github.com/libvtx/libvtx/vtx"
)

// Driver is the ipc driver. The zero value is ready to use.
type Driver struct{}

// Scheme is the endpoint prefix.
func (*Driver) Scheme() string { return "ipc" }

// Options are the driver's VTX options.
func (*Driver) Options() []vtx.OptionSpec { return optionSpecs }

// Listen binds cfg.Endpoint.
func (*Driver) Listen(cfg *vtx.Config) (net.Listener, error) {
	if err := check(cfg); err != nil {
		return nil, err
	}
	only, err := newFilter(cfg)
	if err != nil {
		return nil, err
	}
	return listen(cfg, only)
}

// Dialer checks cfg.Endpoint.
func (*Driver) Dialer(cfg *vtx.Config) (vtx.StreamDialer, error) {
	if err := check(cfg); err != nil {
		return nil, err
	}
	if err := sockets.BindOnly(cfg.Endpoint, optionSpecs); err != nil {
		return nil, err
	}
	return newDialer(cfg)
}

// check refuses what no Unix socket can do. ZMQ_TOS and the ZMQ_TCP_… options are not among it: they ask for
// nothing that a local connection lacks, and libzmq's own ipc takes them. A device is a promise about who can
// reach the socket.
func check(cfg *vtx.Config) error {
	if cfg.Options.BindDevice != "" {
		return fmt.Errorf("endpoint %s: ZMQ_BINDTODEVICE is %q, and ipc goes through no device: %w",
			cfg.Endpoint, sockets.Shorten(cfg.Options.BindDevice), vtx.ErrNotSupported)
	}
	return checkPath(cfg.Endpoint, cfg.Endpoint.Address)
}
