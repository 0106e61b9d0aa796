package ipc

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/drivers/internal/sockets"
	"github.com/libvtx/libvtx/vtx"
)

// sendBuffer is what a connection may send ahead, in bytes, where ZMQ_SNDBUF leaves it to us; the kernel counts double,
// and takes less if net.core.wmem_max says so. Its own choice, 208 KiB on most systems, makes many small pieces of a
// large message: whoever has filled it is not woken before three quarters of it are read.
const sendBuffer = 512 << 10

// setBuffers applies ZMQ_SNDBUF and ZMQ_RCVBUF to a connection: to both ends, since an accepted one inherits nothing.
func setBuffers(c syscall.RawConn, o *vtx.Options) error {
	return sockets.Control(c, func(fd int) error {
		if o.SndBuf < 0 {
			if err := sockets.Set(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer, "SO_SNDBUF"); err != nil {
				return err
			}
		}
		return sockets.SetBuffers(fd, o)
	})
}
