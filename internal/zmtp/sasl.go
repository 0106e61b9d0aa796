package zmtp

import "fmt"

// SASLServer is a server's end of one SASL exchange (RFC 4422). Its errors are those of Mechanism.Next.
type SASLServer interface {
	// Offers are the names of the mechanisms that it may be done with, strongest first, 1 to 20 bytes each.
	Offers() []string
	// Start takes the client's choice and its first response.
	Start(mechanism string, response []byte) (challenge []byte, done bool, err error)
	// Next takes each further response. done: the client is who it says; challenge is then the additional data with
	// success, nil if there are none.
	Next(response []byte) (challenge []byte, done bool, err error)
	// User is who that is, once done.
	User() string
}

// SASLClient is a client's end of one SASL exchange.
type SASLClient interface {
	// Start chooses among the server's offers and makes the first response; nil is none, which is not an empty one.
	Start(offers []string) (mechanism string, response []byte, err error)
	// Next answers a challenge.
	Next(challenge []byte) (response []byte, err error)
	// Finish takes the additional data with success, nil if there are none. An error says that it has not shown yet
	// that the server is who it should be.
	Finish(data []byte) error
}

// NewSASLServer makes a server's end of the SASL mechanism, which drivers/sasl/SASL.md specifies.
//
//	          ◄────────────────── MECHANISMS names    server
//	client    AUTH name, response ───────────────►
//	          ◄──────────────────── CHALLENGE data
//	          RESPONSE data ─────────────────────►         as often as the exchange takes
//	          ◄────────────────────── SUCCESS data
//	          INITIATE metadata ─────────────────►
//	          ◄────────────────────── READY metadata
//	MECHANISMS: a byte with the length stands before each name
//	AUTH: a byte with the length, the name, and then, as in SUCCESS: a byte 0, or a byte 1 and data
func NewSASLServer(exchange SASLServer) Mechanism { return &saslServer{exchange: exchange} }

// NewSASLClient makes a client's end. It says nothing of itself before the exchange has shown who the server is.
func NewSASLClient(exchange SASLClient) Mechanism { return &saslClient{exchange: exchange} }

const (
	saslName = "SASL"
	// maxSASLName is the longest name of a mechanism (RFC 4422, section 3.1).
	maxSASLName = 20
)

// saslState is how far an end has come.
type saslState int

const (
	saslBegun   saslState = iota // nothing has come from the peer
	saslFirst                    // server: AUTH has come without a first response
	saslRunning                  // AUTH is done
	saslOver                     // SUCCESS is done
)

type saslServer struct {
	exchange       SASLServer
	state          saslState
	chosen         string
	metadata, peer []byte
}

func (*saslServer) Name() string             { return saslName }
func (*saslServer) Server() bool             { return true }
func (*saslServer) Sealer() Sealer           { return nil }
func (m *saslServer) Peer() ([]byte, string) { return m.peer, m.exchange.User() }

func (m *saslServer) Begin(metadata []byte) ([]byte, error) {
	m.metadata = metadata
	command := appendCommand(nil, "MECHANISMS")
	for _, name := range m.exchange.Offers() {
		command = append(append(command, byte(len(name))), name...)
	}
	return command, nil
}

func (m *saslServer) Next(command []byte) (answer []byte, done bool, err error) {
	name, data, err := splitCommand(command)
	switch {
	case err != nil:
		return nil, false, err
	case name == "AUTH" && m.state == saslBegun:
		mechanism, rest, ok := shortString(data)
		if !ok || len(mechanism) == 0 || len(mechanism) > maxSASLName {
			return nil, false, fmt.Errorf("%w: AUTH with %d bytes of data names no mechanism", ErrProtocol, len(data))
		}
		response, err := optional("AUTH", rest)
		if err != nil {
			return nil, false, err
		}
		if m.chosen = string(mechanism); response == nil {
			m.state = saslFirst
			return appendCommand(nil, "CHALLENGE"), false, nil // RFC 4422, section 5: the client is to speak first
		}
		return m.answer(m.exchange.Start(m.chosen, response))
	case name == "RESPONSE" && m.state == saslFirst:
		return m.answer(m.exchange.Start(m.chosen, append([]byte{}, data...)))
	case name == "RESPONSE" && m.state == saslRunning:
		return m.answer(m.exchange.Next(append([]byte{}, data...)))
	case name == "INITIATE" && m.state == saslOver:
		m.peer = append([]byte{}, data...)
		return appendCommand(nil, "READY", m.metadata), true, nil
	}
	return nil, false, unexpected(name, data)
}

// answer makes a command of what the exchange says.
func (m *saslServer) answer(challenge []byte, done bool, err error) ([]byte, bool, error) {
	switch m.state = saslRunning; {
	case err != nil:
		return nil, false, err
	case !done:
		return appendCommand(nil, "CHALLENGE", challenge), false, nil
	}
	m.state = saslOver
	return appendOptional(appendCommand(nil, "SUCCESS"), challenge), false, nil
}

type saslClient struct {
	exchange       SASLClient
	state          saslState
	metadata, peer []byte
}

func (*saslClient) Name() string             { return saslName }
func (*saslClient) Server() bool             { return false }
func (*saslClient) Sealer() Sealer           { return nil }
func (m *saslClient) Peer() ([]byte, string) { return m.peer, "" }

func (m *saslClient) Begin(metadata []byte) ([]byte, error) {
	m.metadata = metadata
	return nil, nil
}

func (m *saslClient) Next(command []byte) (answer []byte, done bool, err error) {
	name, data, err := splitCommand(command)
	switch {
	case err != nil:
		return nil, false, err
	case name == "MECHANISMS" && m.state == saslBegun:
		m.state = saslRunning
		answer, err = m.begin(data)
		return answer, false, err
	case name == "CHALLENGE" && m.state == saslRunning:
		response, err := m.exchange.Next(append([]byte{}, data...))
		if err != nil {
			return nil, false, err
		}
		return appendCommand(nil, "RESPONSE", response), false, nil
	case name == "SUCCESS" && m.state == saslRunning:
		additional, err := optional("SUCCESS", data)
		if err == nil {
			err = m.exchange.Finish(additional)
		}
		if err != nil {
			return nil, false, err
		}
		m.state = saslOver
		return appendCommand(nil, "INITIATE", m.metadata), false, nil
	case name == "READY" && m.state == saslOver:
		m.peer = append([]byte{}, data...)
		return nil, true, nil
	}
	return nil, false, unexpected(name, data)
}

// begin answers the server's list.
func (m *saslClient) begin(list []byte) ([]byte, error) {
	var offers []string
	for len(list) > 0 {
		name, rest, ok := shortString(list)
		if !ok || len(name) == 0 || len(name) > maxSASLName {
			return nil, fmt.Errorf("%w: MECHANISMS has something in it that is no name", ErrProtocol)
		}
		offers, list = append(offers, string(name)), rest
	}
	mechanism, response, err := m.exchange.Start(offers)
	if err != nil {
		return nil, err
	}
	return appendOptional(appendCommand(nil, "AUTH", []byte{byte(len(mechanism))}, []byte(mechanism)), response), nil
}

// appendOptional appends data that may be absent, which is not the same as empty.
func appendOptional(dst, data []byte) []byte {
	if data == nil {
		return append(dst, 0)
	}
	return append(append(dst, 1), data...)
}

// optional reads and copies them; nil: there are none.
func optional(command string, b []byte) ([]byte, error) {
	switch {
	case len(b) == 1 && b[0] == 0:
		return nil, nil
	case len(b) > 0 && b[0] == 1:
		return append([]byte{}, b[1:]...), nil
	}
	return nil, fmt.Errorf("%w: %s does not say whether there is data", ErrProtocol, command)
}
