package hostile

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// throws is how many datagrams there are in all of the attack.
const throws = 5_000_000

// Datagrams that are wrong in any way, at each socket type, also with the tokens of peerings that the attackers have.
func TestMutatedDatagrams(t *testing.T) {
	each(t, datagrams, func(t *testing.T, x *transport) {
		s := newStage(t, x, nil, parts, "option - udp.timeout 2000")
		n, began := portion(throws), time.Now()
		var all sync.WaitGroup
		for range 10 { // in pieces, so that a failure is seen near its cause
			for thrower := range 2 {
				all.Go(func() { s.throw(thrower, n/20) })
			}
			all.Wait()
			s.served()
		}
		t.Logf("%d datagrams, %.0f a second", n, float64(n)/time.Since(began).Seconds())
		s.settled(64<<10, 100)
	})
}

// thrower is an attacker's socket, and what it knows.
type thrower struct {
	*net.UDPConn
	chance *rand.Rand
	at     []netip.AddrPort
	types  []vtx.SocketType
	known  map[netip.AddrPort]nom.Token // of peerings that it has
	number uint32
}

const batch = 64

// throw sends n datagrams, from several sockets by turns.
func (s *stage) throw(part, n int) {
	random := chance(s.t, part)
	for left := n; left > 0; {
		w, err := s.newThrower(random)
		if err != nil {
			s.t.Error(err)
			return
		}
		conn := ipv4.NewPacketConn(w)
		for range min(60, left/batch+1) {
			at := random.IntN(len(w.at))
			messages := make([]ipv4.Message, min(batch, left))
			for i := range messages {
				messages[i] = ipv4.Message{Buffers: [][]byte{w.datagram(w.at[at])}, Addr: net.UDPAddrFromAddrPort(w.at[at])}
			}
			s.last.add(fmt.Sprintf("to the %v:", w.types[at]), messages[0].Buffers[0])
			for sent := 0; sent < len(messages); {
				k, err := conn.WriteBatch(messages[sent:], 0)
				if err != nil {
					k = 1 // one that nobody can send
				}
				sent += k
			}
			left -= len(messages)
		}
		w.Close()
	}
}

// newThrower opens a socket at some address of loopback, and a peering with each of the victim's sockets that takes it.
func (s *stage) newThrower(random *rand.Rand) (*thrower, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback(random.Uint32N(500))})
	if err != nil {
		return nil, err
	}
	w := &thrower{UDPConn: conn, chance: random, known: map[netip.AddrPort]nom.Token{}}
	for _, u := range parts {
		endpoint, bound := s.at[u.typ]
		if !bound {
			continue
		}
		at := netip.MustParseAddrPort(address(endpoint))
		w.at, w.types = append(w.at, at), append(w.types, u.typ)
		if token := w.greet(at, u.attacker); token != 0 {
			w.known[at] = token
		}
	}
	return w, nil
}

// greet makes a peering, if it is let; otherwise the token is 0.
func (w *thrower) greet(at netip.AddrPort, typ vtx.SocketType) nom.Token {
	hello := nom.Hello{Kind: nom.Call, Features: nom.Subscriptions, Token: nom.Token(w.chance.Uint64() | 1), MaxMessage: 1 << 20, Type: byte(typ)}
	buf := make([]byte, 1500)
	for range 2 {
		w.WriteToUDPAddrPort(w.ohai(at, &hello), at)
		w.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		n, _, err := w.ReadFromUDPAddrPort(buf)
		if err != nil {
			return 0
		}
		h, body, err := nom.ParseHeader(buf[:n])
		if err != nil || h.Command != nom.OHAIOK {
			return 0
		}
		answer, err := nom.ParseHello(nom.ParseGreeting(body).Properties)
		switch {
		case err == nil && answer.Kind == nom.Welcome:
			return answer.Token
		case err == nil && answer.Kind == nom.Cookie:
			hello.Cookie = answer.Cookie
		default:
			return 0
		}
	}
	return 0
}

func (w *thrower) ohai(at netip.AddrPort, hello *nom.Hello) []byte {
	b := nom.AppendHeader(nil, nom.Header{Command: nom.OHAI})
	g := nom.Greeting{Address: []byte(at.String())}
	if hello != nil {
		g.Properties = nom.AppendHello(nil, hello)
	}
	return nom.AppendGreeting(b, g)
}

// datagram makes one that is good, and then mostly changes it.
func (w *thrower) datagram(at netip.AddrPort) []byte {
	var b []byte
	if w.chance.IntN(3) == 0 {
		b = w.plain(at)
	} else {
		b = w.extended(at)
	}
	for range w.chance.IntN(4) {
		b = mutate(w.chance, b)
	}
	return b[:min(len(b), 1400)]
}

func (w *thrower) plain(at netip.AddrPort) []byte {
	h := nom.Header{Command: nom.Command(w.chance.IntN(6)), Sequence: byte(w.chance.IntN(16)), Resend: w.chance.IntN(4) == 0}
	b := nom.AppendHeader(nil, h)
	switch h.Command {
	case nom.OHAI, nom.OHAIOK:
		hello := nom.Hello{Kind: nom.Kind(w.chance.IntN(6)), Token: nom.Token(w.chance.Uint64()), Type: byte(w.chance.IntN(14)), RoutingID: randomBytes(w.chance, w.chance.IntN(30))}
		if w.chance.IntN(2) == 0 {
			return append(b, w.ohai(at, &hello)[nom.HeaderSize:]...)
		}
		return append(b, at.String()...)
	case nom.NOM:
		for range 1 + w.chance.IntN(3) {
			b = nom.AppendFrame(b, randomBytes(w.chance, w.chance.IntN(100)))
		}
	}
	return b
}

func (w *thrower) extended(at netip.AddrPort) []byte {
	w.number += uint32(w.chance.IntN(3))
	h := nom.Header{
		Command: nom.Command(3 + w.chance.IntN(7)), Resend: w.chance.IntN(4) == 0, Extended: true,
		Token: w.known[at], Number: w.number,
	}
	switch w.chance.IntN(40) {
	case 0:
		h.Command = nom.ROTFL // not often: it ends what the others are for
	case 1:
		h.Token = nom.Token(w.chance.Uint64())
	case 2:
		h.Number = uint32(odd[w.chance.IntN(len(odd))])
	}
	if h.Command == nom.GONE && w.chance.IntN(10) > 0 {
		h.Command = nom.NOM
	}
	b := nom.AppendHeader(nil, h)
	switch h.Command {
	case nom.HUGZ, nom.HUGZOK:
		b = append(b, randomBytes(w.chance, 8+w.chance.IntN(40))...)
	case nom.NOM:
		b = append(b, talk(w.chance, false)...)
	case nom.PART:
		piece := randomBytes(w.chance, 1+w.chance.IntN(300))
		total := uint32(len(piece)) + uint32(w.chance.IntN(3000))
		b = nom.AppendPart(b, nom.Part{Offset: uint32(w.chance.IntN(int(total))), Total: total, Bytes: piece})
	case nom.SUBSCRIBE:
		b = appendFrame(b, 0, append([]byte{byte(w.chance.IntN(3))}, randomBytes(w.chance, w.chance.IntN(20))...))
	}
	return b
}
