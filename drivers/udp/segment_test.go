package udp

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// bothWays runs a test with and without runs of datagrams.
func bothWays(t *testing.T, test func(t *testing.T)) {
	for name, without := range map[string]bool{"segments": false, "no segments": true} {
		t.Run(name, func(t *testing.T) {
			if without {
				Unsegmented(t)
			}
			test(t)
		})
	}
}

// openSocket makes a socket on loopback.
func openSocket(t testing.TB, address string) *socket {
	t.Helper()
	cfg, _ := config(t, vtx.Pair, "udp://127.0.0.1:*")
	conn, err := openConn("udp", address, cfg.Options)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSocket(conn, cfg.Poller)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func routeTo(to netip.AddrPort) *route { return &route{to: to, addr: net.UDPAddrFromAddrPort(to)} }

// departuresOf makes datagrams of the given sizes, with a number in each.
func departuresOf(sizes ...int) *departures {
	d := new(departures)
	for i, n := range sizes {
		d.add(bytes.Repeat([]byte{byte(i)}, n))
	}
	return d
}

// take receives n datagrams.
func take(t *testing.T, s *socket, single bool, n int) (all [][]byte) {
	t.Helper()
	a := newArrivals(single)
	await(t, fmt.Sprintf("%d datagrams", n), func() bool {
		for got := s.receive(a); len(got) > 0; got = s.receive(a) {
			for _, d := range got {
				all = append(all, bytes.Clone(d.data))
			}
		}
		return len(all) >= n
	})
	return all
}

// Datagrams of any sizes arrive as they were sent.
func TestRunsOfDatagrams(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	bothWays(t, func(t *testing.T) {
		for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
			from, to := openSocket(t, address), openSocket(t, address)
			for round := range 40 {
				size := 2 + chance.IntN(maxDatagram-1)
				var sizes []int
				for len(sizes) < maxBatch {
					if chance.IntN(8) == 0 {
						size = 2 + chance.IntN(maxDatagram-1)
					}
					sizes = append(sizes, size)
				}
				d := departuresOf(sizes...)
				sent, failed, err := from.sendAll(d, routeTo(to.local()))
				if sent != d.n || failed != 0 || err != nil {
					t.Fatalf("%d sent, %d failed, %v", sent, failed, err)
				}
				got := take(t, to, round%2 == 0, d.n)
				for i := range d.n {
					if !bytes.Equal(got[i], d.datagrams[i]) {
						t.Fatalf("datagram %d has %d bytes, was sent with %d", i, len(got[i]), len(d.datagrams[i]))
					}
				}
			}
		}
	})
}

// Where the system has them, runs are used in both directions.
func TestRunsAreUsed(t *testing.T) {
	from, to := openSocket(t, "127.0.0.1:0"), openSocket(t, "127.0.0.1:0")
	if !from.segments.Load() {
		t.Skip("skipped: this system has no UDP_SEGMENT")
	}
	if err := to.use(func(fd int) error { _, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO); return err }); err != nil {
		t.Skipf("skipped: this system has no UDP_GRO: %v", err)
	}
	d := departuresOf(slicesOf(100, maxBatch)...)
	if _, _, err := from.sendAll(d, routeTo(to.local())); err != nil {
		t.Fatal(err)
	}
	a := newArrivals(true)
	await(t, "something", func() bool { return len(to.receive(a)) > 0 })
	if len(a.datagrams) != maxBatch {
		t.Errorf("%d datagrams came as one", len(a.datagrams))
	}
}

func slicesOf(size, n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = size
	}
	return list
}

func TestPack(t *testing.T) {
	for _, c := range []struct {
		sizes []int
		want  string
	}{
		{[]int{10}, "1"},
		{[]int{10, 10, 10}, "3x10"},
		{[]int{10, 10, 4, 4, 10}, "3x10 1 1"},
		{[]int{10, 11, 11, 2, 2}, "1 3x11 1"},
		{slicesOf(100, 64), "64x100"},
		{slicesOf(1472, 64), "44x1472 20x1472"},
		{slicesOf(8972, 10), "7x8972 3x8972"},
		{append(slicesOf(8191, 7), 8170, 1), "8x8191 1"}, // 65507 bytes
		{append(slicesOf(8191, 7), 8171, 1), "7x8191 2x8171"},
	} {
		d := departuresOf(c.sizes...)
		var got []string
		for _, m := range d.pack(0, nil, nil, true) {
			if len(m.Buffers) == 1 {
				got = append(got, "1")
				continue
			}
			h, size, _, err := unix.ParseOneSocketControlMessage(m.OOB)
			if err != nil || h.Level != unix.IPPROTO_UDP || h.Type != unix.UDP_SEGMENT {
				t.Fatalf("% x: %v", m.OOB, err)
			}
			got = append(got, fmt.Sprintf("%dx%d", len(m.Buffers), int(size[0])|int(size[1])<<8))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%v: %s, want %s", c.sizes, s, c.want)
		}
		if n := len(d.pack(0, nil, nil, false)); n != d.n {
			t.Errorf("%v: %d messages without segments", c.sizes, n)
		}
	}
	way := (&ipv4.ControlMessage{IfIndex: 7}).Marshal()
	for _, m := range departuresOf(10, 10, 20).pack(0, nil, way, true) {
		if !bytes.HasPrefix(m.OOB, way) {
			t.Errorf("the interface is lost: % x", m.OOB)
		}
	}
}

// strict is a system that takes runs or refuses them, and datagrams up to a size.
type strict struct {
	runs error
	mtu  int
	sent []int // sizes
}

func (s *strict) ReadBatch([]ipv4.Message, int) (int, error) { return 0, syscall.EAGAIN }

func (s *strict) WriteBatch(ms []ipv4.Message, _ int) (int, error) {
	for i, m := range ms {
		err := error(nil)
		if len(m.Buffers[0]) > s.mtu {
			err = syscall.EMSGSIZE
		}
		if len(m.Buffers) > 1 && s.runs != nil {
			err = s.runs
		}
		if err != nil && i == 0 {
			return -1, fmt.Errorf("sendmmsg: %w", err)
		} else if err != nil {
			return i, nil
		}
		for _, b := range m.Buffers {
			s.sent = append(s.sent, len(b))
		}
	}
	return len(ms), nil
}

// Where runs are refused nothing is lost, and they are not tried again.
func TestRunsThatAreRefused(t *testing.T) {
	for _, why := range []error{syscall.EINVAL, syscall.EIO, syscall.EOPNOTSUPP} {
		s, sys := openSocket(t, "127.0.0.1:0"), &strict{runs: why, mtu: 1000}
		s.batch = sys
		s.segments.Store(true)
		sizes := []int{7, 10, 10, 10, 3, 5}
		sent, failed, err := s.sendAll(departuresOf(sizes...), routeTo(s.local()))
		if sent != len(sizes) || failed != 0 || err != nil || fmt.Sprint(sys.sent) != fmt.Sprint(sizes) || s.segments.Load() {
			t.Errorf("%v: %d sent, %d failed, %v; %v", why, sent, failed, err, sys.sent)
		}
	}
}

// The first datagram that is too long is told, whether or not it is in a run.
func TestRunsThatAreTooLong(t *testing.T) {
	for _, runs := range []error{nil, syscall.EINVAL} {
		s, sys := openSocket(t, "127.0.0.1:0"), &strict{runs: runs, mtu: 1000}
		s.batch = sys
		s.segments.Store(true)
		sent, failed, err := s.sendAll(departuresOf(900, 900, 1001, 1001, 1001, 20), routeTo(s.local()))
		if sent != 2 || failed != 0 || !errors.Is(err, syscall.EMSGSIZE) || s.segments.Load() != (runs == nil) {
			t.Errorf("%v: %d sent, %d failed, %v", runs, sent, failed, err)
		}
		if sent, failed, err = s.sendAll(departuresOf(20, 20), routeTo(s.local())); sent != 2 || failed != 0 || err != nil {
			t.Errorf("%v: %d sent, %d failed, %v", runs, sent, failed, err)
		}
	}
}

// Errors other than these concern what was sent with them, no more.
func TestRunsThatFail(t *testing.T) {
	s, sys := openSocket(t, "127.0.0.1:0"), &strict{runs: syscall.EPERM, mtu: 1000}
	s.batch = sys
	s.segments.Store(true)
	sent, failed, err := s.sendAll(departuresOf(7, 10, 10, 10, 3, 5), routeTo(s.local()))
	if sent != 6 || failed != 4 || err != nil || fmt.Sprint(sys.sent) != "[7 5]" {
		t.Errorf("%d sent, %d failed, %v; %v", sent, failed, err, sys.sent)
	}
}

// However many datagrams one call brings, each peer's are delivered in their order.
func TestManyDatagramsAtOnce(t *testing.T) {
	b := bind(t, vtx.Pull)
	var clients []*raw
	var sinks []*sink
	for range 3 {
		s := newSink()
		c, _ := joined(t, b, s)
		clients, sinks = append(clients, c), append(sinks, s)
	}
	const each = 300
	var got []datagram
	var want [3]string
	for i := range each {
		for k, c := range clients {
			if (i+k)%4 == 0 {
				continue // in no regular pattern
			}
			body := fmt.Sprintf("%03d", i)
			want[k] += body + "\n"
			d := nom.AppendHeader(nil, nom.Header{Command: nom.NOM, Sequence: byte(strings.Count(want[k], "\n")-1) & nom.SequenceMask})
			got = append(got, datagram{c.addr(), nom.AppendFrame(d, []byte(body))})
		}
	}
	b.arrive(got, &inbox{})
	for k, s := range sinks {
		if all := strings.Join(s.all(), "\n") + "\n"; all != want[k] {
			t.Errorf("peer %d: %q", k, all)
		}
	}
}

// Large messages and many small ones, to extended peers and to plain ones.
func TestMessagesInRuns(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		for _, plain := range []string{"1", plainOnly} {
			b := bind(t, vtx.Pair)
			s, back := newSink(), newSink()
			c := dialTo(t, vtx.Pair, b.to, optPlain, plain).later(t, back)
			l := b.accept(t, s)
			d := got(t, c)
			var want []string
			for i := range 200 {
				want = append(want, strings.Repeat(fmt.Sprint(i%10), 300+i/50))
			}
			if plain != plainOnly {
				want = append(want, strings.Repeat("large", 50_000), "small", strings.Repeat("larger", 100_000))
			}
			send(t, d, want...)
			s.expect(t, want...)
			send(t, l, want...)
			back.expect(t, want...)
		}
	})
}
