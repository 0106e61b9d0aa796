package tls_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/vtx"
)

// Half-open TLS counts: the oldest go, and who comes with a certificate does not wait.
func TestHandshakesAreBounded(t *testing.T) {
	ca := testca.New(t, "authority")
	near, far := newHost(t), newHost(t)
	router := near.end(vtx.Router, shows(ca.Issue(nil, "127.0.0.1")).with("handshakes", "10"))
	endpoint := router.bind()
	half := hello(t)[:100]
	var conns []net.Conn
	for range 30 {
		c := dial(t, endpoint)
		_, _ = c.Write(half)
		conns = append(conns, c)
	}
	good := far.end(vtx.Dealer, options{"tls.ca": ca.Cert})
	good.connect(endpoint)
	talk(router, good)
	for i, c := range conns[:20] {
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("connection %d lives on", i)
		}
	}
	router.event("the handshake has to make room: 10 are under way")
}
