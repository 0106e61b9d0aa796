package tcp

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"github.com/libvtx/libvtx/drivers/internal/sockets"
	"github.com/libvtx/libvtx/vtx"
)

func listen(cfg *vtx.Config, only filter) (net.Listener, error) {
	network, address, err := bindAddr(cfg)
	if err != nil {
		return nil, err
	}
	o := cfg.Options
	lc := net.ListenConfig{Control: prepare(o), KeepAlive: -1} // no keep-alive of Go's own
	lc.SetMultipathTCP(false)                                  // on by default, and slower
	ln, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", cfg.Endpoint, err)
	}
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err == nil {
		err = sockets.SetBacklog(raw, o.Backlog)
	}
	if err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("endpoint %s: %w", cfg.Endpoint, err)
	}
	return sockets.Listen(ln, cfg, ln.Addr(), func(c net.Conn) (net.Conn, error) {
		if !only.admits(c.RemoteAddr()) {
			return nil, fmt.Errorf("%w: %w", errFiltered, syscall.EACCES)
		}
		return c, tune(c.(*net.TCPConn), o)
	}, nil), nil
}
