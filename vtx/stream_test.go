package vtx_test

import (
	"context"
	"net"
	"testing"

	"github.com/libvtx/libvtx/vtx"
	"github.com/libvtx/libvtx/vtx/drivertest"
)

// loop is the smallest stream driver: TCP on loopback, without any option.
type loop struct{}

func (loop) Scheme() string            { return "loop" }
func (loop) Options() []vtx.OptionSpec { return nil }

func (loop) Listen(cfg *vtx.Config) (net.Listener, error) {
	return net.Listen("tcp4", cfg.Endpoint.Address)
}

func (loop) Dialer(cfg *vtx.Config) (vtx.StreamDialer, error) {
	if _, _, err := cfg.Endpoint.HostPort(); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp4", cfg.Endpoint.Address)
	}, nil
}

func TestConformanceStream(t *testing.T) {
	drivertest.Run(t, drivertest.Fixture{
		Bind:       func(testing.TB) string { return "loop://127.0.0.1:0" },
		Reliable:   true,
		Types:      true,
		RoutingIDs: true,
		Bad:        []drivertest.BadEndpoint{{Endpoint: "loop://", Connect: true, Err: vtx.ErrInvalid}},
	})
}
