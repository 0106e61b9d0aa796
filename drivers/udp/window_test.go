package udp

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever the order, the losses and the copies, and over the wrap of the numbers: each message is delivered at most
// once, and delivered and lost are all there were.
func TestNumbersAreExactOverTheWrap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		first := -uint32(chance.IntN(3000))
		w := window{next: first}
		type run struct{ at, n int }
		var wire []run
		sent := 0
		for sent < 3000 {
			n := 1 + chance.IntN(20)
			if chance.IntN(10) > 0 {
				wire = append(wire, run{sent, n})
				if chance.IntN(5) == 0 {
					wire = append(wire, run{sent, n})
				}
			}
			sent += n
		}
		for i := range wire {
			j := min(len(wire)-1, i+chance.IntN(6))
			wire[i], wire[j] = wire[j], wire[i]
		}
		seen := make([]bool, sent)
		delivered, lost, now := 0, 0, int64(0)
		for _, r := range wire {
			now += int64(time.Millisecond)
			lost += w.expire(now - int64(lateAfter))
			fresh, gone, ok := w.accept(first+uint32(r.at), r.n, now)
			if !ok {
				t.Fatalf("%+v is refused", r)
			}
			lost += gone
			if !fresh {
				continue
			}
			for k := r.at; k < r.at+r.n; k++ {
				if seen[k] {
					t.Fatalf("message %d twice", k)
				}
				seen[k] = true
				delivered++
			}
		}
		lost += w.note(first+uint32(sent), now)
		lost += w.expire(now)
		if delivered+lost != sent || w.next != first+uint32(sent) {
			t.Fatalf("%d delivered, %d lost, %d sent", delivered, lost, sent)
		}
	}
}

func TestNumbersThatCannotBe(t *testing.T) {
	w := window{next: 100}
	for _, c := range []struct {
		number    uint32
		n         int
		fresh, ok bool
		lost      int
	}{
		{100, 0, false, false, 0},
		{100 + maxNumbered + 1, 1, false, false, 0},
		{110, 10, true, true, 0},
		{99, 1, false, true, 0},   // before everything
		{105, 10, false, true, 0}, // more than is missing
		{98, 5, false, true, 0},   //
		{105, 5, true, true, 0},
		{105, 5, false, true, 0},
		{119, 2, false, true, 0}, // begins with a copy
		{100, 5, true, true, 0},
		{120, 1, true, true, 0},
	} {
		fresh, lost, ok := w.accept(c.number, c.n, 0)
		if fresh != c.fresh || ok != c.ok || lost != c.lost {
			t.Errorf("%d messages from %d: fresh %v, ok %v, lost %d", c.n, c.number, fresh, ok, lost)
		}
	}
	if len(w.gaps) != 0 || w.next != 121 {
		t.Errorf("%+v", w)
	}
	for i := range uint32(maxGaps + 10) {
		w.accept(122+2*i, 1, 0)
	}
	if len(w.gaps) != maxGaps || w.expire(0) != maxGaps {
		t.Errorf("%d gaps", len(w.gaps))
	}
}

func TestRoundTripsDecideWhenToSendAgain(t *testing.T) {
	r := rtt{first: defaultResend}
	if r.rto() != defaultResend {
		t.Errorf("%v before anything was measured", r.rto())
	}
	r.measured(100 * time.Millisecond)
	if r.srtt != 100*time.Millisecond || r.variance != 50*time.Millisecond || r.rto() != 300*time.Millisecond {
		t.Errorf("%+v", r)
	}
	r.measured(200 * time.Millisecond)
	if r.srtt != 112500*time.Microsecond || r.variance != 62500*time.Microsecond {
		t.Errorf("%+v", r)
	}
	before := r.rto()
	r.failed()
	if r.rto() != 2*before {
		t.Errorf("%v after %v", r.rto(), before)
	}
	for range 100 {
		r.failed()
	}
	if r.rto() != maxRTO {
		t.Errorf("%v", r.rto())
	}
	for range 100 {
		r.measured(time.Microsecond)
	}
	if r.rto() != minRTO {
		t.Errorf("%v", r.rto())
	}
}
