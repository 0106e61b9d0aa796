package udp_test

import (
	"testing"

	"github.com/libvtx/libvtx/drivers/udp"
	"github.com/libvtx/libvtx/vtx"
	"github.com/libvtx/libvtx/vtx/drivertest"
)

func init() { vtx.RegisterDriver(&udp.Driver{}) }

// bigger than what a datagram of 512 bytes holds beside two bytes of header and three of length.
const largestBody = 507

func TestConformance(t *testing.T) {
	bad := func(connect bool, err error, endpoints ...string) (list []drivertest.BadEndpoint) {
		for _, e := range endpoints {
			list = append(list, drivertest.BadEndpoint{Endpoint: e, Connect: connect, Err: err})
		}
		return list
	}
	long := "udp://" + string(make([]byte, 2000))
	drivertest.Run(t, drivertest.Fixture{
		Bind:    func(testing.TB) string { return "udp://127.0.0.1:*" },
		MaxBody: largestBody,
		Options: map[string]string{"udp.timeout": "2000", "udp.broadcast": "127.255.255.255"},
		Bad: append(
			bad(false, vtx.ErrInvalid, "udp://", "udp://127.0.0.1", "udp://:x", "udp://127.0.0.1:65536", "udp://127.0.0.1:-1",
				"udp://[::1:5555", "udp://127.0.0.1:5555?udp.timeout=never", "udp://127.0.0.1:5555?nonesuch=1", "udp:/127.0.0.1:5555",
				"127.0.0.1:5555", "", long, "udp://127.0.0.1:5\x0155", "udp://no such host:5555"),
			bad(true, vtx.ErrInvalid, "udp://127.0.0.1", "udp://127.0.0.1:0", "udp://*:0", "udp://127.0.0.1:70000",
				"udp://*:5555?udp.broadcast=everywhere")...),
	})
}
