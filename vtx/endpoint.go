package vtx

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/libvtx/libvtx/internal/printable"
)

// Endpoint is a parsed "scheme://address[?name=value&…]".
type Endpoint struct {
	Scheme  string
	Address string            // what stands between :// and ?, as the application wrote it
	Params  map[string]string // from the query, by full option name
}

// maxEndpoint bounds an endpoint's length, in bytes; libzmq's own limit for tcp is 256.
const maxEndpoint = 1024

// String gives the endpoint back without its query.
func (e Endpoint) String() string { return e.Scheme + "://" + e.Address }

// ParseEndpoint splits an endpoint. The address is the driver's to read. Errors: ErrInvalid.
func ParseEndpoint(s string) (Endpoint, error) {
	bad := func(why string) (Endpoint, error) {
		return Endpoint{}, fmt.Errorf("endpoint %s: %s: %w", shown(s), why, ErrInvalid)
	}
	if len(s) > maxEndpoint {
		return bad(fmt.Sprintf("%d bytes, at most %d are allowed", len(s), maxEndpoint))
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return bad(fmt.Sprintf("byte %#02x at position %d is not allowed", s[i], i))
		}
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return bad("no :// in it")
	}
	if !validScheme(scheme) {
		return bad("the scheme must be lower-case letters, digits, +, - and .")
	}
	address, query, _ := strings.Cut(rest, "?")
	if userInfo(address) != "" {
		return bad("a user and a password must not stand in it")
	}
	e := Endpoint{Scheme: scheme, Address: address}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(value)
		if !found || name == "" || err != nil {
			return bad(fmt.Sprintf("parameter %s is not name=value", optionName(name)))
		}
		if e.Params == nil {
			e.Params = make(map[string]string)
		}
		e.Params[name] = value
	}
	return e, nil
}

// HostPort reads the address as host:port. Host may be empty, *, a name, an interface, an IPv4
// address or an IPv6 one in brackets, which are taken off. Port * is 0. Errors: ErrInvalid.
func (e Endpoint) HostPort() (host string, port int, err error) {
	bad := func(why string) (string, int, error) {
		return "", 0, fmt.Errorf("endpoint %s: %s: %w", quoted(e.String()), why, ErrInvalid)
	}
	host, service, err := net.SplitHostPort(e.Address)
	if err != nil {
		return bad("the address must be host:port")
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return bad("the host has a character that is not allowed")
	}
	if service == "*" {
		return host, 0, nil
	}
	n, err := strconv.ParseUint(service, 10, 32)
	if err != nil || service[0] == '+' {
		return bad(fmt.Sprintf("port %q is not a number", service))
	}
	if n > 65535 {
		return bad(fmt.Sprintf("port %d is out of range, the highest is 65535", n))
	}
	return host, int(n), nil
}

func validScheme(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// shown shows an endpoint in an error, without its parameters: somebody may have put a secret there.
func shown(endpoint string) string {
	before, _, _ := strings.Cut(endpoint, "?")
	if scheme, address, found := strings.Cut(before, "://"); found {
		before = scheme + "://" + strings.TrimPrefix(address, userInfo(address))
	}
	return quoted(before)
}

// userInfo is what stands before an address as in other URIs: "user:password@". No transport of ours has it.
func userInfo(address string) string {
	first, _, _ := strings.Cut(address, "/") // behind it is a path, which may have any name
	if at := strings.LastIndexByte(first, '@'); at > 0 && strings.Contains(first[:at], ":") {
		return first[:at+1]
	}
	return ""
}

// optionName shows what should be an option's name in an error, if it can be one.
func optionName(name string) string {
	if len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._") != "" {
		return "(not a name)"
	}
	return quoted(name)
}

// quoted shows a string from outside in an error.
func quoted(s string) string { return printable.Quote(s) }
