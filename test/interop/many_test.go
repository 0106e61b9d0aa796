package interop

import (
	"fmt"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
)

const crowd = 1000

// manySockets is an application that may open enough sockets for a crowd.
func manySockets(t testing.TB) *ours {
	t.Helper()
	ctx := app.NewContext(t)
	ctx.SetMaxSockets(3 * crowd)
	return joined(t, ctx)
}

// TestManyConnections: a thousand sockets of one context talk to one ROUTER, ours or theirs.
func TestManyConnections(t *testing.T) {
	for _, transport := range transports {
		t.Run("libzmq/"+transport+"/our ROUTER", func(t *testing.T) {
			router := manySockets(t).socket(t, vtx.Router, options{"sndhwm": "0", "rcvhwm": "0"})
			dealers := testCrowd(t, &end{t, router}, pebbe{}, transport)
			router.peers(t, crowd)
			for _, d := range dealers[1:] {
				d.s.close()
			}
			router.peers(t, 1)
			dealers[0].send("alone")
			id := (&end{t, router}).wantTail("alone")
			router.send(id, "yes")
			dealers[0].want("yes")
		})
		t.Run("libzmq/"+transport+"/their ROUTER", func(t *testing.T) {
			router := start(t, pebbe{}, vtx.Router, options{"sndhwm": "0", "rcvhwm": "0"})
			testCrowd(t, router, manySockets(t), transport)
		})
	}
}

func testCrowd(t *testing.T, router *end, l library, transport string) []*end {
	at := endpoint(t, transport)
	router.bind(at)
	dealers := make([]*end, crowd)
	for i := range dealers {
		dealers[i] = start(t, l, vtx.Dealer, nil)
		dealers[i].connect(at)
		dealers[i].send(fmt.Sprint(i))
	}
	ids := make(map[string]string)
	for range dealers {
		m := router.recv()
		ids[m[1]] = m[0]
	}
	if len(ids) != crowd {
		t.Fatalf("heard %d of %d", len(ids), crowd)
	}
	for i, id := range ids {
		router.send(id, "re: "+i)
	}
	for i, d := range dealers {
		d.want(fmt.Sprint("re: ", i))
	}
	return dealers
}
