package ipc

import (
	"fmt"
	"net"
	"syscall"

	"github.com/libvtx/libvtx/vtx"
)

// maxPath is the longest path that fits into a sockaddr_un with its final zero byte. An abstract name needs
// none there, but a zero byte in front in place of its @.
const maxPath = 107

// checkPath refuses an address that cannot be one.
func checkPath(e vtx.Endpoint, path string) error {
	switch {
	case path == "":
		return fmt.Errorf("endpoint %s: no path: %w", e, vtx.ErrInvalid)
	case path == "@":
		return fmt.Errorf("endpoint %s: no name after the @: %w", e, vtx.ErrInvalid)
	case len(path) > maxPath:
		return fmt.Errorf("endpoint %s: the path has %d bytes, at most %d are possible: %w", e, len(path), maxPath, syscall.ENAMETOOLONG)
	}
	return nil
}

// abstract says that the name is not in the file system.
func abstract(path string) bool { return path[0] == '@' }

// conn is a connection whose ends have names: the peer of an accepted one has none of its own, and is called
// after the path on which it came. It is the *net.UnixConn in everything else, so that CloseWrite, SyscallConn and
// writing many buffers at once work as there.
type conn struct {
	*net.UnixConn
	remote *net.UnixAddr
}

// RemoteAddr is the endpoint's path.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func unixAddr(path string) *net.UnixAddr { return &net.UnixAddr{Name: path, Net: "unix"} }
