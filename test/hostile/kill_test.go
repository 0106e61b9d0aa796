package hostile

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

const (
	kills     = 1000
	hostKills = 100
)

// Peers' processes that are killed at any moment, while they come in and while they talk: others notice nothing.
func TestKilledPeers(t *testing.T) {
	each(t, func(x *transport) bool { return true }, func(t *testing.T, x *transport) {
		s := newStage(t, x, firstDoor(x), parts, missedSoon(x)...)
		n := max(4, portion(kills)/len(transports))
		s.killWhileServed(0, n/5)
		s.begun = s.victim.state() // with what queues and heaps keep for the next time
		s.killWhileServed(2, n-n/5)
		t.Logf("%d killed", n)
		s.settled(48<<10, 100)
	})
}

// killWhileServed kills n peers, two at a time, and looks after the legitimate ones meanwhile.
func (s *stage) killWhileServed(hand, n int) {
	s.t.Helper()
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() { s.killPeers(chance(s.t, hand+i), hand+i, (n+1)/2) })
	}
	killed := make(chan struct{})
	go func() { all.Wait(); close(killed) }()
	for busy := true; busy; {
		s.served()
		select {
		case <-killed:
			busy = false
		case <-time.After(100 * time.Millisecond):
		}
	}
	s.served()
}

// missedSoon has a peer of datagrams missed soon.
func missedSoon(x *transport) []string {
	if x.stream {
		return nil
	}
	return []string{"option - udp.timeout 2000"}
}

func firstDoor(x *transport) *door {
	if len(x.doors) == 0 {
		return nil
	}
	return &x.doors[0]
}

// killPeers starts peers at all of the victim's sockets and kills them, soon or a bit later.
func (s *stage) killPeers(random *rand.Rand, hand, n int) {
	for i := range n {
		p := start(s.t, fmt.Sprintf("peer %d-%d", hand, i))
		for _, u := range parts {
			if !u.crowd {
				continue
			}
			name := fmt.Sprintf("killed-%v-%d-%d", u.typ, hand, i)
			lines := []string{fmt.Sprintf("socket %s %d %s", name, u.peer, u.peerRole)}
			for _, o := range append(s.options(firstDoor(s.x), false), u.peerOptions...) {
				lines = append(lines, named(o, name))
			}
			pause := 0
			if u.peer == vtx.Pub || u.peer == vtx.XPub { // which would drop what is too much
				pause = 2
				lines = append(lines, named(intOption(zmq.SndHWM, 100_000), name))
			}
			lines = append(lines, fmt.Sprintf("pace %s 0 %d %d", name, pause, random.IntN(2000)))
			if u.peer == vtx.Sub {
				lines = append(lines, named(bytesOption(zmq.Subscribe, nil), name))
			}
			lines = append(lines, "connect "+name+" "+s.at[u.typ])
			for _, line := range lines {
				if _, err := p.ask(line); err != nil {
					s.t.Error(err)
					return
				}
			}
			if random.IntN(12) == 0 {
				break // while others are still to come
			}
		}
		time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
		s.last.add("killed", []byte(p.name))
		p.kill()
	}
}

// The victim itself is killed and started again at the same place: its peers find it.
func TestKilledHost(t *testing.T) {
	each(t, func(x *transport) bool { return true }, func(t *testing.T, x *transport) {
		use := []part{parts[0]}
		s := newStage(t, x, firstDoor(x), use, missedSoon(x)...)
		s.mourn()
		at := s.at[vtx.Router]
		random := chance(t, 0)
		for range max(2, portion(hostKills)/len(transports)) {
			time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
			s.victim.kill()
			s.victim = start(t, "the victim")
			s.rebind(at, use[0])
			s.found()
		}
	})
}

// mourn prepares the peers for the loss of the victim: they ask again, soon.
func (s *stage) mourn() {
	s.t.Helper()
	for i, p := range s.peers {
		p.do(fmt.Sprintf("retry ROUTER-%d 300", i))
	}
}

// rebind binds a new victim where the old one was. What has been killed may keep the address for a moment.
func (s *stage) rebind(at string, u part) {
	s.t.Helper()
	s.victim.do(missedSoon(s.x)...)
	name := u.typ.String()
	s.victim.socket(name, u.typ, u.role, s.options(firstDoor(s.x), true)...)
	s.tune(s.victim, name, u.typ, u.role)
	for end := time.Now().Add(*patient); ; time.Sleep(time.Millisecond) {
		_, err := s.victim.ask("bind " + name + " " + at)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.fail("%v", err)
		}
	}
}

// found waits until each peer is answered again, and by what it asked.
func (s *stage) found() {
	s.t.Helper()
	for i, p := range s.peers {
		name := fmt.Sprintf("ROUTER-%d", i)
		before := p.state()[name+".in"]
		for end := time.Now().Add(*patient); p.state()[name+".in"] <= before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				s.fail("%s does not find the victim again", p.name)
			}
		}
		if faults := p.state()[name+".faults"]; faults > 0 {
			s.fail("%s: %d wrong answers", p.name, faults)
		}
	}
}
