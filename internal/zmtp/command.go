package zmtp

import (
	"encoding/binary"
	"fmt"
)

// A command is the body of a COMMAND frame (RFC 37, commands):
//
//	+-------------+------ … ------+------ … ------+
//	| name length | name          | data          |
//	+-------------+------ … ------+------ … ------+
//	SUBSCRIBE, CANCEL  data is the topic
//	PING               TTL in tenths of a second, 2 bytes, and a context of at most 16 bytes
//	PONG               the PING's context
//	ERROR              1 byte with the length of the reason, and the reason

// maxContext is how much of a PING's context comes back with the PONG.
const maxContext = 16

// appendCommand appends a command: the body of the frame, not the frame.
func appendCommand(dst []byte, name string, data ...[]byte) []byte {
	dst = append(append(dst, byte(len(name))), name...)
	for _, d := range data {
		dst = append(dst, d...)
	}
	return dst
}

// splitCommand tells a command's name from its data.
func splitCommand(body []byte) (name string, data []byte, err error) {
	if len(body) == 0 || body[0] == 0 || len(body) <= int(body[0]) {
		return "", nil, fmt.Errorf("%w: command of %d bytes has no whole name", ErrProtocol, len(body))
	}
	n := 1 + int(body[0])
	return commandName(body[1:n]), body[n:], nil
}

// commandName is string(b), without an allocation for the names that come again and again.
func commandName(b []byte) string {
	switch string(b) {
	case "SUBSCRIBE":
		return "SUBSCRIBE"
	case "CANCEL":
		return "CANCEL"
	case "PING":
		return "PING"
	case "PONG":
		return "PONG"
	}
	return string(b)
}

// errorCommand builds an ERROR. A reason that is too long loses its end.
func errorCommand(reason string) []byte {
	reason = reason[:min(len(reason), 0xFF)]
	return appendCommand(nil, "ERROR", []byte{byte(len(reason))}, []byte(reason))
}

// parseError reads the data of an ERROR.
func parseError(data []byte) (reason string, err error) {
	if len(data) == 0 || len(data) < 1+int(data[0]) {
		return "", fmt.Errorf("%w: ERROR with %d bytes of data", ErrProtocol, len(data))
	}
	return string(data[1 : 1+int(data[0])]), nil
}

// control makes what Decode tells of a PING, PONG or ERROR; ok says that name is one of them.
func (d *Decoded) control(name string, data []byte) (ok bool, err error) {
	switch name {
	case "PING":
		if len(data) < 2 {
			return true, fmt.Errorf("%w: PING with %d bytes of data", ErrProtocol, len(data))
		}
		d.Control, d.TTL, d.Context = Ping, binary.BigEndian.Uint16(data), data[2:]
	case "PONG":
		d.Control, d.Context = Pong, data
	case "ERROR":
		if d.Reason, err = parseError(data); err != nil {
			return true, err
		}
		d.Control = Error
	default:
		return false, nil
	}
	// libzmq, too, cuts a context that is too long instead of refusing it.
	d.Context = d.Context[:min(len(d.Context), maxContext)]
	return true, nil
}
