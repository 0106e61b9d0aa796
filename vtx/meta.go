package vtx

import (
	"fmt"
	"strconv"
	"strings"
	"unsafe"
)

// Meta answers vtx_getmeta. Names:
//
//	endpoint      the endpoint last bound or connected, with the port that was chosen
//	sender        the address of the peer, for a socket that has exactly one
//	sender:ID     the address of the peer that a ROUTER knows as ID
//	user          who the peer is for the application's ZAP handler, for a socket that has exactly one
//	user:ID       the same of the peer that a ROUTER knows as ID
//	property:NAME       a property that the peer has told of itself ("X-Name", "Resource"), for a socket that has exactly one
//	property:NAME:ID    the same of the peer that a ROUTER knows as ID
//	SCHEME.FACT         what the transport has established of the peer ("tls.subject"), for a socket that has exactly one
//	SCHEME.FACT:ID      the same of the peer that a ROUTER knows as ID
//	peers         the number of live peerings
//	stats         counters as a JSON object, see Stats; with a nil socket the manager's sum
//
// Other names, and a sender that the engine is not told, are for drivers that are Tellers.
//
// Errors: ErrInvalid for an unknown name, ErrNotFound if there is nothing to tell, ErrNotSupported where
// the engine cannot know: it does not see which peer's message the application read last.
func (m *Manager) Meta(socket unsafe.Pointer, name string) (value string, err error) {
	if socket == nil && name == "stats" {
		return m.totals().json(), nil
	}
	err = m.with(socket, func(s *Socket) error {
		value, err = s.meta(name)
		return err
	})
	return value, err
}

// totals sums the sockets that are and those that were.
func (m *Manager) totals() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	total := new(stats).snapshot()
	total.add(m.past)
	for _, s := range m.sockets {
		total.add(s.stats.snapshot())
	}
	for s := range m.stale {
		total.add(s.stats.snapshot())
	}
	return total
}

func (s *Socket) meta(name string) (string, error) {
	switch name {
	case "endpoint":
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.endpoint == "" {
			return "", fmt.Errorf("endpoint: the socket is neither bound nor connected: %w", ErrNotFound)
		}
		return s.endpoint, nil
	case "peers":
		return strconv.FormatInt(s.stats.peerings.Load(), 10), nil
	case "stats":
		return s.stats.snapshot().json(), nil
	}
	fact, id, byID := strings.Cut(name, ":")
	property := ""
	if fact == "property" {
		property, id, byID = strings.Cut(id, ":")
	}
	tell, known := map[string]func(Peer) (string, bool){
		"sender":   func(p Peer) (string, bool) { return p.Address, true },
		"user":     func(p Peer) (string, bool) { return p.User, p.User != "" },
		"property": func(p Peer) (string, bool) { return p.property(property) },
	}[fact]
	if scheme, _, dotted := strings.Cut(fact, "."); !known && dotted && driverFor(scheme) != nil {
		tell, known = func(p Peer) (string, bool) { value, ok := p.Facts[fact]; return value, ok }, true
	}
	if !known {
		if value, err := s.ask(name); err != nil || value != "" {
			return value, err
		}
	}
	if !known || fact == "property" && property == "" {
		return "", fmt.Errorf("metadata %s: unknown name: %w", quoted(name), ErrInvalid)
	}
	peer, err := s.peer(name, id, byID)
	if err != nil {
		return "", err
	}
	value, told := tell(peer)
	if value == "" && fact == "sender" { // a crowd's link does not know
		if value, err = s.ask(name); err != nil {
			return "", err
		}
		told = value != ""
	}
	if !told {
		return "", fmt.Errorf("%s: the peer has none: %w", quoted(name), ErrNotFound)
	}
	return value, nil
}

// ask puts a name to the drivers of the socket's endpoints that may know it; "": none does.
func (s *Socket) ask(name string) (string, error) {
	var endpoints []any
	s.mu.Lock()
	for _, b := range s.bindings {
		endpoints = append(endpoints, b.listener)
	}
	for p := range s.peerings {
		endpoints = append(endpoints, p.dialer)
	}
	s.mu.Unlock()
	for _, e := range endpoints {
		if t, ok := e.(Teller); ok {
			if value, err := t.Tell(name); err != nil || value != "" {
				return value, err
			}
		}
	}
	return "", nil
}

// peer finds the one live peer, or the one that a ROUTER knows as id.
func (s *Socket) peer(name, id string, byID bool) (Peer, error) {
	if byID && s.typ != Router {
		return Peer{}, fmt.Errorf("%s: only a ROUTER knows its peers by identity: %w", quoted(name), ErrNotSupported)
	}
	var found *liveLink
	s.mu.Lock()
	defer s.mu.Unlock()
	candidates := s.peerings
	if byID {
		candidates = s.called[id]
	}
	for p := range candidates {
		l := p.live.Load()
		if l != nil && found != nil { // no need to look at thousands of others
			return Peer{}, fmt.Errorf("%s: the socket has several such peers, and VTX does not see whose message was read last: %w", quoted(name), ErrNotSupported)
		}
		if l != nil {
			found = l
		}
	}
	if found == nil {
		return Peer{}, fmt.Errorf("%s: there is no such peer now: %w", quoted(name), ErrNotFound)
	}
	return found.peer, nil
}

// property finds what the peer has told of itself.
func (p Peer) property(name string) (string, bool) {
	value, ok := p.Properties.Get(name)
	return string(value), ok
}
