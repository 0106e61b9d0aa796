package udp_test

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/libvtx/libvtx/drivers/udp"
	"github.com/libvtx/libvtx/drivers/udp/udprelay"
	"github.com/libvtx/libvtx/vtx"
	"github.com/libvtx/libvtx/vtx/drivertest"
)

func init() { vtx.RegisterDriver(&udp.Driver{}) }

func fixture() drivertest.Fixture {
	return drivertest.Fixture{
		Bind:       func(testing.TB) string { return "udp://127.0.0.1:*" },
		Types:      true,
		RoutingIDs: true,
		MaxBody:    1 << 20,
		Requests:   2500, // a datagram costs more than a turn of a stream, under the race detector above all
		Options:    map[string]string{"udp.timeout": "2000", "udp.broadcast": "127.255.255.255"},
	}
}

func TestConformance(t *testing.T) {
	bad := func(connect bool, err error, endpoints ...string) (list []drivertest.BadEndpoint) {
		for _, e := range endpoints {
			list = append(list, drivertest.BadEndpoint{Endpoint: e, Connect: connect, Err: err})
		}
		return list
	}
	long := "udp://" + string(make([]byte, 2000))
	f := fixture()
	f.Bad = append(
		bad(false, vtx.ErrInvalid, "udp://", "udp://127.0.0.1", "udp://:x", "udp://127.0.0.1:65536", "udp://127.0.0.1:-1",
			"udp://[::1:5555", "udp://127.0.0.1:5555?udp.timeout=never", "udp://127.0.0.1:5555?nonesuch=1", "udp:/127.0.0.1:5555",
			"127.0.0.1:5555", "", long, "udp://127.0.0.1:5\x0155", "udp://no such host:5555"),
		bad(true, vtx.ErrInvalid, "udp://127.0.0.1", "udp://127.0.0.1:0", "udp://*:0", "udp://127.0.0.1:70000",
			"udp://*:5555?udp.broadcast=everywhere", "udp://127.0.0.1:5555?max_message=0",
			"udp://127.0.0.1:5555?plain=2", "udp://127.0.0.1:5555?ttl=256", "udp://127.0.0.1:5555?loop=yes")...)
	drivertest.Run(t, f)
}

// The same where the kernel sends and receives datagrams one by one.
func TestConformanceWithoutSegments(t *testing.T) {
	udp.Unsegmented(t)
	drivertest.Run(t, fixture())
}

// The same over a bad network.
func TestConformanceOverABadNetwork(t *testing.T) {
	for _, network := range []struct {
		name string
		udprelay.Config
	}{
		{"no loss, MTU 9000", udprelay.Config{Duplicate: 0.02, Delay: 0.05, MTU: 9000}},
		{"1% loss, MTU 576", udprelay.Config{Drop: 0.01, Duplicate: 0.02, Delay: 0.05, MTU: 576}},
		{"20% loss, MTU 1500", udprelay.Config{Drop: 0.2, Duplicate: 0.05, Delay: 0.1, MTU: 1500}},
	} {
		t.Run(network.name, func(t *testing.T) {
			f, seed := fixture(), rand.Uint64()
			t.Logf("seed %d", seed)
			relays := make(map[string]*udprelay.Relay)
			var mu sync.Mutex
			f.Lossy = true
			delete(f.Options, "udp.timeout") // a second or two in which a busy machine runs neither end is not the network's doing
			if network.Drop > 0.1 {
				f.MaxBody = 256 << 10 // two hundred parts, of which no copy arrives whole: more of them only take longer
			}
			f.Via = func(t testing.TB, endpoint string) string {
				mu.Lock()
				defer mu.Unlock()
				r := relays[endpoint]
				if r == nil {
					cfg := network.Config
					seed++
					cfg.Seed, cfg.Target = seed, netip.MustParseAddrPort(strings.TrimPrefix(endpoint, "udp://"))
					var err error
					if r, err = udprelay.Start(cfg); err != nil {
						t.Fatal(err)
					}
					relays[endpoint] = r
				}
				return "udp://" + r.Addr().String()
			}
			drivertest.Run(t, f)
			for _, r := range relays {
				r.Close()
			}
		})
	}
}
