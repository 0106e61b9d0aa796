package tcp_test

import (
	"bytes"
	"runtime/pprof"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
)

// With VTX_PUMP=off a goroutine reads each connection, else none does: the suites that run with both are to see both.
func TestPump(t *testing.T) {
	for _, pump := range []string{"on", "off"} {
		t.Run(pump, func(t *testing.T) {
			t.Setenv("VTX_PUMP", pump)
			c := app.NewContext(t)
			m, err := vtx.NewManager(c.P)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { m.Destroy() })
			pull, push := c.Socket(t, int(vtx.Pull)), c.Socket(t, int(vtx.Push))
			if err := m.Bind(pull.P, "tcp://127.0.0.1:*"); err != nil {
				t.Fatal(err)
			}
			at, err := m.Meta(pull.P, "endpoint")
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Connect(push.P, at); err != nil {
				t.Fatal(err)
			}
			push.Send("hello")
			pull.Want("hello")
			var stacks bytes.Buffer
			if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
				t.Fatal(err)
			}
			if reads := bytes.Contains(stacks.Bytes(), []byte("(*connLink).read")); reads != (pump == "off") {
				t.Errorf("goroutines read: %v", reads)
			}
		})
	}
}
