package tcp_test

import (
	"syscall"
	"testing"

	"github.com/libvtx/libvtx/drivers/tcp"
	"github.com/libvtx/libvtx/vtx"
	"github.com/libvtx/libvtx/vtx/drivertest"
)

func init() { vtx.RegisterStream(&tcp.Driver{}) }

func TestConformance(t *testing.T) {
	bad := func(connect bool, err error, endpoints ...string) (list []drivertest.BadEndpoint) {
		for _, e := range endpoints {
			list = append(list, drivertest.BadEndpoint{Endpoint: e, Connect: connect, Err: err})
		}
		return list
	}
	list := bad(false, vtx.ErrInvalid, "tcp://", "tcp://127.0.0.1", "tcp://:5555", "tcp://:x", "tcp://127.0.0.1:65536", "tcp://127.0.0.1:-1",
		"tcp://[::1:5555", "tcp://127.0.0.1:5555?tcp.accept_filter=everybody", "tcp://127.0.0.1:5555?nonesuch=1", "tcp:/127.0.0.1:5555",
		"127.0.0.1:5555", "", "tcp://"+string(make([]byte, 2000)), "tcp://127.0.0.1:5\x0155", "tcp://no such host:5555")
	list = append(list, bad(false, syscall.ENODEV, "tcp://nonesuch:5555", "tcp://[::1]:5555")...)
	list = append(list, bad(true, vtx.ErrInvalid, "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:0", "tcp://*:5555", "tcp://127.0.0.1:*",
		"tcp://127.0.0.1:70000", "tcp://[::1]:5555", "tcp://lo;127.0.0.1:5555", "tcp://127.0.0.1:5555?colour=red")...)
	list = append(list, bad(true, vtx.ErrNotSupported, "tcp://127.0.0.1:5555?accept_filter=127.0.0.1")...)
	drivertest.Run(t, drivertest.Fixture{
		Bind:       func(testing.TB) string { return "tcp://127.0.0.1:*" },
		Reliable:   true,
		Types:      true,
		RoutingIDs: true,
		Bad:        list,
	})
}
