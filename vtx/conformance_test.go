package vtx_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/libvtx/libvtx/vtx"
	"github.com/libvtx/libvtx/vtx/drivertest"
)

var nameSerial atomic.Int64

func fixture(scheme string) drivertest.Fixture {
	return drivertest.Fixture{
		Bind:       func(testing.TB) string { return fmt.Sprintf("%s://name-%d", scheme, nameSerial.Add(1)) },
		Reliable:   true,
		Types:      true,
		RoutingIDs: true,
		Bad: []drivertest.BadEndpoint{
			{Endpoint: scheme + "://", Err: vtx.ErrInvalid},
			{Endpoint: scheme + "://", Connect: true, Err: vtx.ErrInvalid},
			{Endpoint: scheme + ":/x", Err: vtx.ErrInvalid},
			{Endpoint: "nonesuch://x", Err: vtx.ErrNoScheme},
			{Endpoint: scheme + "://x?colour=red", Err: vtx.ErrInvalid},
			{Endpoint: scheme + "://x?colour", Err: vtx.ErrInvalid},
		},
	}
}

// The engine itself, without a network: once with a protocol that carries subscriptions, once without.
func TestConformanceFiltering(t *testing.T) { drivertest.Run(t, fixture("mem")) }
func TestConformancePlain(t *testing.T)     { drivertest.Run(t, fixture("raw")) }

// And once with one where it depends on the peer.
func TestConformanceMixed(t *testing.T) { drivertest.Run(t, fixture("mixed")) }
