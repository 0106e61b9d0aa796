package zmtp

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"github.com/libvtx/libvtx/internal/nacl"
)

// NewCurveServer makes a server's end of CURVE from its secret long-term key, 32 bytes. auth is asked about the
// client's public one; nil: every client that has its secret key may come in.
func NewCurveServer(secretKey []byte, auth Authenticate) (Mechanism, error) {
	secret, err := key("secret", secretKey)
	if err != nil {
		return nil, err
	}
	return &curveServer{secret: secret, auth: auth}, nil
}

type curveServer struct {
	secret         *nacl.Key // s
	auth           Authenticate
	metadata, peer []byte
	user           string

	client           *nacl.Key // C', once HELLO has come
	hello            uint64    // HELLO's nonce
	short, cookieKey *nacl.Key // s' and the cookie's key, made by Begin if they are nil
	box              *curveBox // once INITIATE has come
}

func (*curveServer) Name() string             { return "CURVE" }
func (*curveServer) Server() bool             { return true }
func (m *curveServer) Sealer() Sealer         { return m.box }
func (m *curveServer) Peer() ([]byte, string) { return m.peer, m.user }

func (m *curveServer) Begin(metadata []byte) ([]byte, error) {
	m.metadata = metadata
	if m.short == nil {
		m.short, m.cookieKey = randomKey(), randomKey()
	}
	return nil, nil
}

func (m *curveServer) Next(command []byte) (answer []byte, done bool, err error) {
	name, data, err := splitCommand(command)
	switch {
	case err != nil:
		return nil, false, err
	case name == "HELLO" && m.client == nil && len(data) == helloSize:
		answer, err = m.welcome(data)
		return answer, false, err
	case name == "INITIATE" && m.client != nil && m.box == nil && len(data) >= initiateSize:
		answer, err = m.ready(data)
		return answer, err == nil, err
	}
	return nil, false, unexpected(name, data)
}

// welcome answers HELLO.
func (m *curveServer) welcome(hello reader) ([]byte, error) {
	if version := hello.take(2); version[0] != 1 || version[1] != 0 {
		return nil, fmt.Errorf("%w: CurveZMQ %d.%d", ErrProtocol, version[0], version[1])
	}
	hello.take(helloZeros)
	client, counter := hello.key(), hello.take(shortNonce)
	shared, err := share("client's short-term", client, m.secret)
	if err != nil {
		return nil, err
	}
	zeros, ok := nacl.Open(nil, hello, nonce("CurveZMQHELLO---", counter), shared)
	if !ok || subtle.ConstantTimeCompare(zeros, make([]byte, signedZeros)) != 1 {
		return nil, noBox("HELLO", "the signature")
	}
	m.client, m.hello = client, binary.BigEndian.Uint64(counter)

	random := randomNonce()
	cookie := nacl.Seal(random, append(client[:], m.short[:]...), nonce("COOKIE--", random), m.cookieKey)
	random = randomNonce()
	welcome := nacl.Seal(random, append(nacl.Public(m.short)[:], cookie...), nonce("WELCOME-", random), shared)
	return appendCommand(nil, "WELCOME", welcome), nil
}

// ready answers INITIATE, if the client is who it says it is, and is let in.
func (m *curveServer) ready(initiate reader) ([]byte, error) {
	cookie := reader(initiate.take(cookieSize))
	n := nonce("COOKIE--", cookie.take(longNonce))
	keys, ok := nacl.Open(nil, cookie, n, m.cookieKey)
	if !ok || subtle.ConstantTimeCompare(keys, append(m.client[:], m.short[:]...)) != 1 {
		return nil, noBox("INITIATE", "the cookie")
	}
	curve, err := newCurveBox(m.client, m.short, true)
	if err != nil {
		return nil, err
	}
	curve.received = m.hello
	opened, err := curve.open("INITIATE", "CurveZMQINITIATE", initiate)
	if err != nil {
		return nil, err
	}
	r := reader(opened)
	long, vouch := r.key(), reader(r.take(vouchSize))
	n = nonce("VOUCH---", vouch.take(longNonce))
	shared, err := share("client's", long, m.short)
	if err != nil {
		return nil, err
	}
	vouched, ok := nacl.Open(nil, vouch, n, shared)
	if !ok || subtle.ConstantTimeCompare(vouched, append(m.client[:], nacl.Public(m.secret)[:]...)) != 1 {
		return nil, noBox("INITIATE", "the vouch")
	}
	if m.auth != nil {
		if m.user, err = m.auth("CURVE", long[:]); err != nil {
			return nil, err
		}
	}
	m.box, m.peer = curve, r
	return appendCommand(nil, "READY", m.box.seal("CurveZMQREADY---", m.metadata)), nil
}
