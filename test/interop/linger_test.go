package interop

import (
	"fmt"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/vtx"
)

// TestLinger: a sender with LINGER -1 that goes under backlog loses nothing, although its peer takes little at
// first and the rest only when the sender has been told to go.
func TestLinger(t *testing.T) {
	for _, how := range []string{"Close", "Destroy"} {
		for _, typ := range []vtx.SocketType{vtx.Push, vtx.Dealer} {
			for _, transport := range transports {
				if *reference && transport == "ipc" {
					continue // over which libzmq itself loses what a bound socket has not sent
				}
				t.Run(fmt.Sprintf("libzmq/%s/%s/%s", transport, typ, how), func(t *testing.T) {
					bothWays(t, transport, func(t *testing.T, join func(us, they *end)) {
						testLinger(t, how, typ, join)
					})
				})
			}
		}
	}
}

func testLinger(t *testing.T, how string, typ vtx.SocketType, join func(us, they *end)) {
	const n = 20000
	body := strings.Repeat("x", 500)
	o := newOurs(t)
	if o.m == nil && how == "Destroy" {
		t.Skip("libzmq has no such call")
	}
	sender := o.socket(t, typ, options{"linger": "-1", "sndhwm": "0"})
	receiver := start(t, pebbe{}, map[vtx.SocketType]vtx.SocketType{vtx.Push: vtx.Pull, vtx.Dealer: vtx.Router}[typ], options{"rcvhwm": "100"})
	us := &end{t, sender}
	join(us, receiver)
	want := func(i int) {
		t.Helper()
		m := receiver.recv()
		if typ == vtx.Dealer {
			m = m[1:]
		}
		if len(m) != 2 || m[0] != fmt.Sprint(i) || m[1] != body {
			t.Fatalf("message %d of %d: received %s", i, n, brief(m))
		}
	}
	us.send("0", body)
	want(0)
	for i := 1; i < n; i++ {
		us.send(fmt.Sprint(i), body)
	}
	for i := 1; i < 50; i++ {
		want(i)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if how == "Close" {
			sender.close()
		} else if err := o.m.Destroy(); err != nil {
			t.Error(err)
		}
	}()
	for i := 50; i < n; i++ {
		want(i)
	}
	<-gone
}
