package vtx

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
)

// Options is what the application's own socket says about how it wants to be connected: its libzmq
// options, read when bind or connect was called, and the VTX options that hold for it. Durations: 0 is
// libzmq's "off" or "operating system's default"; Forever is its -1.
type Options struct {
	SndHWM, RcvHWM int // messages; 0 = no limit
	Linger         time.Duration
	Immediate      bool
	Conflate       bool
	InvertMatching bool
	RoutingID      []byte

	ReconnectIvl    time.Duration // 0 and Forever: do not reconnect
	ReconnectIvlMax time.Duration // 0: ReconnectIvl only
	ConnectTimeout  time.Duration
	HandshakeIvl    time.Duration // 0: no limit

	HeartbeatIvl     time.Duration
	HeartbeatTimeout time.Duration // 0: wait without end; Forever, which is the default: HeartbeatIvl
	HeartbeatTTL     time.Duration

	MaxMsgSize int64 // bytes; -1 = no limit
	Backlog    int
	IPv6       bool
	SndBuf     int // bytes; -1 = operating system's default
	RcvBuf     int
	TOS        int
	BindDevice string

	TCPKeepalive      int           // -1 = operating system's default, 0 = off, 1 = on
	TCPKeepaliveCnt   int           // probes; -1 = operating system's default
	TCPKeepaliveIdle  int           // seconds; likewise
	TCPKeepaliveIntvl int           // seconds; likewise
	TCPMaxRT          time.Duration // 0 = operating system's default

	// Security is what the socket demands of every connection.
	Security Security

	// Named are the VTX options by full name ("udp.broadcast"), already checked.
	Named map[string]string
}

// Security holds libzmq's options of the security mechanisms. Its secrets never appear in an error or an event.
type Security struct {
	Mechanism Mechanism
	// Server: this end decides who comes in (ZMQ_PLAIN_SERVER, ZMQ_CURVE_SERVER).
	Server bool

	PlainUsername, PlainPassword string
	// CurvePublicKey and CurveSecretKey are this end's, CurveServerKey the server's that a client wants: 32 bytes each.
	CurvePublicKey, CurveSecretKey, CurveServerKey []byte

	ZAPDomain string
	// ZAPEnforceDomain: without a ZAP handler nobody is let in.
	ZAPEnforceDomain bool
}

// Mechanism is libzmq's ZMQ_MECHANISM.
type Mechanism int

// The mechanisms of libzmq's sockets.
const (
	MechanismNull   Mechanism = 0
	MechanismPlain  Mechanism = 1
	MechanismCurve  Mechanism = 2
	MechanismGSSAPI Mechanism = 3
)

// Forever is libzmq's -1 where an option is a time.
const Forever time.Duration = -1

// optConnectRoutingID names the peer of a ROUTER's next connects, as ZMQ_CONNECT_ROUTING_ID does natively;
// libzmq does not let the engine read that one back.
const optConnectRoutingID = "connect.routing_id"

// engineOptions are the VTX options that hold for every driver.
var engineOptions = []OptionSpec{{
	Name: optConnectRoutingID,
	Check: func(v string) error {
		if len(v) < 1 || len(v) > 255 || v[0] == 0 {
			return errors.New("a routing id has 1 to 255 bytes and does not start with a zero byte")
		}
		return nil
	},
}, {
	Name: optMetadata,
	Check: func(v string) error {
		_, err := parseMetadata(v)
		return err
	},
}, {
	Name: optShared, Check: checkShared,
}, {
	Name: optHandshakes, Check: checkHandshakes,
}, {
	Name: optSubscriptions, Check: checkSubscriptions,
}}

// reconnects says whether a connection that was lost, or did not come about, is tried again.
func (o *Options) reconnects() bool { return o.ReconnectIvl > 0 }

// refuseOptions says which option of the application's socket VTX cannot honour, if any is set.
func refuseOptions(h zmq.Handle) error {
	r := optionReader{h: h}
	fd, proxy, mechanism := r.int(zmq.UseFD), r.string(zmq.SocksProxy), Mechanism(r.int(zmq.Mechanism))
	switch {
	case r.err != nil:
		return r.err
	case fd >= 0:
		return fmt.Errorf("ZMQ_USE_FD: VTX opens its own descriptors: %w", ErrNotSupported)
	case proxy != "":
		return fmt.Errorf("ZMQ_SOCKS_PROXY: VTX does not speak SOCKS: %w", ErrNotSupported)
	case mechanism == MechanismGSSAPI:
		return fmt.Errorf("GSSAPI: VTX does not have this security mechanism: %w", ErrNotSupported)
	}
	return nil
}

// readOptions reads the application's socket. It runs on the application's thread, inside its call.
func readOptions(h zmq.Handle) (*Options, error) {
	r := optionReader{h: h}
	o := &Options{
		SndHWM:           r.int(zmq.SndHWM),
		RcvHWM:           r.int(zmq.RcvHWM),
		Linger:           r.duration(zmq.Linger),
		Immediate:        r.int(zmq.Immediate) != 0,
		Conflate:         r.int(zmq.Conflate) != 0,
		InvertMatching:   r.int(zmq.InvertMatching) != 0,
		RoutingID:        r.bytes(zmq.RoutingID),
		ReconnectIvl:     r.duration(zmq.ReconnectIvl),
		ReconnectIvlMax:  r.duration(zmq.ReconnectIvlMax),
		ConnectTimeout:   r.duration(zmq.ConnectTimeout),
		HandshakeIvl:     r.duration(zmq.HandshakeIvl),
		HeartbeatIvl:     r.duration(zmq.HeartbeatIvl),
		HeartbeatTimeout: r.duration(zmq.HeartbeatTimeout),
		HeartbeatTTL:     r.duration(zmq.HeartbeatTTL),
		MaxMsgSize:       r.int64(zmq.MaxMsgSize),
		Backlog:          r.int(zmq.Backlog),
		IPv6:             r.int(zmq.IPv6) != 0,
		SndBuf:           r.int(zmq.SndBuf),
		RcvBuf:           r.int(zmq.RcvBuf),
		TOS:              r.int(zmq.TOS),
		BindDevice:       r.string(zmq.BindToDevice),

		TCPKeepalive:      r.int(zmq.TCPKeepalive),
		TCPKeepaliveCnt:   r.int(zmq.TCPKeepaliveCnt),
		TCPKeepaliveIdle:  r.int(zmq.TCPKeepaliveIdle),
		TCPKeepaliveIntvl: r.int(zmq.TCPKeepaliveIntvl),
		TCPMaxRT:          r.duration(zmq.TCPMaxRT),

		Security: r.security(),
	}
	return o, r.err
}

func (r *optionReader) security() Security {
	s := Security{
		Mechanism:        Mechanism(r.int(zmq.Mechanism)),
		ZAPDomain:        r.string(zmq.ZAPDomain),
		ZAPEnforceDomain: r.int(zmq.ZAPEnforceDomain) != 0,
	}
	switch s.Mechanism {
	case MechanismPlain:
		s.Server = r.int(zmq.PlainServer) != 0
		s.PlainUsername = r.string(zmq.PlainUsername)
		s.PlainPassword = r.string(zmq.PlainPassword)
	case MechanismCurve:
		s.Server = r.int(zmq.CurveServer) != 0
		s.CurvePublicKey = r.key(zmq.CurvePublicKey)
		s.CurveSecretKey = r.key(zmq.CurveSecretKey)
		s.CurveServerKey = r.key(zmq.CurveServerKey)
	}
	return s
}

// optionReader keeps the first error, so that a list of options reads like a list.
type optionReader struct {
	h   zmq.Handle
	err error
}

func (r *optionReader) keep(option int, err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("reading socket option %d: %w", option, err)
	}
}

func (r *optionReader) int(option int) int {
	v, err := zmq.GetInt(r.h, option)
	r.keep(option, err)
	return v
}

func (r *optionReader) int64(option int) int64 {
	v, err := zmq.GetInt64(r.h, option)
	r.keep(option, err)
	return v
}

func (r *optionReader) bytes(option int) []byte {
	v, err := zmq.GetBytes(r.h, option)
	r.keep(option, err)
	return v
}

// string reads an option that libzmq ends with a zero byte.
func (r *optionReader) string(option int) string {
	return strings.TrimRight(string(r.bytes(option)), "\x00")
}

func (r *optionReader) key(option int) []byte {
	v, err := zmq.GetKey(r.h, option)
	r.keep(option, err)
	return v
}

func (r *optionReader) duration(option int) time.Duration {
	if v := r.int(option); v >= 0 {
		return time.Duration(v) * time.Millisecond
	}
	return Forever
}

// checkOption refuses an unknown name or a bad value.
func checkOption(name, value string) error {
	spec, known := optionSpec(name)
	if !known {
		return fmt.Errorf("option %s: unknown: %w", optionName(name), ErrInvalid)
	}
	if err := spec.Check(value); err != nil {
		return fmt.Errorf("option %s: %w: %w", name, err, ErrInvalid)
	}
	return nil
}

// namedOptions merges the VTX options of the manager, the socket and the endpoint; the nearest wins.
func namedOptions(d Driver, manager, socket map[string]string, e Endpoint) (map[string]string, error) {
	named := maps.Clone(manager)
	if named == nil {
		named = make(map[string]string)
	}
	maps.Copy(named, socket)
	for name, value := range e.Params {
		name = fullName(d, name)
		if spec, _ := optionSpec(name); spec.Secret != nil && spec.Secret(value) {
			return nil, fmt.Errorf("option %s: a secret must not stand in an endpoint: %w", name, ErrInvalid)
		}
		if err := checkOption(name, value); err != nil {
			return nil, err
		}
		named[name] = value
	}
	return named, nil
}

// fullName completes an option's name in an endpoint, where the prefix may be left out.
func fullName(d Driver, name string) string {
	if _, known := optionSpec(name); known {
		return name
	}
	for _, o := range d.Traits().Options {
		if _, short, _ := strings.Cut(o.Name, "."); short == name {
			return o.Name
		}
	}
	return d.Scheme() + "." + name
}
