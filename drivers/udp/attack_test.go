package udp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"runtime"
	"testing"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// forger makes datagrams as somebody makes them who knows everything of a peering but its tokens: its addresses, its
// numbers, the protocol.
type forger struct {
	chance *rand.Rand
	from   netip.AddrPort
	number uint32
	ohai   []byte // of the client, but for its hello
}

// forged are all commands, plain and extended.
var forged = []struct {
	command  nom.Command
	extended bool
}{
	{nom.ROTFL, false}, {nom.OHAI, false}, {nom.OHAIOK, false}, {nom.HUGZ, false}, {nom.HUGZOK, false}, {nom.NOM, false},
	{nom.ROTFL, true}, {nom.HUGZ, true}, {nom.HUGZOK, true}, {nom.NOM, true}, {nom.PART, true},
	{nom.SUBSCRIBE, true}, {nom.SUBSCRIBEOK, true}, {nom.GONE, true},
}

func (f *forger) datagram(i int) datagram {
	kind := forged[i%len(forged)]
	h := nom.Header{Command: kind.command, Extended: kind.extended, Sequence: byte(i) & nom.SequenceMask}
	if kind.extended {
		h.Sequence, h.Token, h.Number = 0, nom.Token(f.chance.Uint64()), f.number
	}
	b := nom.AppendHeader(make([]byte, 0, 96), h)
	switch kind.command {
	case nom.ROTFL:
		b = append(b, "closed"...)
	case nom.OHAI, nom.OHAIOK:
		b = append(b, f.ohai...)
		hello := nom.Hello{Kind: nom.Kind(1 + f.chance.IntN(4)), Token: nom.Token(f.chance.Uint64()), Echo: nom.Token(f.chance.Uint64())}
		for k := range hello.Cookie {
			hello.Cookie[k] = byte(f.chance.Uint32())
		}
		if i/len(forged)%2 == 0 {
			b = nom.AppendHello(append(b, 0), &hello)
		}
	case nom.HUGZ, nom.HUGZOK:
		if kind.extended {
			b = append(b, "8 bytes."...)
		}
	case nom.NOM:
		b = append(b, "\x00\x01X"...)
	case nom.PART:
		b = nom.AppendPart(b, nom.Part{Total: 3, Bytes: []byte("\x00\x01X")})
	case nom.SUBSCRIBE:
		b = append(b, "\x00\x02\x01t"...)
	}
	return datagram{f.from, b}
}

// Whoever cannot read a peering's datagrams cannot change anything about it: a million of every kind, from the
// peer's own address.
func TestForgedDatagramsChangeNothing(t *testing.T) {
	const datagrams = 1_000_000
	for _, types := range [][2]vtx.SocketType{{vtx.Pair, vtx.Pair}, {vtx.Rep, vtx.Req}, {vtx.Pub, vtx.Sub}} {
		t.Run(fmt.Sprintf("%v-%v", types[0], types[1]), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			b := bind(t, types[0], optTimeout, never, optResend, never)
			bs, ds := newSink(), newSink()
			d := dialTo(t, types[1], b.to, optTimeout, never, optResend, never)
			c := d.later(t, ds)
			l := b.accept(t, bs)
			dialled := got(t, c)
			send(t, dialled, "|first")
			bs.expect(t, "|first")
			send(t, l, "|re: first")
			ds.expect(t, "|re: first")
			route, backRoute := l.to(), dialled.to()
			numbers := [2]window{numbersOf(l), numbersOf(dialled)}

			in := &inbox{}
			at := forger{chance: rand.New(rand.NewPCG(seed, 0)), from: l.to(), number: 1, ohai: []byte(b.to.String())}
			back := at
			back.from = b.to
			batch := make([]datagram, maxBatch)
			throw := func(f *forger, n int, arrive func([]datagram, *inbox)) {
				for i := 0; i < n; {
					k := 0
					for ; k < maxBatch && i < n; k++ {
						batch[k] = f.datagram(i)
						i++
					}
					arrive(batch[:k], in)
				}
			}
			// Both ends of each of the three pairs
			throw(&at, datagrams/2/3, b.arrive)
			throw(&back, datagrams/2/3, dialled.arrive)

			if l.Err() != nil || dialled.Err() != nil {
				t.Fatalf("ended: %v, %v", l.Err(), dialled.Err())
			}
			if l.to() != route || dialled.to() != backRoute {
				t.Error("an address was changed")
			}
			if !reflect.DeepEqual(numbers, [2]window{numbersOf(l), numbersOf(dialled)}) {
				t.Error("numbers were changed")
			}
			if bs.count() != 1 || ds.count() != 1 {
				t.Errorf("something was injected: %q, %q", bs.all(), ds.all())
			}
			if len(b.links) != 1 || len(b.sessions) != 1 || len(b.calls) != 1 || len(b.waiting) != 0 {
				t.Errorf("%d links, %d sessions, %d calls", len(b.links), len(b.sessions), len(b.calls))
			}
			for _, r := range []*reporter{b.rep, d.rep} {
				r.lock.Lock()
				for why := range r.drops {
					if why != vtx.DropStray {
						t.Errorf("%d drops as %s", r.drops[why], why)
					}
				}
				if len(r.events) > 0 || r.retries > 0 {
					t.Errorf("%d retries, events %+v", r.retries, r.events)
				}
				r.lock.Unlock()
			}
			send(t, dialled, "|second")
			bs.expect(t, "|first", "|second")
			send(t, l, "|re: second")
			ds.expect(t, "|re: first", "|re: second")
		})
	}
}

func numbersOf(l *link) window {
	l.ext.mu.Lock()
	defer l.ext.mu.Unlock()
	return l.ext.window
}

// Many peers of one bound socket cost neither sockets nor goroutines, and little memory.
func TestManyExtendedPeers(t *testing.T) {
	cfg, r := config(t, vtx.Pull, "udp://127.0.0.1:0", optTimeout, never)
	cfg.Options.Backlog = maxBatch
	b := bindTo(t, cfg, r)
	b.sock.gone.Store(1 << 62) // nobody is to be answered
	s, in := &quietSink{}, &inbox{}
	const peers = 8000
	sockets, routines := countSockets(), runtime.NumGoroutine()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for p := 0; p < peers; p += maxBatch {
		var ohai, messages []datagram
		for i := p; i < min(p+maxBatch, peers); i++ {
			// Loopback addresses at which nobody is: answers reach no other program's socket.
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 77, byte(i >> 8), byte(i)}), 9)
			hello := nom.Hello{Kind: nom.Call, Token: nom.Token(i + 1), Type: byte(vtx.Push)}
			hello.Cookie = b.jar.bake(from, hello.Token, clock())
			ohai = append(ohai, datagram{from, greeting(nom.OHAI, []byte("h:1"), &hello)})
		}
		b.arrive(ohai, in)
		for len(b.waiting) > 0 {
			l := b.accept(t, s)
			l.ext.begun.Store(true) // its datagrams' size is not searched for: nobody would answer
			h := nom.Header{Command: nom.NOM, Extended: true, Token: l.ext.ours}
			messages = append(messages, datagram{l.to(), append(nom.AppendHeader(nil, h), "\x00\x01A"...)})
		}
		b.arrive(messages, in)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if s.messages != peers || len(b.sessions) != peers || len(b.snapshot(nil)) != peers {
		t.Errorf("%d messages, %d peerings", s.messages, len(b.sessions))
	}
	b.tick()
	each := int64(after.HeapAlloc-before.HeapAlloc) / peers
	t.Logf("%d bytes a peering", each)
	if each > 8<<10 {
		t.Errorf("%d bytes a peering", each)
	}
	if n := countSockets(); n > sockets {
		t.Errorf("%d sockets, %d before the peers came", n, sockets)
	}
	if n := runtime.NumGoroutine(); n > routines+2 {
		t.Errorf("%d goroutines, %d before the peers came", n, routines)
	}
}
