package vtx_test

import (
	"net"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// A peer that is gone is not waited for, however patient LINGER is and however much of what it said has not been read: at
// the end nobody reads it any more.
func TestEndAfterAPeerThatWasNotRead(t *testing.T) {
	for what, end := range map[string]func(*host, *app.Socket){
		"vtx_close":    func(h *host, s *app.Socket) { s.Forget(); h.Close(s.P) },
		"zmq_ctx_term": func(h *host, s *app.Socket) { vtx.CloseContext(h.P) },
		"exit":         func(*host, *app.Socket) { vtx.CloseAll() },
	} {
		for _, scheme := range streamSchemes {
			t.Run(what+" "+scheme, func(t *testing.T) {
				h := newHost(t)
				s := h.socket(vtx.Dealer)
				s.Set(zmq.RcvHWM, 10)
				s.Set(zmq.Linger, -1)
				_, at, _ := strings.Cut(h.bound(s, scheme), "://")
				conn, err := net.Dial("tcp4", at)
				if err != nil {
					t.Fatal(err)
				}
				greeting := "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL" + strings.Repeat("\x00", 64-16)
				ready := "\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
				if _, err := conn.Write([]byte(greeting + ready + strings.Repeat("\x00\xff"+strings.Repeat("x", 255), 4000))); err != nil {
					t.Fatal(err)
				}
				app.Eventually(t, "as much is there as fits", func() bool { return strings.Contains(h.meta(s, "stats"), `"messages_in":20,`) })
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
				for range 5 {
					s.Send("nobody takes it")
				}
				within(t, what, func() { end(h, s) })
			})
		}
	}
}
