package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

func TestBadListenAddresses(t *testing.T) {
	for _, endpoint := range []string{
		"udp://", "udp://*", "udp://127.0.0.1", "udp://127.0.0.1:", "udp://127.0.0.1:x", "udp://127.0.0.1:65536",
		"udp://127.0.0.1:-1", "udp://127.0.0.1:+1", "udp://:5555", "udp://::1:5555", "udp://[::1]", "udp://a:b:c",
		"udp://[ff02::1]", "udp://239.1.1.1:65536",
	} {
		cfg, _ := config(t, vtx.Rep, endpoint)
		if ln, err := new(Driver).Listen(cfg); !errors.Is(err, vtx.ErrInvalid) {
			t.Errorf("%s: %v, %v", endpoint, ln, err)
		}
	}
}

func TestBadDialAddresses(t *testing.T) {
	for _, endpoint := range []string{
		"udp://*", "udp://*:0", "udp://:0", "udp://*:*", "udp://127.0.0.1", "udp://127.0.0.1:0", "udp://host:", "udp://host:x",
		"udp://host:65536", "udp://::1:5555", "udp://" + strings.Repeat("x", 520) + ":1",
	} {
		cfg, _ := config(t, vtx.Req, endpoint)
		if d, err := new(Driver).Dialer(cfg); !errors.Is(err, vtx.ErrInvalid) {
			t.Errorf("%s: %v, %v", endpoint, d, err)
		}
	}
}

func TestGroupsAreForPubAndSub(t *testing.T) {
	for _, endpoint := range []string{"udp://239.1.1.1:5555", "udp://[ff02::1%lo]:5555"} {
		for typ := vtx.Pair; typ <= vtx.XSub; typ++ {
			cfg, _ := config(t, typ, endpoint)
			if typ != vtx.Sub && typ != vtx.XSub {
				if ln, err := new(Driver).Listen(cfg); !errors.Is(err, vtx.ErrNotSupported) || !strings.Contains(err.Error(), "group") {
					t.Errorf("%v binds %s: %v, %v", typ, endpoint, ln, err)
				}
			}
			_, err := new(Driver).Dialer(cfg)
			if publishes := typ == vtx.Pub || typ == vtx.XPub; publishes != (err == nil) || !publishes && !errors.Is(err, vtx.ErrNotSupported) {
				t.Errorf("%v connects to %s: %v", typ, endpoint, err)
			}
		}
	}
	cfg, _ := config(t, vtx.Pub, "udp://239.1.1.1:*")
	if _, err := new(Driver).Dialer(cfg); !errors.Is(err, vtx.ErrInvalid) {
		t.Errorf("without a port: %v", err)
	}
}

func TestUnsupportedTypes(t *testing.T) {
	for _, typ := range []vtx.SocketType{-1, 11, 12, 19} {
		cfg, _ := config(t, typ, "udp://127.0.0.1:1")
		_, lerr := new(Driver).Listen(cfg)
		_, derr := new(Driver).Dialer(cfg)
		if !errors.Is(lerr, vtx.ErrNotSupported) || !errors.Is(derr, vtx.ErrNotSupported) {
			t.Errorf("%v: %v, %v", typ, lerr, derr)
		}
	}
}

func TestDestinations(t *testing.T) {
	for _, c := range []struct {
		address, body string
		port          uint16
		anyone        bool
	}{
		{"", "*:32000", 32000, true},
		{"*:5601", "*:5601", 5601, true},
		{":5601", ":5601", 5601, true},
		{"127.0.0.1:5601", "127.0.0.1:5601", 5601, false},
		{"[::1]:5601", "[::1]:5601", 5601, false},
		{"server.example:1", "server.example:1", 1, false},
	} {
		d, err := newDestination(vtx.Endpoint{Scheme: "udp", Address: c.address})
		if err != nil || d.body != c.body || d.port != c.port || d.anyone() != c.anyone {
			t.Errorf("%q: %+v, %v", c.address, d, err)
		}
	}
}

func TestListenAddresses(t *testing.T) {
	noNames := func(context.Context, string, string) ([]netip.Addr, error) { return nil, errTest }
	for _, c := range []struct {
		address string
		ipv6    bool
		want    string
	}{
		{"*:5555", false, "udp4 0.0.0.0:5555"},
		{"*:*", false, "udp4 0.0.0.0:0"},
		{"*:5555", true, "udp :5555"},
		{"127.0.0.1:0", false, "udp4 127.0.0.1:0"},
		{"[::1]:5555", false, "udp6 [::1]:5555"},
		{"[fe80::1%eth7]:5555", false, "udp6 [fe80::1%eth7]:5555"},
		{"lo:5555", false, "udp4 127.0.0.1:5555"},
	} {
		cfg, _ := config(t, vtx.Rep, "udp://"+c.address)
		cfg.Options.IPv6 = c.ipv6
		network, address, err := bindAddr(cfg, noNames)
		if network+" "+address != c.want || err != nil {
			t.Errorf("%s: %s %s, %v, want %s", c.address, network, address, err, c.want)
		}
	}
	cfg, _ := config(t, vtx.Rep, "udp://nowhere.example:1")
	if _, _, err := bindAddr(cfg, noNames); !errors.Is(err, errTest) {
		t.Errorf("unknown host: %v", err)
	}
}

func TestBroadcastAddressOfANetwork(t *testing.T) {
	for _, c := range []struct{ network, want string }{
		{"192.0.2.2/24", "192.0.2.255"}, {"10.1.2.3/8", "10.255.255.255"}, {"10.1.2.3/30", "10.1.2.3"},
		{"10.1.2.3/31", ""}, {"10.1.2.3/32", ""}, {"fd00::2/64", ""},
	} {
		ip, n, err := net.ParseCIDR(c.network)
		if err != nil {
			t.Fatal(err)
		}
		n.IP = ip
		got, ok := broadcastOf(n)
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%s: %v, %v, want %q", c.network, got, ok, c.want)
		}
	}
}

func TestWhereBroadcastsGo(t *testing.T) {
	read := func(s *settings) string {
		list, err := s.broadcastAddrs()
		return fmt.Sprint(list, err)
	}
	t.Setenv(envBroadcast, "127.1.1.1, 127.2.2.2")
	if got := read(&settings{}); got != "[127.1.1.1 127.2.2.2] <nil>" {
		t.Error(got)
	}
	if got := read(&settings{broadcast: []netip.Addr{loopbackBroadcast}}); got != "[127.255.255.255] <nil>" {
		t.Error(got)
	}
	t.Setenv(envBroadcast, "nonsense")
	if got := read(&settings{}); !strings.Contains(got, envBroadcast) {
		t.Error(got)
	}
	t.Setenv(envBroadcast, "") // addresses are only read here, not called
	if list, err := (&settings{}).broadcastAddrs(); err != nil || list[0] != loopbackBroadcast {
		t.Error(list, err)
	}
	if got := read(&settings{interfaces: []string{"lo"}}); got != "[127.255.255.255] <nil>" {
		t.Errorf("on loopback only: %s", got)
	}
	cfg, _ := config(t, vtx.Req, "udp://*:1", optInterface, "lo,another")
	if _, err := new(Driver).Dialer(cfg); !errors.Is(err, syscall.ENODEV) || !strings.Contains(err.Error(), `"another"`) {
		t.Errorf("on an interface that is not here: %v", err)
	}
}

func TestOptions(t *testing.T) {
	check := map[string]func(string) error{}
	for _, o := range new(Driver).Traits().Options {
		check[o.Name] = o.Check
	}
	for _, c := range []struct {
		name, value string
		ok          bool
	}{
		{optTimeout, "1", true}, {optTimeout, "86400000", true}, {optTimeout, "0", false}, {optTimeout, "86400001", false},
		{optTimeout, "", false}, {optTimeout, "-1", false}, {optTimeout, "1s", false}, {optResend, "5", true}, {optResend, "x", false},
		{optBroadcast, "127.255.255.255", true}, {optBroadcast, "10.0.0.255,10.1.0.255", true}, {optBroadcast, "", false},
		{optBroadcast, "::1", false}, {optBroadcast, "host", false}, {optBroadcast, "127.255.255.255,", false},
	} {
		if err := check[c.name](c.value); (err == nil) != c.ok {
			t.Errorf("%s=%s: %v", c.name, c.value, err)
		}
		cfg, _ := config(t, vtx.Req, "udp://127.0.0.1:1", c.name, c.value)
		if _, err := newSettings(cfg); (err == nil) != c.ok || err != nil && !errors.Is(err, vtx.ErrInvalid) {
			t.Errorf("settings with %s=%s: %v", c.name, c.value, err)
		}
	}
}

func TestTimes(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		ivl, timeout         time.Duration
		named                string
		wantTimeout, wantAsk time.Duration
	}{
		{0, 0, "", 10000 * ms, 10000 * ms / 3},
		{0, 600 * ms, "", 600 * ms, 200 * ms},
		{900 * ms, 0, "", 900 * ms, 300 * ms},
		{900 * ms, vtx.Forever, "", 900 * ms, 300 * ms},
		{100 * ms, 600 * ms, "", 600 * ms, 100 * ms},
		{100 * ms, 600 * ms, "6000", 6000 * ms, 100 * ms},
		{0, 0, "300", 300 * ms, 100 * ms},
	} {
		cfg, _ := config(t, vtx.Req, "udp://127.0.0.1:1")
		cfg.Options.HeartbeatIvl, cfg.Options.HeartbeatTimeout = c.ivl, c.timeout
		if c.named != "" {
			cfg.Options.Named[optTimeout] = c.named
		}
		s, err := newSettings(cfg)
		if err != nil || s.timeout != c.wantTimeout || s.hugz != c.wantAsk || s.resend != defaultResend {
			t.Errorf("%+v: %+v, %v", c, s, err)
		}
	}
}
