package zmtp

import (
	"fmt"

	"github.com/libvtx/libvtx/internal/printable"
)

// NewPlainClient makes a client's end of the PLAIN mechanism (RFC 24). User and password have at most 255 bytes.
//
//	client    HELLO user, password ──►
//	          ◄────────────── WELCOME    server
//	          INITIATE metadata ─────►
//	          ◄─────── READY metadata
//	HELLO: the lengths stand in one byte before the user and before the password
func NewPlainClient(user, password string) Mechanism {
	return &plainClient{user: user, password: password}
}

// NewPlainServer makes a server's end, which asks auth about the user and the password. Without an auth nobody can
// check them, and nobody comes in.
func NewPlainServer(auth Authenticate) Mechanism { return &plainServer{auth: auth} }

type plainClient struct {
	user, password string
	metadata       []byte
	peer           []byte
	welcome        bool // WELCOME has come
}

func (*plainClient) Name() string             { return "PLAIN" }
func (*plainClient) Server() bool             { return false }
func (*plainClient) Sealer() Sealer           { return nil }
func (m *plainClient) Peer() ([]byte, string) { return m.peer, "" }

func (m *plainClient) Begin(metadata []byte) ([]byte, error) {
	if len(m.user) > 0xFF || len(m.password) > 0xFF {
		return nil, fmt.Errorf("PLAIN: user of %d bytes, password of %d; at most 255 are possible", len(m.user), len(m.password))
	}
	m.metadata = metadata
	return appendCommand(nil, "HELLO", []byte{byte(len(m.user))}, []byte(m.user),
		[]byte{byte(len(m.password))}, []byte(m.password)), nil
}

func (m *plainClient) Next(command []byte) (answer []byte, done bool, err error) {
	name, data, err := splitCommand(command)
	switch {
	case err != nil:
		return nil, false, err
	case name == "HELLO":
		return nil, false, fmt.Errorf("%w: both ends are PLAIN clients", ErrMechanism)
	case name == "WELCOME" && !m.welcome && len(data) == 0:
		m.welcome = true
		return appendCommand(nil, "INITIATE", m.metadata), false, nil
	case name == "READY" && m.welcome:
		m.peer = append([]byte{}, data...)
		return nil, true, nil
	}
	return nil, false, unexpected(name, data)
}

type plainServer struct {
	auth     Authenticate
	metadata []byte
	peer     []byte
	user     string
	hello    bool // HELLO has come
}

func (*plainServer) Name() string             { return "PLAIN" }
func (*plainServer) Server() bool             { return true }
func (*plainServer) Sealer() Sealer           { return nil }
func (m *plainServer) Peer() ([]byte, string) { return m.peer, m.user }

func (m *plainServer) Begin(metadata []byte) ([]byte, error) {
	m.metadata = metadata
	return nil, nil
}

func (m *plainServer) Next(command []byte) (answer []byte, done bool, err error) {
	name, data, err := splitCommand(command)
	switch {
	case err != nil:
		return nil, false, err
	case name == "HELLO" && !m.hello:
		user, rest, ok1 := shortString(data)
		password, rest, ok2 := shortString(rest)
		if !ok1 || !ok2 || len(rest) > 0 {
			return nil, false, fmt.Errorf("%w: HELLO with %d bytes of data", ErrProtocol, len(data))
		}
		if m.auth == nil {
			return nil, false, &DeniedError{"400", "PLAIN: there is nobody to check the password"}
		}
		if m.user, err = m.auth("PLAIN", user, password); err != nil {
			return nil, false, err
		}
		m.hello = true
		return appendCommand(nil, "WELCOME"), false, nil
	case name == "INITIATE" && m.hello:
		m.peer = append([]byte{}, data...)
		return appendCommand(nil, "READY", m.metadata), true, nil
	}
	return nil, false, unexpected(name, data)
}

// shortString takes a byte with a length and that many bytes off b. They are copied: the one who asks for them
// may keep them.
func shortString(b []byte) (s, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return append([]byte{}, b[1:n]...), b[n:], true
}

// unexpected is the error for a command that is not the handshake's next.
func unexpected(name string, data []byte) error {
	return fmt.Errorf("%w: command %s with %d bytes of data is not what comes next", ErrProtocol, printable.Quote(name), len(data))
}
