package vtx_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// Bodies for which memory is taken as they arrive come as they were sent, wherever they stand in a message and whatever
// comes before, between and behind them.
func TestLargeBodiesAreWhole(t *testing.T) {
	content := make([]byte, 21<<20)
	for i, chance := 0, rand.New(rand.NewPCG(1, 2)); i < len(content); i++ {
		content[i] = byte(chance.Uint32())
	}
	large := func(size int) string { return string(content[:size]) }
	messages := [][]string{
		{"small"}, {large(4 << 20)}, {large(4<<20 + 1)}, {large(9_000_001)}, {"id", "", large(21 << 20)}, {"small"},
		{large(5 << 20), "last"}, {large(300_000), large(6 << 20)}, {strings.Repeat("prefix", 2000), large(5 << 20)}, {"small"},
	}
	for _, scheme := range streamSchemes {
		for _, sealed := range []bool{false, true} {
			t.Run(scheme+map[bool]string{true: ", CURVE"}[sealed], func(t *testing.T) {
				h := newHost(t)
				pull, push := h.socket(vtx.Pull), app.NewContext(t).Socket(t, int(vtx.Push))
				if sealed {
					server := newKeys(t)
					curveServer(pull, server)
					curveClient(push, newKeys(t), server.public)
				}
				push.Set(zmq.SndHWM, 0)
				endpoint := h.bound(pull, scheme)
				push.Native(false, "tcp://"+strings.TrimPrefix(endpoint, scheme+"://"))
				for range 2 {
					for _, m := range messages {
						push.Send(m...)
					}
					for i, m := range messages {
						got := pull.Recv()
						same := len(got) == len(m)
						for j := range m {
							same = same && got[j] == m[j]
						}
						if !same {
							t.Fatalf("message %d is another", i)
						}
					}
				}
			})
		}
	}
}
