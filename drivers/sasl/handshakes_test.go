package sasl_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
)

func dialTCP(t *testing.T, endpoint string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp4", strings.TrimPrefix(endpoint, "sasl://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(app.Patience))
	return c.(*net.TCPConn)
}

// Half-open log-ins count: the oldest go, and who can log in does not wait.
func TestHandshakesAreBounded(t *testing.T) {
	near, far := newHost(t), newHost(t)
	router := near.end(vtx.Router, options{"sasl.verifiers": verifiers(t, "alice", "pencil"), "handshakes": "10"})
	endpoint := router.bind("sasl")
	var conns []net.Conn
	for range 30 {
		conns = append(conns, dialTCP(t, endpoint))
	}
	dealer := far.end(vtx.Dealer, options{"sasl.username": "alice", "sasl.password": "pencil"})
	dealer.connect(endpoint)
	talk(router, dealer)
	for i, c := range conns[:20] {
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("connection %d lives on", i)
		}
	}
	router.event("the handshake has to make room: 10 are under way")
}
