package udprelay

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

func open(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute)) // a watchdog
	return c
}

func TestRelay(t *testing.T) {
	server, client := open(t), open(t)
	target := server.LocalAddr().(*net.UDPAddr).AddrPort()
	buf := make([]byte, 100)
	for _, c := range []struct {
		cfg            Config
		sent, received int
	}{
		{Config{}, 100, 100},
		{Config{Duplicate: 1}, 50, 100},
		{Config{Delay: 1, HoldTime: time.Hour}, 100, 97}, // the last ones wait for others
		{Config{Delay: 1, HoldTime: time.Millisecond}, 100, 100},
	} {
		c.cfg.Target, c.cfg.Seed = target, 1
		r, err := Start(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.sent {
			if _, err := client.WriteToUDPAddrPort([]byte{byte(i)}, r.Addr()); err != nil {
				t.Fatal(err)
			}
		}
		for i := range c.received {
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				t.Fatalf("%+v: %d received: %v", c.cfg, i, err)
			}
			if i == 0 { // and back
				if _, err := server.WriteToUDPAddrPort(buf[:n], from); err != nil {
					t.Fatal(err)
				}
			}
		}
		if c.cfg.Delay == 0 {
			if n, from, err := client.ReadFromUDPAddrPort(buf); err != nil || n != 1 || from != r.Addr() {
				t.Fatalf("%+v: back: %d from %v, %v", c.cfg, n, from, err)
			}
		}
		r.Close()
	}
}

func TestDropping(t *testing.T) {
	server, client := open(t), open(t)
	r, err := Start(Config{Target: server.LocalAddr().(*net.UDPAddr).AddrPort(), Drop: 0.5, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	buf := make([]byte, 100)
	for i := 0; r.Stats().Dropped < 50 || r.Stats().Passed < 50; i++ {
		if i > 1e6 {
			t.Fatalf("%+v", r.Stats())
		}
		if _, err := client.WriteToUDPAddrPort([]byte{1}, r.Addr()); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := server.ReadFromUDPAddrPort(buf); err != nil {
		t.Fatal(err)
	}
}
