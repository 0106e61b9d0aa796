package zmq_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
)

// A receiver takes all that it is sent at once.
func receiver(t *testing.T) (*zmq.Socket, *app.Socket) {
	t.Helper()
	s, a := open(t, poller(t), zmq.TypeDealer, typeDealer, func(a *app.Socket) { a.Set(zmq.RcvHWM, 0) })
	connect(t, s)
	return s, a
}

// appendFrame appends a frame of ZMTP.
func appendFrame(wire []byte, body string, more bool) []byte {
	var flags byte
	if more {
		flags = 1
	}
	if len(body) < 256 {
		wire = append(wire, flags, byte(len(body)))
	} else {
		wire = binary.BigEndian.AppendUint64(append(wire, flags|2), uint64(len(body)))
	}
	return append(wire, body...)
}

func sendAll(t *testing.T, s *zmq.Socket, wire []byte, count int) {
	t.Helper()
	if taken, n, err := s.Send(wire); err != nil || taken != len(wire) || n != count {
		t.Fatalf("%d of %d bytes, %d of %d messages taken: %v", taken, len(wire), n, count, err)
	}
}

// Bodies that share memory stay what they are until the application has read them, in whatever order memory becomes free:
// three batches wait at a time, and each is read while the next are written.
func TestBodiesThatShareMemory(t *testing.T) {
	s, a := receiver(t)
	body := func(i int) string {
		return strings.Repeat(fmt.Sprintf("%07d ", i), 200)[:i*37%1100] // below, within and above what is shared
	}
	const batches, each = 60, 200
	read := func(batch int) {
		for i := batch * each; i < (batch+1)*each; i++ {
			a.Want(body(i), "end")
		}
	}
	for batch := range batches {
		var wire []byte
		for i := batch * each; i < (batch+1)*each; i++ {
			wire = appendFrame(appendFrame(wire, body(i), true), "end", false)
		}
		sendAll(t, s, wire, each)
		if batch >= 2 {
			read(batch - 2)
		}
	}
	read(batches - 2)
	read(batches - 1)
}

// The application may keep what it received and free it in any order, on threads of its own.
func TestSharedMemoryIsFreedInAnyOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s, a := receiver(t)
	type held struct {
		app.Held
		want string
	}
	var all []held
	count := 0
	for range 200 {
		var wire []byte
		var sent []string
		most := 34 + random.IntN(1024) // a piece of memory for few messages now, for many then
		for range 1 + random.IntN(500) {
			body := strings.Repeat(fmt.Sprintf("%07d ", count), 150)[:random.IntN(most)]
			count++
			wire, sent = appendFrame(wire, body, false), append(sent, body)
		}
		sendAll(t, s, wire, len(sent))
		for _, body := range sent {
			all = append(all, held{a.Hold(), body})
		}
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		keep := random.IntN(len(all))
		var threads sync.WaitGroup
		for part := range 3 {
			threads.Go(func() {
				for i := keep + part; i < len(all); i += 3 {
					if got := all[i].String(); got != all[i].want {
						t.Errorf("%.20q… of %d bytes instead of %.20q… of %d", got, len(got), all[i].want, len(all[i].want))
					}
					all[i].Close()
				}
			})
		}
		threads.Wait()
		all = all[:keep]
	}
	for _, h := range all {
		h.Close()
	}
}

// However many messages come and go, and however many are there at a time, memory does not grow.
func TestSharedMemoryIsBounded(t *testing.T) {
	s, a := receiver(t)
	const each = 1 << 16 // more than what is kept for the next ones can hold
	var wire []byte
	for range each {
		wire = appendFrame(wire, strings.Repeat("x", 100), false)
	}
	all := make([]app.Held, each)
	round := func() {
		sendAll(t, s, wire, each)
		for i := range all {
			all[i] = a.Hold()
		}
		for _, h := range all {
			h.Close()
		}
	}
	for range 5 {
		round()
	}
	before, told := app.Allocated()
	if !told {
		t.Skip("this system does not tell how much has been allocated")
	}
	for range 15 {
		round()
	}
	after, _ := app.Allocated()
	t.Logf("%d bytes more after %d messages", after-before, 15*each)
	if after-before > 1<<20 { // pieces that nobody frees are tens of MiB
		t.Error("memory grows")
	}
}
