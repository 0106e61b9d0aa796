package hostile

import (
	"syscall"
	"testing"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

const stops = 1000 // of either end, for each transport

// Either end is stopped and goes on, again and again, under as many messages as there can be in both directions: none is
// lost, doubled or out of order.
func TestStopAndGo(t *testing.T) {
	each(t, streams, func(t *testing.T, x *transport) {
		s := newStage(t, x, firstDoor(x), nil)
		d := firstDoor(x)
		far := s.peers[0]
		for _, u := range []part{{typ: vtx.Pull, role: "sink", peer: vtx.Push, peerRole: "source"}, {typ: vtx.Push, role: "source", peer: vtx.Pull, peerRole: "sink"}} {
			here, there := u.typ.String(), u.typ.String()+"-0"
			s.victim.socket(here, u.typ, u.role, s.options(d, true)...)
			at := s.victim.do("bind " + here + " " + x.endpoint(t))
			far.socket(there, u.peer, u.peerRole, s.options(d, false)...)
			far.do("monitor "+there+" "+there+"-monitor vtx", "connect "+there+" "+at)
		}
		random := chance(t, 0)
		for range max(20, portion(stops)) {
			p := []*program{s.victim, far}[random.IntN(2)]
			p.cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond)
			p.cmd.Process.Signal(syscall.SIGCONT)
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		}
		s.arrived(s.enough(s.victim, "PUSH") + s.enough(far, "PULL-0"))
	})
}

// enough has a source end soon, and returns how many messages it will have said.
func (s *stage) enough(p *program, name string) int {
	s.t.Helper()
	p.do("pace " + name + " 1 0 100")
	return p.state()[name+".number"]
}

// arrived waits until n messages of both directions are there.
func (s *stage) arrived(n int) {
	s.t.Helper()
	s.t.Logf("%s: %d messages", s.x.name, n)
	last := -1
	for end := time.Now().Add(*patient); ; time.Sleep(10 * time.Millisecond) {
		here, there := s.victim.state(), s.peers[0].state()
		s.progress() // fails where something is wrong
		got := here["PULL.in"] + there["PUSH-0.in"]
		if got == n {
			return
		}
		if got != last {
			last, end = got, time.Now().Add(*patient)
		}
		if time.Now().After(end) {
			s.fail("%d and %d messages have arrived, which should be %d", here["PULL.in"], there["PUSH-0.in"], n)
		}
	}
}
