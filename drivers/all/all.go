// Package all registers the built-in drivers: import it for its effect.
package all

import (
	"github.com/libvtx/libvtx/drivers/ipc"
	"github.com/libvtx/libvtx/drivers/sasl"
	"github.com/libvtx/libvtx/drivers/tcp"
	"github.com/libvtx/libvtx/drivers/tls"
	"github.com/libvtx/libvtx/drivers/udp"
	"github.com/libvtx/libvtx/vtx"
)

func init() {
	vtx.RegisterDriver(&udp.Driver{})
	vtx.RegisterStream(&tcp.Driver{})
	vtx.RegisterStream(&ipc.Driver{})
	vtx.RegisterStream(&tls.Driver{})
	vtx.RegisterStream(sasl.New())
	vtx.RegisterStream(sasl.NewTLS())
}
