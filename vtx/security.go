package vtx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/libvtx/libvtx/internal/zmtp"
)

// mechanism makes one connection's end of the security that the socket demands. Whom the transport has identified is
// asked about before anybody whom ZMTP's own mechanism identifies, and in the place of NULL's nobody. user is the answer
// where the mechanism itself asks nobody.
func (cfg *Config) mechanism(ctx context.Context, conn net.Conn, id Identity, listening bool) (m zmtp.Mechanism, user string, err error) {
	s := &cfg.Options.Security
	identified := id.Credentials != nil
	ask := func(mechanism string, credentials ...[]byte) (user string, err error) {
		if identified {
			user, err = cfg.authenticate(ctx, conn, id.Mechanism, id.Credentials)
			if err != nil || mechanism == "NULL" {
				return user, err
			}
		}
		inner, err := cfg.authenticate(ctx, conn, mechanism, credentials)
		return cmp.Or(inner, user), err
	}
	if identified && s.Mechanism != MechanismNull && !s.Server {
		// A client of a mechanism asks nobody, and has no way to refuse with a word.
		if user, err = cfg.authenticate(ctx, conn, id.Mechanism, id.Credentials); err != nil {
			return nil, "", err
		}
	}
	switch {
	case s.Mechanism == MechanismNull && s.ZAPDomain == "" && !identified:
		m = zmtp.NewNull(listening, nil)
	case s.Mechanism == MechanismNull:
		m = zmtp.NewNull(listening, ask)
	case s.Mechanism == MechanismPlain && s.Server:
		m = zmtp.NewPlainServer(ask)
	case s.Mechanism == MechanismPlain:
		m = zmtp.NewPlainClient(s.PlainUsername, s.PlainPassword)
	case s.Mechanism == MechanismCurve && s.Server:
		m, err = zmtp.NewCurveServer(s.CurveSecretKey, ask)
	case s.Mechanism == MechanismCurve:
		m, err = zmtp.NewCurveClient(s.CurvePublicKey, s.CurveSecretKey, s.CurveServerKey)
	default:
		err = fmt.Errorf("security mechanism %d: %w", s.Mechanism, ErrNotSupported)
	}
	return m, user, err
}

// authenticate asks the application's ZAP handler whether the peer may come in. Where there is none, it does what
// libzmq does: PLAIN cannot be checked and is refused, nor can a bearer's token, others are let in unless ZMQ_ZAP_ENFORCE_DOMAIN is set.
// The question ends with the peer's going, or with ctx.
func (cfg *Config) authenticate(ctx context.Context, conn net.Conn, mechanism string, credentials [][]byte) (string, error) {
	s := &cfg.Options.Security
	unchecked := mechanism == "PLAIN" || mechanism == "OAUTHBEARER" // nobody but the handler can check these
	if s.ZAPEnforceDomain && s.ZAPDomain == "" && !unchecked {
		return "", nil // no domain, no question
	}
	ctx, stop := whileThere(ctx, conn, cfg.m.poller)
	defer stop()
	spare(ctx, true)
	address := host(conn)
	if ahead, ok := conn.(*readAhead); ok {
		conn = ahead.Conn
	}
	if c, ok := conn.(interface{ ZAPAddress() string }); ok {
		address = c.ZAPAddress()
	}
	user, err := cfg.m.askZAP(ctx, zapRequest{
		domain: s.ZAPDomain, address: address, identity: cfg.Options.RoutingID,
		mechanism: mechanism, credentials: credentials,
	})
	if errors.Is(err, errNoZAPHandler) {
		if !unchecked && !s.ZAPEnforceDomain {
			return "", nil
		}
		err = fmt.Errorf("%w: %w", err, syscall.EFAULT)
	}
	spare(ctx, err == nil)
	return user, err
}

// host is the peer's address without its port; "" on a transport without addresses.
func host(conn net.Conn) string {
	h, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return h
}

// optMetadata are the application's own properties of its connections, as ZMQ_METADATA is natively; libzmq does not
// let the engine read that one back.
const optMetadata = "zmtp.metadata"

// metadata are the properties that the peer is told.
func (cfg *Config) metadata() zmtp.Metadata {
	list, err := parseMetadata(cfg.Options.Named[optMetadata])
	if err != nil {
		panic(err) // it was checked when it was set
	}
	return list
}

// parseMetadata reads "X-Name:value;X-Other:value". The names begin with X-, as ZMQ_METADATA demands.
func parseMetadata(text string) (zmtp.Metadata, error) {
	var list zmtp.Metadata
	for pair := range strings.SplitSeq(text, ";") {
		if pair == "" {
			continue
		}
		name, value, found := strings.Cut(pair, ":")
		if !found || !strings.HasPrefix(name, "X-") || len(name) < 3 || len(name) > 255 {
			return nil, errors.New("properties are X-Name:value, separated by semicolons")
		}
		for i := range len(name) {
			if !strings.Contains("abcdefghijklmnopqrstuvwxyz0123456789-_.+", strings.ToLower(name[i:i+1])) {
				return nil, fmt.Errorf("property %s: a name is made of letters, digits, - _ . and +", quoted(name))
			}
		}
		list = append(list, zmtp.Property{Name: name, Value: []byte(value)})
	}
	return list, nil
}
