package zmtp

import "encoding/binary"

// EncodeErr says why there is nothing more to be encoded: ENOMEM. What was to be encoded then is lost, in whole frames.
func (s *Session) EncodeErr() error { return s.unsealed }

// Encode appends to dst the wire form of whole messages in batch form.
func (s *Session) Encode(dst, messages []byte) []byte {
	if s.Verbatim() {
		return append(dst, messages...)
	}
	if s.unsealed != nil {
		return dst
	}
	if s.sealer != nil && !s.commandsSubscribe() {
		dst, s.unsealed = s.sealer.Seal(dst, messages)
		return dst
	}
	inside := false // the frame before had MORE
	for len(messages) > 0 {
		flags, body, rest := cut(messages)
		switch {
		case s.Version.Major < 2:
			dst = appendFrameV1(dst, flags, body)
		case !inside && flags&flagMore == 0 && s.commandsSubscribe() && len(body) > 0 && body[0] <= 1:
			dst = s.appendSubscription(dst, body)
		default:
			dst = s.appendFrame(dst, flags, body)
		}
		inside = flags&flagMore != 0
		messages = rest
	}
	return dst
}

// appendSubscription turns the message \x01topic or \x00topic, by which sockets subscribe, into the command that
// ZMTP 3.1 has for it. Before 3.1 it travels as the message that it is.
func (s *Session) appendSubscription(dst, message []byte) []byte {
	name := "CANCEL"
	if message[0] == 1 {
		name = "SUBSCRIBE"
	}
	if s.sealer != nil {
		return s.appendFrame(dst, flagCommand, appendCommand(nil, name, message[1:]))
	}
	dst = appendHead(dst, flagCommand, 1+len(name)+len(message)-1)
	return appendCommand(dst, name, message[1:])
}

// appendFrame appends a frame of ZMTP 2 or 3, sealed if this session's are.
func (s *Session) appendFrame(dst []byte, flags byte, body []byte) []byte {
	if s.sealer == nil {
		return appendFrame(dst, flags, body)
	}
	if s.unsealed == nil {
		dst, s.unsealed = s.sealer.SealFrame(dst, flags, body)
	}
	return dst
}

// AppendPing appends a PING (RFC 37, connection heartbeating): ttl in tenths of a second, context of at most
// 16 bytes. Versions before 3.0 have none: then dst is returned as it is.
func (s *Session) AppendPing(dst []byte, ttl uint16, context []byte) []byte {
	return s.appendControl(dst, "PING", binary.BigEndian.AppendUint16(nil, ttl), context[:min(len(context), maxContext)])
}

// AppendPong appends the answer to a PING.
func (s *Session) AppendPong(dst []byte, context []byte) []byte {
	return s.appendControl(dst, "PONG", context[:min(len(context), maxContext)])
}

// AppendError appends an ERROR command, for an end that has to go after the handshake; nothing before version 3.0.
func (s *Session) AppendError(dst []byte, reason string) []byte {
	if s.Version.Major < 3 {
		return dst
	}
	return s.appendFrame(dst, flagCommand, errorCommand(reason))
}

func (s *Session) appendControl(dst []byte, name string, data ...[]byte) []byte {
	if s.Version.Major < 3 {
		return dst
	}
	return s.appendFrame(dst, flagCommand, appendCommand(nil, name, data...))
}
