package nom

import "bytes"

// Greeting is the body of OHAI and OHAI-OK.
//
//	+------- … -------+----+------ … ------+
//	| address         | 00 | properties    |
//	+------- … -------+----+------ … ------+
//
// The address is "host:port" as the connecting application wrote it; OHAI-OK answers with
// the same one, and that is how the two are matched. The zero byte and what follows are
// optional. A plain NOM-1 peer echoes the whole body and compares up to the zero byte, so
// properties pass it unharmed.
type Greeting struct {
	Address    []byte
	Properties []byte // nil: none, and no zero byte
}

// AppendGreeting adds g to a datagram.
func AppendGreeting(dst []byte, g Greeting) []byte {
	dst = append(dst, g.Address...)
	if g.Properties != nil {
		dst = append(dst, 0)
		dst = append(dst, g.Properties...)
	}
	return dst
}

// ParseGreeting reads the body of OHAI or OHAI-OK. Any bytes are one, and so are none.
func ParseGreeting(body []byte) Greeting {
	if i := bytes.IndexByte(body, 0); i >= 0 {
		return Greeting{Address: body[:i:i], Properties: body[i+1:]}
	}
	return Greeting{Address: body}
}
