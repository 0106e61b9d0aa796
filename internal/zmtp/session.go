package zmtp

// Session is a connection after the handshake. Encoding (Encode, the Append methods) and decoding are independent
// of each other: each may be used by one goroutine at a time.
type Session struct {
	Version Version
	// SocketType, Identity and Properties are the peer's; a ZMTP 1.0 peer tells only its identity.
	SocketType string
	Identity   []byte
	Properties Properties
	// User is the user id that authentication gave the peer, "" if none.
	User string

	publishes  bool   // this end is a PUB or XPUB: subscriptions come in
	subscribes bool   // this end is a SUB or XSUB: subscriptions go out
	limit      int    // Config.MaxMessage; maxInt if there is none
	sealer     Sealer // nil: nothing is sealed
	final      []byte // the frame that Final gives
	rest       []byte // what Rest gives
	unsealed   error  // what EncodeErr gives

	decoder
}

func newSession(cfg *Config) *Session {
	s := &Session{
		publishes:  cfg.SocketType == "PUB" || cfg.SocketType == "XPUB",
		subscribes: cfg.SocketType == "SUB" || cfg.SocketType == "XSUB",
		limit:      maxInt,
	}
	if cfg.MaxMessage >= 0 {
		s.limit = int(min(cfg.MaxMessage, int64(maxInt)))
	}
	return s
}

// Final is what a listening end still has to write before its first message, once it takes the peer; nil if nothing.
func (s *Session) Final() []byte { return s.final }

// Refusal is what a listening end writes in place of Final when it does not take the peer; nil if the peer's
// version has no way to say so.
func (s *Session) Refusal(reason string) []byte {
	switch {
	case s.Version.Major < 3:
		return nil
	case s.final != nil: // the peer is still in its handshake, where an ERROR is never sealed
		return appendFrame(nil, flagCommand, errorCommand(reason))
	}
	return s.AppendError(nil, reason)
}

// Rest is what the handshake has read beyond its end: the first bytes for Decode. Decode is to be called with them
// also when there are none: at a publisher a ZMTP 1.0 peer's subscription comes out of it. It is told once: the session does
// not keep the handshake's memory.
func (s *Session) Rest() []byte {
	rest := s.rest
	s.rest = nil
	return rest
}

// Verbatim says that messages leave in batch form, so that Encode would only copy them.
func (s *Session) Verbatim() bool {
	return s.Version.Major >= 2 && s.sealer == nil && !s.commandsSubscribe()
}

// commandsSubscribe says that this end's subscriptions have to leave as commands.
func (s *Session) commandsSubscribe() bool { return s.subscribes && s.Version == V31 }
