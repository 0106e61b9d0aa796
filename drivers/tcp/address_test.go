package tcp

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/libvtx/libvtx/vtx"
)

func TestListenAddresses(t *testing.T) {
	for _, c := range []struct {
		address string
		ipv6    bool
		want    string
	}{
		{"*:5555", false, "tcp4 0.0.0.0:5555"},
		{"*:*", false, "tcp4 0.0.0.0:0"},
		{"*:0", false, "tcp4 0.0.0.0:0"},
		{"*:5555", true, "tcp [::]:5555"},
		{"[::]:5555", true, "tcp [::]:5555"},
		{"0.0.0.0:5555", true, "tcp4 0.0.0.0:5555"},
		{"127.0.0.1:0", false, "tcp4 127.0.0.1:0"},
		{"127.0.0.1:5555", true, "tcp4 127.0.0.1:5555"},
		{"[127.0.0.1]:5555", false, "tcp4 127.0.0.1:5555"},
		{"[::ffff:127.0.0.1]:5555", false, "tcp4 127.0.0.1:5555"},
		{"[::1]:5555", true, "tcp6 [::1]:5555"},
		{"::1:5555", true, "tcp6 [::1]:5555"},
		{"[fe80::1%lo]:5555", true, "tcp6 [fe80::1%lo]:5555"},
		{"[fe80::1%1]:5555", true, "tcp6 [fe80::1%1]:5555"},
		{"lo:5555", false, "tcp4 127.0.0.1:5555"},
		{"lo:*", true, "tcp6 [::1]:0"},
	} {
		cfg, _ := config(t, "tcp://"+c.address)
		cfg.Options.IPv6 = c.ipv6
		network, address, err := bindAddr(cfg)
		if network+" "+address != c.want || err != nil {
			t.Errorf("%s: %s %s, %v, want %s", c.address, network, address, err, c.want)
		}
	}
}

func TestBadListenAddresses(t *testing.T) {
	for _, c := range []struct {
		address string
		ipv6    bool
		want    error
	}{
		{"", false, vtx.ErrInvalid},
		{"*", false, vtx.ErrInvalid},
		{":5555", false, vtx.ErrInvalid},
		{"127.0.0.1", false, vtx.ErrInvalid},
		{"127.0.0.1:", false, vtx.ErrInvalid},
		{"127.0.0.1:x", false, vtx.ErrInvalid},
		{"127.0.0.1:65536", false, vtx.ErrInvalid},
		{"127.0.0.1:-1", false, vtx.ErrInvalid},
		{"127.0.0.1:+1", false, vtx.ErrInvalid},
		{"[::1:5555", true, vtx.ErrInvalid},
		{"[::1]", true, vtx.ErrInvalid},
		{"a:b:c", true, vtx.ErrInvalid},
		{"lo:0;127.0.0.1:5555", false, vtx.ErrInvalid},
		{"[fe80::1%nonesuch]:5555", true, vtx.ErrInvalid},
		{"[fe80::1%99999]:5555", true, vtx.ErrInvalid},
		{"[::1]:5555", false, syscall.ENODEV},
		{"[::]:5555", false, syscall.ENODEV},
		{"localhost:5555", false, syscall.ENODEV}, // libzmq binds no names either
		{"nonesuch:5555", true, syscall.ENODEV},
	} {
		cfg, _ := config(t, "tcp://"+c.address)
		cfg.Options.IPv6 = c.ipv6
		ln, err := new(Driver).Listen(cfg)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "tcp://") {
			t.Errorf("%s: %v, %v", c.address, ln, err)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		address    string
		ipv6       bool
		name, addr string
		port       uint16
		source     string
		sourcePort uint16
	}{
		{address: "127.0.0.1:1", addr: "127.0.0.1", port: 1},
		{address: "[127.0.0.1]:1", addr: "127.0.0.1", port: 1},
		{address: "[::ffff:127.0.0.1]:1", addr: "127.0.0.1", port: 1},
		{address: "server.example:65535", name: "server.example", port: 65535},
		{address: "a_b-c.:2", name: "a_b-c.", port: 2},
		{address: "[::1]:1", ipv6: true, addr: "::1", port: 1},
		{address: "::1:1", ipv6: true, addr: "::1", port: 1},
		{address: "[fe80::1%eth7]:1", ipv6: true, addr: "fe80::1%eth7", port: 1},
		{address: "127.0.0.1:5;127.0.0.1:6", addr: "127.0.0.1", port: 6, source: "127.0.0.1", sourcePort: 5},
		{address: "*:0;127.0.0.1:6", addr: "127.0.0.1", port: 6, source: "*"},
		{address: "eth7:*;server:6", name: "server", port: 6, source: "eth7"},
		{address: "[::1]:0;[::1]:6", ipv6: true, addr: "::1", port: 6, source: "::1"},
	} {
		cfg, _ := config(t, "tcp://"+c.address)
		cfg.Options.IPv6 = c.ipv6
		d, err := newTarget(cfg)
		if err != nil {
			t.Errorf("%s: %v", c.address, err)
			continue
		}
		addr := ""
		if d.addr.IsValid() {
			addr = d.addr.String()
		}
		if d.name != c.name || addr != c.addr || d.port != c.port || d.source != c.source || d.sourcePort != c.sourcePort {
			t.Errorf("%s: %+v", c.address, d)
		}
	}
}

func TestBadTargets(t *testing.T) {
	for _, c := range []struct {
		address string
		ipv6    bool
	}{
		{"", false}, {"*:1", false}, {"*:*", false}, {":1", false}, {"127.0.0.1", false}, {"127.0.0.1:", false},
		{"127.0.0.1:0", false}, {"127.0.0.1:*", false}, {"127.0.0.1:x", false}, {"127.0.0.1:65536", false},
		{"[::1]:1", false}, {"::1:1", false}, {"[::1:1", true}, {"a:b:c", true}, {"-x:1", false}, {"a/b:1", false}, {"a@b:1", false},
		{strings.Repeat("x", 254) + ":1", false},
		{"lo;127.0.0.1:1", false}, {";127.0.0.1:1", false}, {"a,b:0;127.0.0.1:1", false}, {"x:0;y:0;127.0.0.1:1", false},
		{"127.0.0.1:0;", false}, {"127.0.0.1:0;*:1", false}, {"127.0.0.1:0;127.0.0.1:0", false},
		{"[::1]:0;server:1", false}, {"[::1]:0;127.0.0.1:1", true}, {"127.0.0.1:0;[::1]:1", true},
	} {
		cfg, _ := config(t, "tcp://"+c.address)
		cfg.Options.IPv6 = c.ipv6
		if _, err := new(Driver).Dialer(cfg); !errors.Is(err, vtx.ErrInvalid) || !strings.Contains(err.Error(), "tcp://") {
			t.Errorf("%s: %v", c.address, err)
		}
	}
}

func TestFilterValues(t *testing.T) {
	check := new(Driver).Options()[0].Check
	for value, ok := range map[string]bool{
		"127.0.0.1": true, "10.0.0.0/8": true, "10.1.2.3/8, ::1 ,fd00::/8": true, "0.0.0.0/0": true,
		"": false, ",": false, "127.0.0.1,": false, "host": false, "10.0.0.0/33": false, "fe80::1%lo": false, "::ffff:127.0.0.1": false,
		"::ffff:10.0.0.0/104": false, "127.0.0.1:5": false,
	} {
		if err := check(value); (err == nil) != ok {
			t.Errorf("%q: %v", value, err)
		}
		cfg, _ := config(t, "tcp://127.0.0.1:*", named(optAcceptFilter, value))
		ln, err := new(Driver).Listen(cfg)
		if (err == nil) != ok || err != nil && !errors.Is(err, vtx.ErrInvalid) {
			t.Errorf("listening with %q: %v", value, err)
		}
		if err == nil {
			_ = ln.Close()
		}
	}
}

func TestFilterIsForListening(t *testing.T) {
	cfg, _ := config(t, "tcp://127.0.0.1:1?accept_filter=127.0.0.1")
	if _, err := new(Driver).Dialer(cfg); !errors.Is(err, vtx.ErrNotSupported) {
		t.Error(err)
	}
	cfg, _ = config(t, "tcp://127.0.0.1:1", named(optAcceptFilter, "127.0.0.1")) // the socket's own, for what it binds
	if _, err := new(Driver).Dialer(cfg); err != nil {
		t.Error(err)
	}
}
