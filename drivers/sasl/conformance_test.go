package sasl_test

import (
	"path/filepath"
	"testing"

	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/vtx"
	"github.com/libvtx/libvtx/vtx/drivertest"

	_ "github.com/libvtx/libvtx/drivers/all"
)

func TestConformance(t *testing.T) {
	file := verifiers(t, "alice", "pencil")
	ca := testca.New(t, "authority")
	pair := ca.Issue(nil, "localhost", "127.0.0.1")
	login := options{"sasl.verifiers": file, "sasl.username": "alice", "sasl.password": "pencil"}
	for scheme, set := range map[string]options{
		"sasl":     login,
		"sasl+tls": login.with("tls.cert", pair.Cert, "tls.key", pair.Key, "tls.ca", ca.Cert, "tls.verify", "require"),
	} {
		t.Run(scheme, func(t *testing.T) {
			drivertest.Run(t, drivertest.Fixture{
				Bind:       func(testing.TB) string { return scheme + "://127.0.0.1:*" },
				Reliable:   true,
				Types:      true,
				RoutingIDs: true,
				Bad: []drivertest.BadEndpoint{
					{Endpoint: scheme + "://", Err: vtx.ErrInvalid},
					{Endpoint: scheme + "://", Connect: true, Err: vtx.ErrInvalid},
					{Endpoint: scheme + "://127.0.0.1:0", Connect: true, Err: vtx.ErrInvalid},
					{Endpoint: scheme + "://127.0.0.1:5555?cleartext=perhaps", Connect: true, Err: vtx.ErrInvalid},
					{Endpoint: scheme + "://127.0.0.1:5555?password=pencil", Connect: true, Err: vtx.ErrInvalid},
					{Endpoint: scheme + "://127.0.0.1:*?mechanisms=LOGIN", Err: vtx.ErrInvalid},
				},
				Requests: 500, // the links are those of tcp and tls, which have asked the rest
				Options:  set,
			})
		})
	}
}

// verifiers makes a file of users and passwords that are computed fast.
func verifiers(t testing.TB, pairs ...string) (file string) {
	t.Helper()
	dir := t.TempDir()
	return testca.Write(t, dir, filepath.Base("vtx.passwd"), content(t, pairs...))
}
