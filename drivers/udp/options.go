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
	optMaxMsg    = "udp.max_message"
	optPlain     = "udp.plain"
	optPlainMost = "udp.plain_peers"
	optInterface = "udp.interface"
	optTTL       = "udp.ttl"
	optLoop      = "udp.loop"

	defaultTimeout = 10 * time.Second
	defaultResend  = 200 * time.Millisecond

	defaultPlainPeers = 256

	maxMillis = 24 * 60 * 60 * 1000

	defaultMaxMsg = 1 << 20
	largestMaxMsg = 64 << 20
)

var optionSpecs = []vtx.OptionSpec{
	{Name: optBroadcast, Check: checkWith(parseBroadcast)},
	{Name: optTimeout, Check: checkWith(parseMillis)},
	{Name: optResend, Check: checkWith(parseMillis)},
	{Name: optMaxMsg, Check: checkWith(parseSize)},
	{Name: optPlain, Check: checkWith(parsePlain)},
	{Name: optPlainMost, Check: checkWith(parsePeers)},
	{Name: optInterface, Check: checkWith(parseNames)},
	{Name: optTTL, Check: checkWith(parseTTL)},
	{Name: optLoop, Check: checkWith(parseBool)},
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
	fixed     bool          // resend was asked for: it is not measured
	broadcast []netip.Addr  // nil: every broadcast address of this host

	maxMessage int  // bytes that are taken from extended peers
	plainPeers int  // of one listener
	plain      bool // plain NOM-1 peers are welcome
	only       bool // and we are one when we call

	interfaces []string // to broadcast and to multicast on; nil: all
	ttl        int      // of multicast datagrams
	loop       bool     // multicast reaches this host's own sockets
}

func newSettings(cfg *vtx.Config) (*settings, error) {
	if err := checkType(cfg); err != nil {
		return nil, err
	}
	o := cfg.Options
	s := &settings{
		timeout: defaultTimeout, resend: defaultResend, maxMessage: defaultMaxMsg, plain: true, plainPeers: defaultPlainPeers, ttl: 1, loop: true,
	}
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
	read(optResend, func(v string) (err error) { s.resend, err = parseMillis(v); s.fixed = true; return })
	read(optBroadcast, func(v string) (err error) { s.broadcast, err = parseBroadcast(v); return })
	read(optMaxMsg, func(v string) (err error) { s.maxMessage, err = parseSize(v); return })
	read(optPlain, func(v string) (err error) { s.plain, err = parsePlain(v); s.only = v == plainOnly; return })
	read(optPlainMost, func(v string) (err error) { s.plainPeers, err = parsePeers(v); return })
	read(optInterface, func(v string) (err error) { s.interfaces, err = parseNames(v); return })
	read(optTTL, func(v string) (err error) { s.ttl, err = parseTTL(v); return })
	read(optLoop, func(v string) (err error) { s.loop, err = parseBool(v); return })
	if o.MaxMsgSize >= 0 {
		s.maxMessage = int(min(int64(s.maxMessage), o.MaxMsgSize))
	}
	s.hugz = s.timeout / 3
	if o.HeartbeatIvl > 0 && o.HeartbeatIvl < s.hugz {
		s.hugz = o.HeartbeatIvl
	}
	return s, err
}

// keepalive is how long we may say nothing to a peer. A plain one's patience is the original's, whatever ours is.
func (s *settings) keepalive(plain bool) time.Duration {
	if plain {
		return min(s.timeout, defaultTimeout) / 3
	}
	return s.timeout / 3
}

// tick is how often silence is measured.
func (s *settings) tick() time.Duration {
	return max(min(s.hugz, s.keepalive(true))/4, time.Millisecond)
}

func parseMillis(value string) (time.Duration, error) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n < 1 || n > maxMillis {
		return 0, fmt.Errorf("%q is not a number of milliseconds from 1 to %d", shorten(value), maxMillis)
	}
	return time.Duration(n) * time.Millisecond, nil
}

func parseSize(value string) (int, error) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n < 1 || n > largestMaxMsg {
		return 0, fmt.Errorf("%q is not a number of bytes from 1 to %d", shorten(value), largestMaxMsg)
	}
	return int(n), nil
}

// plainOnly is the value of udp.plain with which we call as a plain peer.
const plainOnly = "only"

func parsePlain(value string) (bool, error) {
	switch value {
	case "0", "1", plainOnly:
		return value != "0", nil
	}
	return false, fmt.Errorf("%q is neither 0 nor 1 nor %s", shorten(value), plainOnly)
}

func parsePeers(value string) (int, error) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n < 1 || n > maxPeerings {
		return 0, fmt.Errorf("%q is not a number of peers from 1 to %d", shorten(value), maxPeerings)
	}
	return int(n), nil
}

func parseNames(value string) ([]string, error) {
	names := strings.Split(value, ",")
	for i := range names {
		if names[i] = strings.TrimSpace(names[i]); names[i] == "" {
			return nil, fmt.Errorf("%q is not a comma-separated list of interfaces", shorten(value))
		}
	}
	return names, nil
}

func parseTTL(value string) (int, error) {
	n, err := strconv.ParseUint(value, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number from 0 to 255", shorten(value))
	}
	return int(n), nil
}

func parseBool(value string) (bool, error) {
	if value != "0" && value != "1" {
		return false, fmt.Errorf("%q is neither 0 nor 1", shorten(value))
	}
	return value == "1", nil
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
