package zmtp

import (
	"fmt"

	"github.com/libvtx/libvtx/internal/printable"
)

// NewNull makes the NULL mechanism (RFC 37, the NULL mechanism): no security, each end tells its metadata in a READY.
//
//	dialer    READY ─────────────►
//	          ◄───────────── READY    listener, once it has seen the peer's
//
// The RFC lets both ends send at once. A listener waits, because it can only refuse (ERROR) as long as it has not
// said READY. auth, which may be nil, is asked about the peer, without credentials.
func NewNull(listening bool, auth Authenticate) Mechanism {
	return &null{listening: listening, auth: auth}
}

type null struct {
	listening bool
	auth      Authenticate
	ready     []byte // ours
	peer      []byte // the peer's metadata
	user      string
}

func (*null) Name() string             { return "NULL" }
func (*null) Server() bool             { return false }
func (*null) Sealer() Sealer           { return nil }
func (m *null) Peer() ([]byte, string) { return m.peer, m.user }

func (m *null) Begin(metadata []byte) ([]byte, error) {
	m.ready = appendCommand(nil, "READY", metadata)
	if m.listening {
		return nil, nil
	}
	return m.ready, nil
}

func (m *null) Next(command []byte) (answer []byte, done bool, err error) {
	name, data, err := splitCommand(command)
	if err != nil {
		return nil, false, err
	}
	if name != "READY" {
		return nil, false, fmt.Errorf("%w: command %s instead of READY", ErrProtocol, printable.Quote(name))
	}
	m.peer = append([]byte{}, data...)
	if m.auth != nil {
		if m.user, err = m.auth("NULL"); err != nil {
			return nil, false, err
		}
	}
	if m.listening {
		answer = m.ready
	}
	return answer, true, nil
}
