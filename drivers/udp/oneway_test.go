package udp

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

func TestPublisherSpeaksTheCapturedBytes(t *testing.T) {
	for _, typ := range []vtx.SocketType{vtx.Pub, vtx.XPub, vtx.Push} {
		b := bind(t, typ)
		c, l := joined(t, b, newSink())
		send(t, l, "NOM 1234")
		c.expect("10 50 08 4e 4f 4d 20 31 32 33 34")
		for i := 1; i < 40; i++ {
			send(t, l, "AB|AB|AB")
			c.expect(fmt.Sprintf("10 5%x 02 41 42 02 41 42 02 41 42", i%16))
		}
		c.tell(b.to, "10 50 01 41") // nobody to hear it
		b.rep.awaitDrops(t, vtx.DropStray, 1)
	}
}

func TestNumbersCountPerPeering(t *testing.T) {
	b := bind(t, vtx.Pub)
	c1, l1 := joined(t, b, newSink())
	c2, l2 := joined(t, b, newSink())
	send(t, l1, "a", "b", "c")
	send(t, l2, "a")
	c1.expect("10 50 01 61")
	c1.expect("10 51 01 62")
	c1.expect("10 52 01 63")
	c2.expect("10 50 01 61")
}

// Closing a PUB socket killed the original's driver.
func TestClosingAPublisherHurtsNobody(t *testing.T) {
	b := bind(t, vtx.Pub)
	c1, l1 := joined(t, b, newSink())
	c2, l2 := joined(t, b, newSink())
	l1.Close(nil)
	c1.expect("10 00 'closed'")
	send(t, l2, "a")
	c2.expect("10 50 01 61")
	c1.join(b, "'x:1'")
	b.accept(t, newSink())
}

func TestAPeerThatDoesNotCountIsHeardInFull(t *testing.T) {
	for _, typ := range []vtx.SocketType{vtx.Sub, vtx.XSub, vtx.Pull} {
		s := newSink()
		srv, l, client, rep := found(t, typ, s)
		for i := range 40 {
			srv.tell(client, fmt.Sprintf("10 50 02 %02x %02x", 'a'+i/16, 'a'+i%16))
		}
		s.until(t, "40 messages", func() bool { return s.count() == 40 })
		for range 5 {
			srv.tell(client, "10 50 02 7878") // equal messages are not copies here
		}
		s.until(t, "45 messages", func() bool { return s.count() == 45 })
		send(t, l, "\x01topic") // cannot travel
		rep.awaitDrops(t, vtx.DropStray, 1)
	}
}

// step is one arrival at a hearer and what is to become of it.
type step struct {
	number byte
	sum    uint64
	fresh  bool
	lost   int
}

func TestHearing(t *testing.T) {
	for name, steps := range map[string][]step{
		"a counting peer":                    {{0, 1, true, 0}, {1, 2, true, 0}, {2, 3, true, 0}},
		"its first copied, then counting":    {{0, 1, true, 0}, {0, 1, false, 0}, {1, 2, true, 0}, {0, 1, false, 0}},
		"a peer that does not count":         {{0, 1, true, 0}, {0, 2, true, 0}, {0, 2, true, 0}, {0, 2, true, 0}},
		"one that repeats itself":            {{0, 1, true, 0}, {0, 1, false, 0}, {0, 1, true, 0}, {0, 1, true, 0}},
		"copies":                             {{0, 1, true, 0}, {1, 2, true, 0}, {1, 2, false, 0}, {0, 1, false, 0}, {2, 3, true, 0}},
		"the order changed":                  {{0, 1, true, 0}, {3, 4, true, 0}, {1, 2, true, 0}, {2, 3, true, 0}, {1, 2, false, 0}, {4, 5, true, 0}},
		"the first lost":                     {{2, 3, true, 0}, {1, 2, true, 0}, {10, 11, true, 1}},
		"the first ten lost":                 {{10, 1, true, 3}, {11, 2, true, 1}},
		"the first fifteen lost":             {{15, 1, true, 8}, {0, 2, true, 1}, {15, 1, false, 0}},
		"losses are known when out of reach": {{0, 1, true, 0}, {2, 3, true, 0}, {8, 9, true, 0}, {9, 10, true, 1}, {10, 11, true, 0}, {11, 12, true, 1}},
		"a gap of twelve":                    {{0, 1, true, 0}, {1, 2, true, 0}, {2, 3, true, 0}, {3, 4, true, 0}, {4, 5, true, 0}, {5, 6, true, 0}, {6, 7, true, 0}, {2, 99, true, 4}, {3, 98, true, 1}, {2, 99, false, 0}},
		"a gap of sixteen":                   {{0, 1, true, 0}, {1, 2, true, 0}, {1, 3, true, 8}, {1, 3, false, 0}},
		"not counting, and then it does":     {{0, 1, true, 0}, {0, 2, true, 0}, {1, 3, true, 0}, {1, 3, false, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			var h hearer
			for i, s := range steps {
				if fresh, lost := h.accept(s.number, s.sum); fresh != s.fresh || lost != s.lost {
					t.Errorf("step %d, %+v: fresh %v, lost %d", i, s, fresh, lost)
				}
			}
		})
	}
}

// Through any network that overtakes by less than the window, nothing is delivered twice and
// every loss is counted once it is out of reach.
func TestHearingIsExactWithinTheWindow(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var h hearer
		delivered := map[int]bool{}
		lost := 0
		const n = 500
		arrive := func(i int) {
			fresh, l := h.accept(byte(i)&15, uint64(i)+1)
			lost += l
			if fresh && delivered[i] {
				t.Fatalf("message %d twice", i)
			}
			if !fresh && !delivered[i] {
				t.Fatalf("message %d taken for a copy", i)
			}
			delivered[i] = true
		}
		var late []int
		for i := range n {
			switch {
			case i < n-8 && r.IntN(10) == 0 && i > 0: // lost
			case i < n-8 && i > 0 && r.IntN(5) == 0:
				late = append(late, i)
				if r.IntN(2) == 0 {
					arrive(i)
				}
			default:
				arrive(i)
			}
			for len(late) > 0 && (i-late[0] >= 6 || r.IntN(3) == 0) {
				arrive(late[0])
				late = late[1:]
			}
		}
		if want := n - len(delivered); lost != want {
			t.Fatalf("%d counted as lost, %d were", lost, want)
		}
	}
}

func TestBatchesKeepTheirOrder(t *testing.T) {
	for _, typ := range [][2]vtx.SocketType{{vtx.Push, vtx.Pull}, {vtx.Pull, vtx.Push}, {vtx.Pair, vtx.Pair}} {
		b := bind(t, typ[0])
		in, out := newSink(), newSink()
		d := dialTo(t, typ[1], b.to).later(t, in)
		accepted := b.accept(t, out)
		sender, s := accepted, in
		dialled := got(t, d)
		if typ[0] == vtx.Pull {
			sender, s = dialled, out
		}
		var want []string
		for round := range 10 {
			var some []string
			for i := range 150 {
				some = append(some, fmt.Sprintf("message %d of %d", i, round))
			}
			want = append(want, some...)
			send(t, sender, some...)
			s.until(t, "a round", func() bool { return s.count() == len(want) })
		}
		s.expect(t, want...)
		s.lock.Lock()
		if s.calls > 500 {
			t.Errorf("%d calls for %d messages", s.calls, len(want))
		}
		s.lock.Unlock()
	}
}

func TestWhatFindsNoRoomIsCounted(t *testing.T) {
	s := newSink()
	s.give(3)
	srv, _, client, rep := found(t, vtx.Pull, s)
	for i := range 10 {
		srv.tell(client, fmt.Sprintf("10 5%x 01 41", i))
	}
	rep.awaitDrops(t, vtx.DropFull, 7)
	s.expect(t, "A", "A", "A")
}

func TestLossAndCopiesAreCounted(t *testing.T) {
	s := newSink()
	srv, _, client, rep := found(t, vtx.Pull, s)
	for _, wire := range []string{"10 50 01 41", "10 51 01 42", "10 51 01 42", "10 54 01 43", "10 5c 01 44"} {
		srv.tell(client, wire)
	}
	s.expect(t, "A", "B", "C", "D")
	rep.awaitDrops(t, vtx.DropDuplicate, 1)
	rep.awaitDrops(t, vtx.DropLost, 2)
}

func TestMaxMsgSize(t *testing.T) {
	cfg, r := config(t, vtx.Pull, "udp://127.0.0.1:0")
	cfg.Options.MaxMsgSize = 3
	b := bindTo(t, cfg, r)
	s := newSink()
	c, _ := joined(t, b, s)
	c.tell(b.to, "10 50 03 'abc' 03 'def'")
	c.tell(b.to, "10 51 01 'a' 04 'abcd'")
	c.tell(b.to, "10 52 01 'x'")
	r.awaitDrops(t, vtx.DropTooBig, 1)
	s.expect(t, "abc|def", "x")
}

func TestBiggerDatagramsThanOursAreTaken(t *testing.T) {
	s := newSink()
	srv, _, client, _ := found(t, vtx.Pull, s)
	var want []string
	for i, size := range []int{9000, 9001, maxPayload - 6, maxPayload - 5} {
		m := make([]byte, size)
		for j := range m {
			m[j] = byte('a' + (i+j)%26)
		}
		d := append([]byte{0x10, byte(0x50 + i), 0xfe, byte(size >> 8), byte(size)}, m...)
		if _, err := srv.WriteToUDPAddrPort(d, client); err != nil {
			t.Fatal(err)
		}
		want = append(want, string(m))
		s.until(t, "a large one", func() bool { return s.count() == i+1 })
	}
	s.expect(t, want...)
}

func TestDealersAndPairsRepeatTheNumberTheyHeard(t *testing.T) {
	for _, typ := range []vtx.SocketType{vtx.Dealer, vtx.Pair} {
		b := bind(t, typ)
		s := newSink()
		c, l := joined(t, b, s)
		send(t, l, "A|B")
		c.expect("10 50 01 41 01 42")
		c.tell(b.to, "10 57 00")
		s.expect(t, "")
		send(t, l, "A", "B")
		c.expect("10 57 01 41")
		c.expect("10 57 01 42")
	}
}
