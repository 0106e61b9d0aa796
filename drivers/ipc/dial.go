package ipc

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"github.com/libvtx/libvtx/vtx"
)

// newDialer connects to a path or an abstract name. Where the peer's backlog is full a Unix socket does not wait:
// that is a failed attempt, EAGAIN, and the engine's next one may find room.
func newDialer(cfg *vtx.Config) (vtx.StreamDialer, error) {
	addr := unixAddr(cfg.Endpoint.Address)
	if addr.Name == "*" {
		return nil, fmt.Errorf("endpoint %s: * cannot be connected to, only bound: %w", cfg.Endpoint, vtx.ErrInvalid)
	}
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error { return setBuffers(c, cfg.Options) }}
	return func(ctx context.Context) (net.Conn, error) {
		c, err := d.DialContext(ctx, "unix", addr.Name)
		if err != nil {
			return nil, err
		}
		return &conn{c.(*net.UnixConn), addr}, nil
	}, nil
}
