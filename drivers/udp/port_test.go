package udp

import "testing"

// A port that was given back is not the next one's: whoever holds it for the old peer would not notice.
func TestPortsAreNotReusedSoon(t *testing.T) {
	cfg, _ := config(t, 0, "udp://127.0.0.1:1")
	seen := make(map[uint16]bool)
	for range 2000 {
		conn, err := openFresh("udp4", "127.0.0.1", cfg.Options)
		if err != nil {
			t.Fatal(err)
		}
		port := addrPort(conn.LocalAddr()).Port()
		conn.Close()
		if seen[port] {
			t.Fatalf("port %d came back", port)
		}
		seen[port] = true
	}
}
