package sasl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/xdg-go/stringprep"

	"github.com/libvtx/libvtx/drivers/sasl/passwd"
	"github.com/libvtx/libvtx/vtx"
)

// The options.
const (
	optVerifiers  = "sasl.verifiers"  // binding: the file of verifiers that vtx-passwd makes
	optMechanisms = "sasl.mechanisms" // those that may be used; by default all that can be
	optCleartext  = "sasl.cleartext"  // yes: a password or token may travel where others can read it
	optUsername   = "sasl.username"   // connecting: who we are; by default ZMQ_PLAIN_USERNAME
	optPassword   = "sasl.password"   // and its password; by default ZMQ_PLAIN_PASSWORD
	optToken      = "sasl.token"      // connecting: a bearer's token, in the place of a password
)

var optionSpecs = []vtx.OptionSpec{
	{Name: optVerifiers, Check: checkFile},
	{Name: optMechanisms, Check: func(value string) error { _, err := parseMechanisms(value); return err }},
	{Name: optCleartext, Check: func(value string) error {
		if value != "yes" && value != "no" {
			return errors.New("it is yes or no")
		}
		return nil
	}},
	{Name: optUsername, Check: func(value string) error { _, err := passwd.PrepareName(value); return err }, Secret: isSecret},
	{Name: optPassword, Check: checkPassword, Secret: isSecret},
	{Name: optToken, Check: checkToken, Secret: isSecret},
}

// isSecret: whatever it is, it does not belong where it is shown. A user's name neither: a password follows it.
func isSecret(string) bool { return true }

func checkFile(value string) error {
	if value == "" || strings.ContainsAny(value, "\r\n\x00") {
		return errors.New("it is not a file's name")
	}
	return nil
}

func checkPassword(value string) error {
	if _, err := stringprep.SASLprep.Prepare(value); err != nil || value == "" || len(value) > maxSecret {
		return fmt.Errorf("a password has 1 to %d bytes, and only characters that SASLprep (RFC 4013) allows", maxSecret)
	}
	return nil
}

func checkToken(value string) error {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="
	if value == "" || len(value) > maxSecret || strings.Trim(value, alphabet) != "" {
		return fmt.Errorf("a token has 1 to %d letters, digits and -._~+/= (RFC 6750, section 2.1)", maxSecret)
	}
	return nil
}

// maxSecret keeps what a handshake carries far from its limit. In bytes.
const maxSecret = 16 << 10

// parseMechanisms reads a comma-separated list.
func parseMechanisms(value string) (list []string, err error) {
	for name := range strings.SplitSeq(value, ",") {
		name = strings.ToUpper(strings.TrimSpace(name))
		if !slices.Contains(strongest, name) {
			return nil, errors.New("mechanisms are separated by commas, and are " + strings.Join(strongest, ", ")) // without the value, which may be anything
		}
		list = append(list, name)
	}
	return list, nil
}

// settings are the options of one endpoint.
type settings struct {
	endpoint  vtx.Endpoint
	tls       bool
	only      []string // nil: whatever can be
	cleartext bool
}

// readSettings reads options that have been checked, and refuses what cannot be together with them.
func readSettings(cfg *vtx.Config, tls bool) (settings, error) {
	s := settings{endpoint: cfg.Endpoint, tls: tls, cleartext: cfg.Options.Named[optCleartext] == "yes"}
	if list, given := cfg.Options.Named[optMechanisms]; given {
		s.only, _ = parseMechanisms(list)
	}
	if cfg.Options.Security.Mechanism == vtx.MechanismCurve {
		return s, fmt.Errorf("endpoint %s: the socket asks for CURVE, and SASL takes its place: %w", cfg.Endpoint, vtx.ErrNotSupported)
	}
	return s, nil
}

// named says whether the application itself has named a mechanism.
func (s *settings) named(mechanism string) bool { return slices.Contains(s.only, mechanism) }

// refuse names the endpoint in an error that makes the bind or connect fail.
func (s *settings) refuse(err error) error {
	if errors.As(err, new(syscall.Errno)) {
		return fmt.Errorf("endpoint %s: %w", s.endpoint, err)
	}
	return fmt.Errorf("endpoint %s: %w: %w", s.endpoint, err, vtx.ErrInvalid)
}
