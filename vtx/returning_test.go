package vtx_test

import (
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// Peers that left and come back in another order are heard again under their names: a ROUTER holds a name until both ends
// of its old pipe have seen the end, and takes no other pipe for it meanwhile.
func TestReturningNames(t *testing.T) {
	server, client := newHost(t), newHost(t)
	endpoint := name("mem")
	router := server.socket(vtx.Router)
	server.bind(router, endpoint)
	names := []string{"first", "second", "third"}
	var dealers []*app.Socket
	come := func(name string) *app.Socket {
		d := client.socket(vtx.Dealer)
		d.SetString(zmq.RoutingID, name)
		client.connect(d, endpoint)
		d.Send("here")
		return d
	}
	leave := func(d *app.Socket) {
		d.Forget()
		if err := client.Close(d.P); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		dealers = append(dealers, come(name))
		router.Want(name, "here")
	}
	for _, d := range dealers {
		leave(d)
	}
	app.Eventually(t, "all have left", func() bool { return server.meta(router, "peers") == "0" })
	for _, name := range names { // the pipe that was the last one's is used first
		app.Eventually(t, name+" is heard", func() bool {
			d := come(name)
			if m, err := router.RecvWithin(100 * time.Millisecond); err == nil && m[0] == name {
				return true
			}
			leave(d)
			app.Eventually(t, name+" has left", func() bool { return server.meta(router, "peers") == "0" })
			return false
		})
	}
}
