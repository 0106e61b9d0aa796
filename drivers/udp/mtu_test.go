package udp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/drivers/udp/udprelay"
	"github.com/libvtx/libvtx/vtx"
)

// await waits for a condition that nobody rings a bell for.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(watchdog); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// Datagrams become as large as the path takes them and no larger, though nobody tells how much that is; and smaller or
// larger again when the path changes.
func TestDatagramsFitThePath(t *testing.T) {
	for _, mtu := range []int{576, 1280, 1500, 9000} {
		t.Run(fmt.Sprint(mtu), func(t *testing.T) {
			t.Parallel()
			b := bind(t, vtx.Pair)
			r := relay(t, b, udprelay.Config{MTU: mtu})
			s := newSink()
			c := dialTo(t, vtx.Pair, r.Addr()).later(t, newSink())
			l := b.accept(t, s)
			dialled := got(t, c)
			settled := func(mtu int) {
				t.Helper()
				want := int32(sizeFor(mtu, netip.MustParseAddr("127.0.0.1")))
				for _, k := range []*link{dialled, l} {
					await(t, fmt.Sprintf("datagrams of %d bytes", want), func() bool {
						k.ext.mu.Lock()
						defer k.ext.mu.Unlock()
						return k.ext.size.Load() == want && len(k.ext.search.sizes) == 0
					})
				}
			}
			settled(mtu)
			large := strings.Repeat("0123456789", 10_000)
			send(t, dialled, large)
			s.expect(t, large)
			other := 1280 + 1500 - mtu
			if mtu != 1280 && mtu != 1500 {
				return
			}
			r.SetMTU(other)
			for _, k := range []*link{dialled, l} {
				k.ext.tick(k, clock()+searchEvery*int64(k.set.timeout))
			}
			settled(other)
			send(t, dialled, "2"+large)
			s.expect(t, large, "2"+large)
		})
	}
}

// Waiting messages share datagrams, and each is delivered.
func TestWaitingMessagesShareDatagrams(t *testing.T) {
	b := bind(t, vtx.Push)
	x := newExtended(t, b, vtx.Pull)
	l := x.join(newSink())
	l.ext.begun.Store(true) // no probes
	send(t, l, strings.Split(strings.Repeat("m,", 99)+"m", ",")...)
	if d, _ := x.hear(); len(d) != 14+100*3 {
		t.Errorf("%d bytes", len(d))
	}
	send(t, l, "next")
	if d, _ := x.hear(); string(d[10:14]) != "\x00\x00\x00\x64" {
		t.Errorf("numbered % x", d[10:14])
	}
}
