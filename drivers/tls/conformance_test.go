package tls_test

import (
	"testing"

	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/vtx"
	"github.com/libvtx/libvtx/vtx/drivertest"

	_ "github.com/libvtx/libvtx/drivers/all"
)

// Both ends show a certificate, and both verify it.
func TestConformance(t *testing.T) {
	ca := testca.New(t, "authority")
	pair := ca.Issue(nil, "localhost", "127.0.0.1")
	drivertest.Run(t, drivertest.Fixture{
		Bind:       func(testing.TB) string { return "tls://127.0.0.1:*" },
		Reliable:   true,
		Types:      true,
		RoutingIDs: true,
		Bad: []drivertest.BadEndpoint{
			{Endpoint: "tls://", Err: vtx.ErrInvalid},
			{Endpoint: "tls://", Connect: true, Err: vtx.ErrInvalid},
			{Endpoint: "tls://127.0.0.1:0", Connect: true, Err: vtx.ErrInvalid},
			{Endpoint: "tls://127.0.0.1:5555?verify=perhaps", Connect: true, Err: vtx.ErrInvalid},
			{Endpoint: "tls://127.0.0.1:*?servername=other", Err: vtx.ErrNotSupported},
		},
		Options: map[string]string{"tls.cert": pair.Cert, "tls.key": pair.Key, "tls.ca": ca.Cert},
	})
}
