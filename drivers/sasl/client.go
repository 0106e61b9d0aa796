package sasl

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"github.com/libvtx/libvtx/drivers/sasl/passwd"
	"github.com/libvtx/libvtx/internal/printable"
	"github.com/libvtx/libvtx/vtx"
)

// What the monitor's events of failed log-ins carry.
const (
	authFailed    = 400        // EventHandshakeFailedAuth: RFC 27's status of an authentication that failed
	noMechanism   = 0x11000002 // EventHandshakeFailedProtocol: ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
	maxIterations = passwd.MaxIterations
)

// client is what all log-ins of one endpoint have in common.
type client struct {
	settings
	username, password, token string
	can                       []string // by these credentials, strongest first

	mu sync.Mutex
	// scrams remember what they have computed from the password, by hash. One that a server was not believed with is
	// forgotten: it could be made to remember more and more.
	scrams map[string]*scram.Client
}

func newClient(cfg *vtx.Config, tls bool) (*client, error) {
	set, err := readSettings(cfg, tls)
	if err != nil {
		return nil, err
	}
	named, security := cfg.Options.Named, cfg.Options.Security
	c := &client{
		settings: set, scrams: make(map[string]*scram.Client),
		username: named[optUsername], password: named[optPassword], token: named[optToken],
	}
	if security.Mechanism == vtx.MechanismPlain && !security.Server {
		if c.username == "" {
			c.username = security.PlainUsername
		}
		if c.password == "" && c.token == "" {
			c.password = security.PlainPassword
		}
	}
	var by []string
	switch {
	case c.password != "" && c.token != "":
		return nil, c.refuse(fmt.Errorf("there are a password and a token (%s): which is it to be?", optToken))
	case c.token != "":
		by = []string{sasl.OAuthBearer}
	case c.password != "":
		if c.username, err = passwd.PrepareName(c.username); err != nil {
			return nil, c.refuse(fmt.Errorf("%s: %w", optUsername, err))
		}
		if err := checkPassword(c.password); err != nil {
			return nil, c.refuse(fmt.Errorf("%s: %w", optPassword, err))
		}
		by = slices.DeleteFunc(slices.Clone(strongest), func(m string) bool { return m == sasl.External || m == sasl.OAuthBearer })
	case tls && named["tls.cert"] != "":
		by = []string{sasl.External}
	default:
		return nil, c.refuse(fmt.Errorf("who we are is not known: ZMQ_PLAIN_USERNAME and ZMQ_PLAIN_PASSWORD, %s and %s, or %s", optUsername, optPassword, optToken))
	}
	var why error
	for _, name := range by {
		switch {
		case c.only != nil && !c.named(name):
		case isPlus(name) && !tls:
		case isOpen(name) && !tls && !c.cleartext:
			why = fmt.Errorf("%s %w", name, errCleartext)
		default:
			c.can = append(c.can, name)
		}
	}
	if len(c.can) == 0 && why == nil {
		why = fmt.Errorf("%s: none of these can be used here with what there is to log in by", optMechanisms)
	}
	if len(c.can) == 0 {
		return nil, c.refuse(why)
	}
	return c, nil
}

// scramClient makes the client of one hash, or gives the one that there is.
func (c *client) scramClient(h passwd.Hash) (*scram.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.scrams[h.Name]; s != nil {
		return s, nil
	}
	s, err := h.New.NewClient(c.username, c.password, "")
	if err != nil {
		return nil, errors.New("the user's name or password is not one for SCRAM") // scram's error shows it
	}
	c.scrams[h.Name] = s
	return s, nil
}

func (c *client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.scrams)
}

// clientExchange is one log-in. It implements zmtp.SASLClient.
type clientExchange struct {
	*client
	*channel

	mechanism string
	scram     *scram.ClientConversation
	other     sasl.Client
	refused   bool // the server has said no, and what follows is its ERROR
}

// Start implements zmtp.SASLClient.
func (x *clientExchange) Start(offers []string) (mechanism string, response []byte, err error) {
	if x.mechanism, err = x.choose(offers); err != nil {
		return "", nil, err
	}
	if hash, isScram := scramHash(x.mechanism); isScram {
		s, err := x.scramClient(hash)
		if err != nil {
			return "", nil, err
		}
		switch {
		case isPlus(x.mechanism):
			x.scram = s.NewConversationWithChannelBinding(x.binding)
		case x.couldBind():
			x.scram = s.NewConversationAdvertisingChannelBinding() // the server knows whether it has offered that
		default:
			x.scram = s.NewConversation()
		}
		first, err := x.scram.Step("")
		return x.mechanism, []byte(first), err
	}
	switch x.mechanism {
	case sasl.External:
		x.other = sasl.NewExternalClient("")
	case sasl.Plain:
		x.other = sasl.NewPlainClient("", x.username, x.password)
	case sasl.OAuthBearer:
		user := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(x.username)
		x.other = sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: user, Token: x.token})
	}
	_, response, err = x.other.Start()
	return x.mechanism, response, err
}

// couldBind says whether a -PLUS would be taken if it were offered.
func (x *clientExchange) couldBind() bool {
	return x.binding.IsSupported() && slices.ContainsFunc(x.can, isPlus)
}

// choose takes the strongest of the server's offers that may be used on this connection.
func (x *clientExchange) choose(offers []string) (string, error) {
	var withheld string
	for _, name := range x.can {
		switch {
		case !slices.Contains(offers, name):
		case isPlus(name) && !x.binding.IsSupported():
		case isOpen(name) && !x.verified && !x.cleartext:
			withheld = fmt.Sprintf("; we do not use %s, since nobody has verified that this is the server", name)
		default:
			return name, nil
		}
	}
	var quoted []string
	for _, name := range offers {
		quoted = append(quoted, printable.Quote(name))
	}
	return "", &vtx.HandshakeError{Kind: vtx.EventHandshakeFailedProtocol, Value: noMechanism,
		Reason: fmt.Sprintf("the server offers %s, and we could log in by %s%s", names(quoted), names(x.can), withheld)}
}

// Next implements zmtp.SASLClient.
func (x *clientExchange) Next(challenge []byte) ([]byte, error) {
	switch {
	case x.scram != nil:
		response, err := x.stepScram(string(challenge))
		return []byte(response), err
	case x.mechanism == sasl.OAuthBearer && !x.refused:
		x.refused = true // RFC 7628, section 3.2.3: a challenge is a refusal, and its answer says nothing
		return []byte{1}, nil
	}
	return nil, distrust("the server's challenge has no place in %s", x.mechanism)
}

// Finish implements zmtp.SASLClient. That TLS has verified the server is enough for the mechanisms that do not.
func (x *clientExchange) Finish(data []byte) error {
	switch {
	case x.scram == nil && (data != nil || x.refused):
		return distrust("the server says more than %s has to say", x.mechanism)
	case x.scram == nil:
		return nil
	case data != nil && !x.scram.Done():
		if _, err := x.stepScram(string(data)); err != nil {
			return err
		}
	}
	if !x.scram.Valid() {
		x.forget()
		return distrust("the server has not proved that it knows us: it may be somebody else")
	}
	return nil
}

// stepScram takes a message of the server's.
func (x *clientExchange) stepScram(message string) (response string, err error) {
	last := strings.HasPrefix(message, "v=") || strings.HasPrefix(message, "e=")
	if n, asked := iterations(message); asked && !last {
		// Before scram computes them all.
		if n < passwd.MinIterations || n > maxIterations {
			return "", distrust("the server asks for %d iterations, and they are %d to %d", n, passwd.MinIterations, maxIterations)
		}
	}
	if response, err = x.scram.Step(message); err == nil {
		return response, nil
	}
	x.forget()
	if last {
		return "", distrust("the server has not proved that it knows us: it may be somebody else")
	}
	return "", distrust("the server's challenge is not one for our %s: it was changed, or belongs to another log-in", x.mechanism)
}

// iterations finds the count in a server's first message (RFC 5802, section 7).
func iterations(message string) (n int, asked bool) {
	fields := strings.Split(message, ",")
	if len(fields) < 3 {
		return 0, false
	}
	text, asked := strings.CutPrefix(fields[2], "i=")
	n, err := strconv.Atoi(text)
	return n, asked && err == nil
}

// distrust ends the connection, and tells the monitor why.
func distrust(format string, args ...any) error {
	return &vtx.HandshakeError{Kind: vtx.EventHandshakeFailedAuth, Value: authFailed, Reason: fmt.Sprintf(format, args...)}
}
