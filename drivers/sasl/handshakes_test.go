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
	"github.com/libvtx/libvtx/internal/zmq"
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

// A client that leaves while the ZAP handler is asked takes its question with it.
func TestLeavingWhileAsked(t *testing.T) {
	h := newHost(t)
	zap := h.Socket(t, int(vtx.Router))
	zap.Native(true, "inproc://zeromq.zap.01")
	router := h.end(vtx.Router, options{"sasl.cleartext": "yes"})
	router.Set(zmq.HandshakeIvl, 0)
	c := dialTCP(t, router.bind("sasl"))
	greeting := make([]byte, 64)
	copy(greeting, "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01SASL")
	auth := "\x04AUTH\x05PLAIN\x01\x00alice\x00pencil"
	_, _ = c.Write(append(greeting, "\x04"+string(rune(len(auth)))+auth...))
	if q := zap.Recv(); q[len(q)-1] != "pencil" {
		t.Fatalf("the handler is asked %q", q)
	}
	_ = c.Close()
	if kind := router.event("the peer has left"); kind != vtx.EventHandshakeFailed {
		t.Errorf("event %#x", kind)
	}
}
