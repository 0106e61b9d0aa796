package udp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

// The driver's options and their defaults.
const (
	optBroadcast = "udp.broadcast"
	optTimeout   = "udp.timeout"
	optResend    = "udp.resend"

	defaultTimeout = 10 * time.Second
	defaultResend  = 200 * time.Millisecond

	maxMillis = 24 * 60 * 60 * 1000
)

var optionSpecs = []vtx.OptionSpec{
	{Name: optBroadcast, Check: checkWith(parseBroadcast)},
	{Name: optTimeout, Check: checkWith(parseMillis)},
	{Name: optResend, Check: checkWith(parseMillis)},
}

func checkWith[T any](parse func(string) (T, error)) func(string) error {
	return func(value string) error {
		_, err := parse(value)
		return err
	}
}

// settings are what the options of one bind or connect come to.
type settings struct {
	timeout   time.Duration // of silence, after which a peering ends
	hugz      time.Duration // of silence, after which the peer is asked whether it lives
	resend    time.Duration // between two copies of a request
	broadcast []netip.Addr  // nil: every broadcast address of this host
}

func newSettings(cfg *vtx.Config) (*settings, error) {
	if err := checkType(cfg); err != nil {
		return nil, err
	}
	o := cfg.Options
	s := &settings{timeout: defaultTimeout, resend: defaultResend}
	var err error
	read := func(name string, use func(value string) error) {
		value, given := o.Named[name]
		if !given || err != nil {
			return
		}
		if err = use(value); err != nil {
			err = fmt.Errorf("endpoint %s: option %s: %w: %w", cfg.Endpoint, name, err, vtx.ErrInvalid)
		}
	}
	if o.HeartbeatTimeout > 0 {
		s.timeout = o.HeartbeatTimeout
	} else if o.HeartbeatIvl > 0 {
		s.timeout = o.HeartbeatIvl
	}
	read(optTimeout, func(v string) (err error) { s.timeout, err = parseMillis(v); return })
	read(optResend, func(v string) (err error) { s.resend, err = parseMillis(v); return })
	read(optBroadcast, func(v string) (err error) { s.broadcast, err = parseBroadcast(v); return })
	s.hugz = s.timeout / 3
	if o.HeartbeatIvl > 0 && o.HeartbeatIvl < s.hugz {
		s.hugz = o.HeartbeatIvl
	}
	return s, err
}

// tick is how often silence is measured.
func (s *settings) tick() time.Duration { return max(s.hugz/4, time.Millisecond) }

func parseMillis(value string) (time.Duration, error) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n < 1 || n > maxMillis {
		return 0, fmt.Errorf("%q is not a number of milliseconds from 1 to %d", shorten(value), maxMillis)
	}
	return time.Duration(n) * time.Millisecond, nil
}

func parseBroadcast(value string) ([]netip.Addr, error) {
	var list []netip.Addr
	for part := range strings.SplitSeq(value, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil || !a.Is4() {
			return nil, fmt.Errorf("%q is not a comma-separated list of IPv4 addresses", shorten(value))
		}
		list = append(list, a)
	}
	return list, nil
}

// shorten keeps a string from outside from filling an error.
func shorten(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
