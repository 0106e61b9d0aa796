package ipc

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/libvtx/libvtx/drivers/internal/sockets"
	"github.com/libvtx/libvtx/vtx"
)

func listen(cfg *vtx.Config, only *filter) (net.Listener, error) {
	path := cfg.Endpoint.Address
	ln, file, err := bind(cfg, &path)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", cfg.Endpoint, err)
	}
	addr := unixAddr(path)
	release := func() {
		if file != nil {
			file.remove()
		}
	}
	admit := func(c net.Conn) (net.Conn, error) {
		peer := &conn{c.(*net.UnixConn), addr}
		if err := only.admit(peer.UnixConn); err != nil {
			return nil, err
		}
		raw, err := peer.SyscallConn()
		if err != nil {
			return nil, err
		}
		return peer, setBuffers(raw, cfg.Options)
	}
	return sockets.Listen(ln, cfg, addr, admit, release), nil
}

// bind claims the path, which it chooses itself for *.
func bind(cfg *vtx.Config, path *string) (*net.UnixListener, *owned, error) {
	if abstract(*path) {
		ln, err := open(*path, cfg.Options)
		return ln, nil, err
	}
	dir := ""
	if *path == "*" {
		var err error
		if dir, err = os.MkdirTemp("", "vtx-"); err != nil {
			return nil, nil, err
		}
		*path = filepath.Join(dir, "socket")
	}
	err := checkPath(cfg.Endpoint, *path)
	var ln *net.UnixListener
	var file *owned
	if err == nil {
		ln, file, err = claim(*path, cfg.Options)
	}
	if err != nil {
		if dir != "" {
			_ = os.Remove(dir)
		}
		return nil, nil, err
	}
	file.dir = dir
	return ln, file, nil
}
