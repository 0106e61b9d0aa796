package zmtp

import (
	"encoding/binary"
	"fmt"

	"github.com/libvtx/libvtx/internal/nacl"
)

// NewCurveClient makes a client's end of CURVE from its long-term keys and the key of the server that it wants,
// 32 bytes each. Errors: keys that are not that, or no pair.
func NewCurveClient(publicKey, secretKey, serverKey []byte) (Mechanism, error) {
	m := new(curveClient)
	var err error
	if m.public, err = key("public", publicKey); err != nil {
		return nil, err
	}
	if m.secret, err = key("secret", secretKey); err != nil {
		return nil, err
	}
	if m.server, err = key("server's", serverKey); err != nil {
		return nil, err
	}
	if *nacl.Public(m.secret) != *m.public {
		return nil, fmt.Errorf("CURVE: the public key is not the secret key's")
	}
	return m, nil
}

type curveClient struct {
	public, secret, server *nacl.Key // C, c, S
	shortPublic            *nacl.Key // C'
	short                  *nacl.Key // c', made by Begin if it is nil
	hello                  *nacl.Key // of c' and S, for HELLO and WELCOME
	metadata, peer         []byte
	box                    *curveBox // once WELCOME has come
}

func (*curveClient) Name() string             { return "CURVE" }
func (*curveClient) Server() bool             { return false }
func (m *curveClient) Sealer() Sealer         { return m.box }
func (m *curveClient) Peer() ([]byte, string) { return m.peer, "" }

func (m *curveClient) Begin(metadata []byte) ([]byte, error) {
	m.metadata = metadata
	if m.short == nil {
		m.short = randomKey()
	}
	m.shortPublic = nacl.Public(m.short)
	counter := binary.BigEndian.AppendUint64(nil, 1)
	var err error
	if m.hello, err = share("server's", m.server, m.short); err != nil {
		return nil, err
	}
	signature := nacl.Seal(nil, make([]byte, signedZeros), nonce("CurveZMQHELLO---", counter), m.hello)
	return appendCommand(nil, "HELLO", []byte{1, 0}, make([]byte, helloZeros), m.shortPublic[:], counter, signature), nil
}

func (m *curveClient) Next(command []byte) (answer []byte, done bool, err error) {
	name, data, err := splitCommand(command)
	switch {
	case err != nil:
		return nil, false, err
	case name == "HELLO":
		return nil, false, fmt.Errorf("%w: both ends are CURVE clients", ErrMechanism)
	case name == "WELCOME" && m.box == nil && len(data) == welcomeSize:
		answer, err = m.initiate(data)
		return answer, false, err
	case name == "READY" && m.box != nil && len(data) >= readySize:
		m.peer, err = m.box.open("READY", "CurveZMQREADY---", data)
		return nil, err == nil, err
	}
	return nil, false, unexpected(name, data)
}

// initiate answers WELCOME.
func (m *curveClient) initiate(welcome reader) ([]byte, error) {
	n := nonce("WELCOME-", welcome.take(longNonce))
	opened, ok := nacl.Open(nil, welcome, n, m.hello)
	if !ok {
		return nil, noBox("WELCOME", "the box")
	}
	r := reader(opened)
	shortServer, cookie := r.key(), r.take(cookieSize)
	curve, err := newCurveBox(shortServer, m.short, false)
	if err != nil {
		return nil, err
	}
	curve.sent = 1 // HELLO was

	shared, err := share("server's short-term", shortServer, m.secret)
	if err != nil {
		return nil, err
	}
	random := randomNonce()
	vouch := nacl.Seal(random, append(m.shortPublic[:], m.server[:]...), nonce("VOUCH---", random), shared)
	content := append(append(m.public[:], vouch...), m.metadata...)
	m.box = curve
	return appendCommand(nil, "INITIATE", cookie, m.box.seal("CurveZMQINITIATE", content)), nil
}
