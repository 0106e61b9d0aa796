package sasl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"github.com/libvtx/libvtx/drivers/sasl/passwd"
	"github.com/libvtx/libvtx/internal/printable"
	"github.com/libvtx/libvtx/internal/zmtp"
	"github.com/libvtx/libvtx/vtx"
)

// server is what all log-ins at one binding have in common.
type server struct {
	settings
	users    *store // nil: passwords and tokens are the ZAP handler's to check
	failures *failures
}

func newServer(cfg *vtx.Config, tls bool) (*server, error) {
	set, err := readSettings(cfg, tls)
	if err != nil {
		return nil, err
	}
	s := &server{settings: set, failures: newFailures()}
	file, given := cfg.Options.Named[optVerifiers]
	for _, name := range s.only {
		switch _, isScram := scramHash(name); {
		case isScram && !given:
			return nil, s.refuse(fmt.Errorf("%s needs %s", name, optVerifiers))
		case (isPlus(name) || name == sasl.External) && !tls:
			return nil, s.refuse(fmt.Errorf("%s needs TLS: sasl+tls://", name))
		case name == sasl.External && cfg.Options.Named["tls.ca"] == "":
			return nil, s.refuse(fmt.Errorf("%s needs tls.ca, the authorities that clients are known by", name))
		case isOpen(name) && !tls && !s.cleartext:
			return nil, s.refuse(fmt.Errorf("%s %w", name, errCleartext))
		}
	}
	if !given && s.only == nil && !tls && !s.cleartext {
		return nil, s.refuse(fmt.Errorf("whoever binds needs %s; or, to have the ZAP handler check passwords, sasl+tls://", optVerifiers))
	}
	if given {
		s.users, err = newStore(file, func(news string) {
			cfg.Report.Event(vtx.Event{Kind: vtx.EventRefused, Endpoint: cfg.Endpoint.String(), Reason: news})
		})
		if err != nil {
			return nil, s.refuse(err)
		}
	}
	return s, nil
}

var errCleartext = fmt.Errorf("shows the secret to everybody on the way: use sasl+tls://, or say %s=yes", optCleartext)

// offers are the mechanisms for one connection.
func (s *server) offers(ch *channel) []string {
	var list []string
	for _, name := range strongest {
		_, isScram := scramHash(name)
		can := true
		switch {
		case isScram:
			can = s.users != nil && (!isPlus(name) || ch.binding.IsSupported())
		case name == sasl.External:
			can = ch.certificate != nil
		case isOpen(name):
			// Who has verifiers has no ZAP handler that checks passwords, unless he says so.
			can = (ch.tls || s.cleartext) && (s.users == nil || s.named(name))
		}
		if can && (s.only == nil || s.named(name)) {
			list = append(list, name)
		}
	}
	return list
}

// serverExchange is one log-in. It implements zmtp.SASLServer.
type serverExchange struct {
	*server
	*channel
	ctx     context.Context
	ask     vtx.Ask
	address string

	mechanism string
	holder    string // who holds the certificate, for the ZAP handler
	claimed   string // who the client says it is, prepared; "" if that is no name
	known     bool
	user      string // who it is
	scram     *scram.ServerConversation
	other     sasl.Server
	denied    error // what the client is told once it has answered OAUTHBEARER's last challenge
}

// Offers implements zmtp.SASLServer.
func (x *serverExchange) Offers() []string { return x.offers(x.channel) }

// User implements zmtp.SASLServer.
func (x *serverExchange) User() string { return x.user }

// Start implements zmtp.SASLServer.
func (x *serverExchange) Start(mechanism string, response []byte) (challenge []byte, done bool, err error) {
	offers := x.Offers()
	if !slices.Contains(offers, mechanism) {
		return nil, false, deny("the client wants %s, and is offered %s", printable.Quote(mechanism), names(offers))
	}
	x.mechanism = mechanism
	if x.certificate != nil {
		// A handler that does not want this certificate need not see what its holder knows.
		if x.holder, err = x.ask("TLS", x.certificate, x.subject); err != nil {
			return nil, false, err
		}
	}
	if hash, isScram := scramHash(mechanism); isScram {
		return x.startScram(hash, string(response))
	}
	switch mechanism {
	case sasl.External:
		x.other = sasl.NewExternalServer(x.external)
	case sasl.Plain:
		x.other = sasl.NewPlainServer(x.plain)
	case sasl.OAuthBearer:
		x.other = sasl.NewOAuthBearerServer(x.bearer)
	}
	return x.proceed(response)
}

// Next implements zmtp.SASLServer.
func (x *serverExchange) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case x.scram != nil:
		return x.finishScram(string(response))
	case x.denied != nil: // RFC 7628, section 3.2.3: the client has nothing more to say
		return nil, false, x.denied
	}
	return x.proceed(response)
}

// startScram answers the client's first message.
func (x *serverExchange) startScram(hash passwd.Hash, first string) ([]byte, bool, error) {
	if !isPlus(x.mechanism) && strings.HasPrefix(first, "p=") {
		return nil, false, fmt.Errorf("%w: %s, bound to TLS", zmtp.ErrProtocol, x.mechanism)
	}
	s, err := hash.New.NewServer(func(name string) (scram.StoredCredentials, error) {
		v, known := x.users.current().Lookup(name, hash.Name)
		x.claimed, _ = passwd.PrepareName(name)
		x.known = known
		return v, nil
	})
	if err != nil {
		return nil, false, err
	}
	// What the client says of channel binding is wrong if the server offered it and the client has not seen that.
	x.scram = s.NewConversationWithChannelBinding(x.offered())
	if isPlus(x.mechanism) {
		x.scram = s.NewConversationWithChannelBindingRequired(x.binding)
	}
	answer, err := x.scram.Step(first)
	if err != nil {
		return nil, false, x.scramFault(answer)
	}
	if id := x.scram.AuthzID(); id != "" && id != x.scram.Username() {
		return nil, false, deny("%s may not act for another user", shown(x.claimed))
	}
	return []byte(answer), false, nil
}

// offered is the channel binding, if it was offered.
func (x *serverExchange) offered() scram.ChannelBinding {
	if slices.ContainsFunc(x.Offers(), isPlus) {
		return x.binding
	}
	return scram.ChannelBinding{}
}

// finishScram looks at the client's proof, and answers with ours.
func (x *serverExchange) finishScram(last string) ([]byte, bool, error) {
	if x.scram.Done() {
		return nil, false, fmt.Errorf("%w: SCRAM is over", zmtp.ErrProtocol)
	}
	leave, err := x.failures.enter(x.ctx, x.address, x.claimed)
	if err != nil {
		return nil, false, err
	}
	defer leave()
	answer, err := x.scram.Step(last)
	if err != nil {
		return nil, false, x.scramFault(answer)
	}
	if !x.known { // no proof fits a fake verifier
		return nil, false, x.fail("the password is wrong, or there is no such user")
	}
	x.user = x.claimed
	return []byte(answer), true, nil
}

// scramFault puts what scram has found, which it says as RFC 5802 does (section 7, server-error-value), into words. It
// does not say what the client's message was.
func (x *serverExchange) scramFault(code string) error {
	switch code {
	case scram.ErrInvalidProof:
		return x.fail("the password is wrong, or there is no such user")
	case scram.ErrServerDoesSupportChannelBinding:
		return x.fail("the client has not bound its log-in to TLS although it could: somebody in between has changed our list of mechanisms")
	case scram.ErrChannelBindingsDontMatch:
		return x.fail("what the client has bound its log-in to is not this connection: somebody is in between, or has changed what it said")
	case scram.ErrUnsupportedChannelBindingType, scram.ErrChannelBindingNotSupported:
		return deny("the client binds its log-in to TLS in a way that is not %s", scram.ChannelBindingTLSExporter)
	case scram.ErrOtherError:
		return deny("the client's proof is for another log-in than this one")
	}
	return x.malformed()
}

// proceed has one of the other mechanisms take a step.
func (x *serverExchange) proceed(response []byte) ([]byte, bool, error) {
	challenge, done, err := x.other.Next(response)
	if err == nil {
		if !done && x.denied == nil { // OAUTHBEARER has not understood the client, and says so by a challenge
			x.denied = x.malformed()
		}
		return challenge, done, nil
	}
	var denied *zmtp.DeniedError
	if errors.As(err, &denied) {
		return nil, false, err
	}
	var own *verdict
	if errors.As(err, &own) {
		return nil, false, own.error
	}
	return nil, false, x.malformed()
}

func (x *serverExchange) malformed() error {
	return fmt.Errorf("%w: the client's message in %s is malformed", zmtp.ErrProtocol, x.mechanism)
}

// verdict marks an error that is ours, and not the library's, which may show what the client has sent.
type verdict struct{ error }

func (x *serverExchange) external(authorization string) error {
	x.user = cmp.Or(x.holder, string(x.subject))
	if authorization != "" && authorization != x.user {
		return deny("%s may not act for another user", shown(x.user))
	}
	return nil
}

func (x *serverExchange) plain(authorization, user, password string) error {
	if authorization != "" && authorization != user {
		return deny("%s may not act for another user", shown(user))
	}
	if err := x.check("PLAIN", user, user, password); err != nil {
		return &verdict{err}
	}
	return nil
}

func (x *serverExchange) bearer(o sasl.OAuthBearerOptions) *sasl.OAuthBearerError {
	user := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(o.Username)
	if x.denied = x.check(sasl.OAuthBearer, user, user, o.Token); x.denied != nil {
		return &sasl.OAuthBearerError{Status: "invalid_token", Schemes: "bearer"}
	}
	return nil
}

// check asks the ZAP handler.
func (x *serverExchange) check(mechanism, user string, credentials ...string) error {
	x.claimed, _ = passwd.PrepareName(user)
	leave, err := x.failures.enter(x.ctx, x.address, x.claimed)
	if err != nil {
		return err
	}
	defer leave()
	var list [][]byte
	for _, c := range credentials {
		list = append(list, []byte(c))
	}
	name, err := x.ask(mechanism, list...)
	var denied *zmtp.DeniedError
	if errors.As(err, &denied) && denied.Status == "400" {
		return x.fail(denied.Text)
	}
	if err != nil {
		return err
	}
	x.user = cmp.Or(name, user)
	return nil
}

// fail counts a log-in that has failed, and says so.
func (x *serverExchange) fail(why string) error {
	ofAddress, ofUser := x.failures.failed(x.address, x.claimed)
	return deny("%s %s; %d failed from %s, %d as this user", shown(x.claimed), why, ofAddress, x.address, ofUser)
}

// deny turns the client away. It learns the status and no more.
func deny(format string, args ...any) error {
	return &zmtp.DeniedError{Status: "400", Text: fmt.Sprintf(format, args...)}
}

// shown shows a user's name in an event.
func shown(user string) string {
	if user == "" {
		return "a client without a name:"
	}
	return "user " + printable.Quote(user) + ":"
}

// names shows mechanisms in an event.
func names(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	const most = 20
	if len(list) > most {
		list = append(list[:most:most], "…")
	}
	return strings.Join(list, ", ")
}
