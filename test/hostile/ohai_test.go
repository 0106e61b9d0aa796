package hostile

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

// callers is how many addresses call as plain peers and answer nothing.
const callers = 1200

// Plain calls from many addresses, whose owners have not called: those get little, and everybody else comes in as before,
// by any transport. As few as these need all be there, so that a hundredth of the attack is as much.
func TestForgedCalls(t *testing.T) {
	each(t, datagrams, func(t *testing.T, x *transport) {
		// In one context with tcp, whose peers take of the same sockets
		s := newStage(t, x, nil, []part{parts[0], parts[1], parts[4]})
		s.victim.socket("beside", vtx.Router, "echo")
		tcp := s.victim.do("bind beside tcp://127.0.0.1:*")
		s.victim.do("pace PUB 0 1 100")
		f := s.forge(max(callers, portion(3*callers)))
		s.newcomers(tcp)
		time.Sleep(time.Second) // in which the publisher would send them much
		s.newcomers(tcp)
		f.stop()
		s.served()
		if worst, sent := f.worst(); worst > 3*sent {
			t.Errorf("an address that sent %d bytes has got %d", sent, worst)
		}
	})
}

// forgery is many sockets that call again and again, and count what they get.
type forgery struct {
	sockets   []*net.UDPConn
	sent, got []atomic.Int64
	stop      func()
}

func (s *stage) forge(n int) *forgery {
	s.t.Helper()
	f := &forgery{sockets: make([]*net.UDPConn, n), sent: make([]atomic.Int64, n), got: make([]atomic.Int64, n)}
	targets := []netip.AddrPort{}
	for _, typ := range []vtx.SocketType{vtx.Router, vtx.Rep, vtx.Pub} {
		targets = append(targets, netip.MustParseAddrPort(address(s.at[typ])))
	}
	var readers sync.WaitGroup
	for i := range f.sockets {
		var err error
		if f.sockets[i], err = net.ListenUDP("udp4", &net.UDPAddr{IP: loopback(uint32(i / 4))}); err != nil {
			s.t.Fatal(err)
		}
		f.sockets[i].SetReadBuffer(256 << 10)
		readers.Go(func() {
			buf := make([]byte, 65536)
			for {
				n, err := f.sockets[i].Read(buf)
				if err != nil {
					return
				}
				f.got[i].Add(int64(n))
			}
		})
	}
	call := func() {
		for i, socket := range f.sockets {
			at := targets[i%len(targets)]
			n, _ := socket.WriteToUDPAddrPort((&thrower{}).ohai(at, nil), at)
			f.sent[i].Add(int64(n))
		}
	}
	call()
	again := during(300*time.Millisecond, call)
	f.stop = func() {
		again()
		time.Sleep(200 * time.Millisecond) // what is on its way
		for _, socket := range f.sockets {
			socket.Close()
		}
		readers.Wait()
	}
	return f
}

// worst is who got the most for what it sent.
func (f *forgery) worst() (got, sent int64) {
	sent = 1
	for i := range f.sockets {
		if g, s := f.got[i].Load(), f.sent[i].Load(); s > 0 && g*sent > got*s {
			got, sent = g, s
		}
	}
	return got, sent
}

var newcomerNumber atomic.Int64

// newcomers come in over tcp and over datagrams, as peers of today and as plain ones.
func (s *stage) newcomers(tcp string) {
	s.t.Helper()
	for i, how := range []struct{ endpoint, plain string }{{tcp, ""}, {s.at[vtx.Router], "1"}, {s.at[vtx.Router], "only"}} {
		name := fmt.Sprintf("ROUTER-new%d", newcomerNumber.Add(1))
		p := s.peers[0]
		p.socket(name, vtx.Dealer, "ask")
		s.tune(p, name, vtx.Dealer, "ask")
		if how.plain != "" {
			p.do("option " + name + " udp.plain " + how.plain)
		}
		p.do("retry "+name+" 300", "connect "+name+" "+how.endpoint)
		began := time.Now()
		s.served()
		s.t.Logf("newcomer %d: served after %v", i, time.Since(began).Round(time.Millisecond))
	}
}
