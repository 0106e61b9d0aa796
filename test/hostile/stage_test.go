package hostile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// part is a socket of the victim's, and how its legitimate peers use it.
type part struct {
	typ  vtx.SocketType
	role string
	// peer is what a legitimate peer is; with crowd there may be several of them.
	peer     vtx.SocketType
	peerRole string
	crowd    bool
	// attacker is the socket type that an attacker says it has.
	attacker vtx.SocketType
	// peerOptions are a legitimate peer's in addition.
	peerOptions []string
}

// parts are all that can be bound. Where messages are shared out among peers, attackers would take their share from the
// legitimate ones, so that there are none.
var parts = []part{
	{vtx.Router, "echo", vtx.Dealer, "ask", true, vtx.Dealer, nil},
	{vtx.Rep, "echo", vtx.Req, "ask", true, vtx.Req, asksAgain},
	{vtx.Pull, "sink", vtx.Push, "source", true, vtx.Push, nil},
	{vtx.XPub, "source", vtx.Sub, "sink", true, vtx.Sub, nil},
	{vtx.Pub, "source", vtx.XSub, "sink", true, vtx.XSub, nil},
	{vtx.Sub, "sink", vtx.Pub, "source", true, vtx.Pub, nil},
	{vtx.XSub, "sink", vtx.XPub, "source", true, vtx.XPub, nil},
	{vtx.Pair, "echo", vtx.Pair, "ask", false, vtx.Pair, nil},
	{vtx.Dealer, "sink", vtx.Dealer, "source", true, vtx.Router, nil},
	{vtx.Push, "source", vtx.TypeUnknown, "", false, vtx.Pull, nil},
	{vtx.Req, "mute", vtx.TypeUnknown, "", false, vtx.Rep, nil},
}

// asksAgain has a REQ repeat a question after a second. A request without a delimiter makes libzmq's own REP lose one of
// somebody else's, with libzmq's transports too (see -reference).
var asksAgain = []string{
	fmt.Sprintf("int %d 1", 52 /* ZMQ_REQ_CORRELATE */), fmt.Sprintf("int %d 1", 53 /* ZMQ_REQ_RELAXED */), "retry 1000",
}

// stage is a victim with legitimate peers, in three processes: one that uses VTX and, where the transport allows it, one
// that is libzmq alone.
type stage struct {
	t      testing.TB
	x      *transport
	k      *keys
	door   *door // nil: the transport has none
	victim *program
	peers  []*program
	at     map[vtx.SocketType]string // the victim's endpoints
	begun  state                     // of the victim's, when all was ready
	last   *inputs
}

const often = 2 // ms between two messages of a legitimate peer

// newStage makes one of some parts, behind a door if the transport has some. setup are lines for the victim before it binds.
func newStage(t testing.TB, x *transport, d *door, use []part, setup ...string) *stage {
	t.Helper()
	return newStageAround(start(t, "the victim"), x, d, use, setup...)
}

// newStageAround has a victim already.
func newStageAround(victim *program, x *transport, d *door, use []part, setup ...string) *stage {
	t := victim.t
	t.Helper()
	s := &stage{t: t, x: x, k: newKeys(t), door: d, at: map[vtx.SocketType]string{}, last: &inputs{}, victim: victim}
	s.bind(d, use, setup...)
	s.peers = append(s.peers, start(t, "a VTX peer"))
	if x.stock {
		s.peers = append(s.peers, start(t, "a libzmq peer"))
	}
	for _, u := range use {
		for i, p := range s.peers {
			if u.peerRole != "" && (i == 0 || u.crowd) {
				s.befriend(p, d, u, i == 1, fmt.Sprintf("%v-%d", u.typ, i))
			}
		}
	}
	s.served()
	s.begun = s.victim.state()
	return s
}

// options are those of the transport and of the door.
func (s *stage) options(d *door, victim bool) []string {
	switch {
	case d == nil && victim:
		return s.x.victim(s.k)
	case d == nil:
		return s.x.peer(s.k)
	case victim:
		return append(s.x.victim(s.k), d.victim(s.k)...)
	}
	return append(s.x.peer(s.k), d.peer(s.k)...)
}

// bind has the victim bind its sockets.
func (s *stage) bind(d *door, use []part, setup ...string) {
	s.t.Helper()
	s.victim.do("zap -")
	bind := "bind "
	if *reference && s.x.stock {
		bind = "listen "
	}
	s.victim.do(setup...)
	for _, u := range use {
		name := u.typ.String()
		s.victim.socket(name, u.typ, u.role, s.options(d, true)...)
		s.tune(s.victim, name, u.typ, u.role)
		s.at[u.typ] = s.victim.do(bind + name + " " + s.x.endpoint(s.t))
	}
}

// tune sets the pace, and high-water marks that a busy machine does not reach: a publisher drops.
func (s *stage) tune(p *program, name string, typ vtx.SocketType, role string) {
	s.t.Helper()
	p.do(fmt.Sprintf("int %s %d 100000", name, zmq.SndHWM), fmt.Sprintf("int %s %d 100000", name, zmq.RcvHWM))
	if role == "source" || role == "ask" {
		p.do(fmt.Sprintf("pace %s 0 %d 0", name, often))
	}
	if typ == vtx.Sub {
		p.do(fmt.Sprintf("bytes %s %d ", name, zmq.Subscribe))
	}
	if typ == vtx.XSub { // it subscribes by a message
		p.do("subscribe " + name)
	}
}

// befriend connects a legitimate peer and watches it.
func (s *stage) befriend(p *program, d *door, u part, native bool, name string) {
	s.t.Helper()
	options := append(s.options(d, false), u.peerOptions...)
	connect, means := "connect ", "vtx"
	if native {
		connect, means = "native ", "native"
		options = slices.DeleteFunc(options, func(o string) bool { return strings.HasPrefix(o, "option ") })
	}
	p.socket(name, u.peer, u.peerRole, options...)
	s.tune(p, name, u.peer, u.peerRole)
	if !s.x.stream && u.peerRole == "ask" { // what is lost is asked again
		p.do("retry " + name + " 300")
	}
	p.do(connect + name + " " + s.at[u.typ])
	s.watch(p, name, means)
}

// watch counts what a legitimate peer's monitor tells of connections that end. A datagram's peering may end and begin again.
func (s *stage) watch(p *program, name, means string) {
	s.t.Helper()
	if s.x.stream {
		p.do("monitor " + name + " " + name + "-monitor " + means)
	}
}

// progress is how far the legitimate conversations are, by socket.
func (s *stage) progress() state {
	s.t.Helper()
	all := state{}
	for _, p := range append([]*program{s.victim}, s.peers...) {
		for name, value := range p.state() {
			socket, what, _ := strings.Cut(name, ".")
			kind, peers, _ := strings.Cut(socket, "-")
			switch {
			case what == "faults" && value > 0, what == "lost" && value > 0 && s.x.stream, what == "events" && value > 0:
				s.fail("%s: %d %s of %s", p.name, value, what, socket)
			case what == "in" && peers != "" && !strings.Contains(peers, "monitor"):
				if role := roleOfPeer(kind); role != "source" {
					all[socket] = value
				}
			case what == "in" && peers == "" && p == s.victim && s.victimHears(kind):
				all[socket] = value
			}
		}
	}
	return all
}

// named puts a socket's name into an option's line.
func named(option, name string) string {
	word, rest, _ := strings.Cut(option, " ")
	return word + " " + name + " " + rest
}

// roleOfPeer is what the legitimate peers of a part do.
func roleOfPeer(kind string) string {
	for _, u := range parts {
		if u.typ.String() == kind {
			return u.peerRole
		}
	}
	return ""
}

// victimHears: what the victim counts at this socket is what its legitimate peers have said.
func (s *stage) victimHears(kind string) bool {
	for _, u := range parts {
		if u.typ.String() == kind {
			return u.role == "sink"
		}
	}
	return false
}

// served waits until each legitimate conversation has gone on, without a fault.
func (s *stage) served() {
	s.t.Helper()
	before := s.progress()
	waiting := before
	for end := time.Now().Add(*patient); len(waiting) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.fail("a legitimate peer is not served:%v", waiting)
		}
		now := s.progress()
		waiting = state{}
		for name := range before {
			if now[name] <= before[name] {
				waiting[name] = now[name] + 1
			}
		}
	}
}

// settled waits until the victim's memory and descriptors are near what they were; 0 is what it may have more. A leak for
// each session would be far beyond it.
func (s *stage) settled(moreKB, moreFDs int) {
	s.t.Helper()
	var now state
	for end := time.Now().Add(*patient); ; time.Sleep(50 * time.Millisecond) {
		if now = s.victim.state(); now["rss"] <= s.begun["rss"]+moreKB && now["fds"] <= s.begun["fds"]+moreFDs {
			break
		}
		if time.Now().After(end) {
			s.fail("afterwards: %d kB, %d descriptors; before: %d kB, %d descriptors", now["rss"], now["fds"], s.begun["rss"], s.begun["fds"])
		}
	}
	s.t.Logf("%s: %d kB and %d descriptors, %d and %d before", s.x.name, now["rss"], now["fds"], s.begun["rss"], s.begun["fds"])
}

// fail ends the test with all that is needed to see the failure again.
func (s *stage) fail(format string, args ...any) {
	s.t.Helper()
	what, err := s.victim.ask("state")
	s.t.Fatalf("%s\nthe victim: %v %v\nagain with: -seed %d -share %g\nlast inputs:\n%v\nthe victim said:\n%s", fmt.Sprintf(format, args...), parseState(what), err, *seed, *share, s.last, s.victim.said)
}
