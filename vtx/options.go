package vtx

import "time"

// Options is what the application's own socket says about how it wants to be connected: its
// libzmq options, read when bind or connect was called, and the VTX options that hold for it.
// Durations: 0 is libzmq's "off" or "operating system's default"; Forever is its -1.
type Options struct {
	SndHWM, RcvHWM int // messages; 0 = no limit
	Linger         time.Duration
	Immediate      bool
	Conflate       bool
	InvertMatching bool
	RoutingID      []byte

	ReconnectIvl    time.Duration // Forever: do not reconnect
	ReconnectIvlMax time.Duration // 0: ReconnectIvl only
	ConnectTimeout  time.Duration
	HandshakeIvl    time.Duration // 0: no limit

	HeartbeatIvl     time.Duration
	HeartbeatTimeout time.Duration // 0 or Forever: HeartbeatIvl
	HeartbeatTTL     time.Duration

	MaxMsgSize int64 // bytes; -1 = no limit
	Backlog    int
	IPv6       bool
	SndBuf     int // bytes; -1 = operating system's default
	RcvBuf     int
	TOS        int
	BindDevice string

	// Named are the VTX options by full name ("udp.broadcast"), already checked.
	Named map[string]string
}

// Forever is libzmq's -1 where an option is a time.
const Forever time.Duration = -1
