package scale

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
)

// peer is one end of a ZMTP 3.0 connection made by hand (RFC 23), so that thousands of them cost little: a descriptor and
// a buffer of a few hundred bytes each.
type peer struct {
	net.Conn
	in *bufio.Reader
}

// Frame flags of RFC 23.
const (
	frameMore    = 1
	frameLong    = 2
	frameCommand = 4
)

// dial connects to a socket of the test's and shakes hands with the NULL mechanism. id may be empty.
func dial(endpoint, typ, id string) (*peer, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "tcp://"))
	if err != nil {
		return nil, err
	}
	p := &peer{conn, bufio.NewReaderSize(conn, 256)}
	if err := p.greet(typ, id); err != nil {
		conn.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return p, nil
}

func (p *peer) greet(typ, id string) error {
	greeting := make([]byte, 64)
	greeting[0], greeting[9], greeting[10] = 0xff, 0x7f, 3
	copy(greeting[12:], "NULL")
	ready := append([]byte{5}, "READY"...)
	for _, property := range [][2]string{{"Socket-Type", typ}, {"Identity", id}} {
		ready = append(append(ready, byte(len(property[0]))), property[0]...)
		ready = binary.BigEndian.AppendUint32(ready, uint32(len(property[1])))
		ready = append(ready, property[1]...)
	}
	if _, err := p.Write(append(append(greeting, frameCommand, byte(len(ready))), ready...)); err != nil {
		return err
	}
	if _, err := io.ReadFull(p.in, greeting); err != nil {
		return err
	}
	switch flags, body, err := p.frame(); {
	case err != nil:
		return err
	case flags&frameCommand == 0 || !strings.HasPrefix(string(body), "\x05READY"):
		return fmt.Errorf("the answer is %q", body)
	}
	return nil
}

func (p *peer) frame() (flags byte, body []byte, err error) {
	var head [9]byte
	if _, err = io.ReadFull(p.in, head[:2]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1])
	if head[0]&frameLong != 0 {
		if _, err = io.ReadFull(p.in, head[2:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(head[1:])
	}
	body = make([]byte, size)
	_, err = io.ReadFull(p.in, body)
	return head[0], body, err
}

// recv reads one message of one frame.
func (p *peer) recv() (string, error) {
	for {
		flags, body, err := p.frame()
		if err != nil || flags&frameCommand == 0 {
			return string(body), err
		}
	}
}

// send writes one message of one frame.
func (p *peer) send(body string) error {
	_, err := p.Write(framed(body))
	return err
}

func framed(body string) []byte {
	head := []byte{0, byte(len(body))}
	if len(body) > 255 {
		head = binary.BigEndian.AppendUint64([]byte{frameLong}, uint64(len(body)))
	}
	return append(head, body...)
}
