package vtx

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// A subscriber as it should be: a list.
type modelBranch struct {
	*branch
	topics map[string]bool
	queue  []string
}

// TestFanoutModel has branches subscribe, cancel, take, come and go at random, while messages are given out, and
// compares what each gets with a list of its own: which messages, in which order, and how many were dropped.
func TestFanoutModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	defer func() {
		if t.Failed() {
			t.Log("seed", seed)
		}
	}()
	r := rand.New(rand.NewPCG(seed, 0))
	topics := []string{"", "a", "ab", "abc", "b", "bcd", "c"}
	const most = 20
	s := &Socket{}
	f, err := newFanout(&binding{s: s, cfg: &Config{Type: Pub, Options: &Options{
		SndHWM: most, Named: map[string]string{optShared: sharedDrop},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var all []*modelBranch
	join := func() {
		b := &modelBranch{newBranch(f), nil, nil}
		b.topics = make(map[string]bool)
		all = append(all, b)
	}
	dropped, number := 0, 0
	give := func() {
		c := f.spare
		if c == nil {
			c = new(chunk)
		}
		f.spare = nil
		c.buf = c.buf[:0]
		b, n := Batch{buf: c.buf}, r.IntN(30)
		for range n {
			number++
			m := fmt.Sprint(topics[r.IntN(len(topics))], ".", number, strings.Repeat("x", r.IntN(40)))
			frames := [][]byte{[]byte(m)}
			if r.IntN(3) == 0 {
				frames = append(frames, []byte("abc"))
			}
			b.Append(frames...)
			for _, b := range all {
				wanted := false
				for topic := range b.topics {
					wanted = wanted || strings.HasPrefix(m, topic)
				}
				switch {
				case wanted && len(b.queue) < most:
					b.queue = append(b.queue, m)
				case wanted:
					dropped++
				}
			}
		}
		c.buf = b.buf
		f.give(c, n, false)
		if r.IntN(2) == 0 { // somebody is quick
			take(t, all, r)
		}
		f.keep(c)
		if r.IntN(2) == 0 {
			clear(f.spare.buf[:cap(f.spare.buf)]) // nobody reads there any more
		}
	}
	join()
	for range 20000 {
		switch r.IntN(12) {
		case 0:
			if len(all) < 8 {
				join()
			}
		case 1:
			if len(all) > 1 {
				i := r.IntN(len(all))
				if got, want := all[i].leave(), len(all[i].queue); got != want {
					t.Fatalf("%d messages waited for one who left, want %d", got, want)
				}
				all = slices.Delete(all, i, i+1)
			}
		case 2, 3:
			b, topic := all[r.IntN(len(all))], topics[r.IntN(len(topics))]
			b.topics[topic] = true
			b.subscribe(topic)
		case 4:
			b, topic := all[r.IntN(len(all))], topics[r.IntN(len(topics))]
			delete(b.topics, topic)
			b.cancel(topic)
		case 5, 6, 7:
			take(t, all, r)
		default:
			give()
		}
		hungry := 0
		for _, b := range all {
			if len(b.queue) <= most/2 {
				hungry++
			}
		}
		if f.hungry != hungry || len(f.branches) != len(all) {
			t.Fatalf("%d of %d branches are hungry, want %d of %d", f.hungry, len(f.branches), hungry, len(all))
		}
	}
	for _, b := range all {
		b.leave()
	}
	if len(f.topics)+len(f.lengths)+len(f.counts) > 0 {
		t.Errorf("left over: %v %v %v", f.topics, f.lengths, f.counts)
	}
	if got := s.stats.snapshot().Drops[DropSlow]; got != int64(dropped) {
		t.Errorf("%d messages dropped, want %d", got, dropped)
	}
}

// take has one of them take what waits.
func take(t *testing.T, all []*modelBranch, r *rand.Rand) {
	t.Helper()
	b := all[r.IntN(len(all))]
	buf, n, more, err := b.RecvLarge(nil, nil)
	if err != nil || more || n != len(b.queue) {
		t.Fatalf("took %d messages, more %v, %v; want %d", n, more, err, len(b.queue))
	}
	batch := Framed(buf, n)
	for _, want := range b.queue {
		_, body, _ := batch.Pop().cut()
		if string(body) != want {
			t.Fatalf("took %q, want %q", body, want)
		}
	}
	b.queue = nil
}

// lossyFanout is one that has no pipe.
func lossyFanout(t *testing.T) *fanout {
	t.Helper()
	f, err := newFanout(&binding{s: &Socket{}, cfg: &Config{Type: Pub, Options: &Options{
		Named: map[string]string{optShared: sharedDrop},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What waits for a slow subscriber of little is not to keep everybody's messages in memory.
func TestFanoutKeepsWhatWaits(t *testing.T) {
	f := lossyFanout(t)
	few, many := newBranch(f), newBranch(f)
	few.subscribe("few")
	many.subscribe("many")
	var b Batch
	for i := range 100 {
		b.Append([]byte(fmt.Sprint("few", i)))
		b.Append([]byte("many"), bytes.Repeat([]byte("x"), 1000))
	}
	c := &chunk{buf: b.buf}
	f.give(c, b.Len(), false)
	f.keep(c)
	held := 0
	for _, p := range few.queue {
		held += cap(p.in.buf)
	}
	if want := 100 * (2 + len("few99")); held > 2*want || len(few.queue) != 1 {
		t.Errorf("%d bytes in %d pieces are held for %d", held, len(few.queue), want)
	}
	if many.queue[0].in != c || !c.kept {
		t.Error("the messages that most bytes belong to were copied more than once")
	}
	if f.spare == c || cap(f.spare.buf) == 0 {
		t.Error("the memory to receive into is not used again")
	}
}

// Nor does a small message hold a large body that came behind it.
func TestFanoutKeepsNoLargeBodyOfOthers(t *testing.T) {
	f := lossyFanout(t)
	slow, quick := newBranch(f), newBranch(f)
	slow.subscribe("slow")
	quick.subscribe("quick")
	const size = 1 << 20
	var b Batch
	b.Append([]byte("slow"))
	c := &chunk{buf: binary.BigEndian.AppendUint64(append(b.buf, frameLong), size)}
	err := c.large.Begin(0, size)
	if err == nil {
		err = c.large.Fill(append([]byte("quick"), make([]byte, size-5)...))
	}
	if err != nil {
		t.Fatal(err)
	}
	f.give(c, 2, false)
	f.keep(c)
	if slow.queue[0].in == c {
		t.Errorf("%d bytes wait, and hold %d", slow.queue[0].to-slow.queue[0].from, size)
	}
	for _, b := range []*branch{slow, quick} {
		if _, n, more, err := b.RecvLarge(nil, nil); n != 1 || more || err != nil {
			t.Errorf("%d messages, more %v, %v", n, more, err)
		}
	}
	if c.large.Full() {
		t.Error("the large body is there for ever")
	}
}
