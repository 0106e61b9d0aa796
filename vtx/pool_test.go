package vtx_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// wanted is a bound SUB to "a" with room for a few messages, and where a native publisher finds it.
func wanted(h *host) (sub *app.Socket, endpoint string) {
	h.t.Helper()
	sub = h.socket(vtx.Sub)
	sub.Set(zmq.RcvHWM, 10)
	sub.SetString(optSubscribe, "a")
	return sub, strings.Replace(h.bound(sub, "loop"), "loop", "tcp", 1)
}

// heard is a native publisher that sub, which looks at its socket, has told its subscription.
func heard(t *testing.T, c *app.Context, sub *app.Socket, endpoint string) *app.Socket {
	t.Helper()
	pub := c.Socket(t, int(vtx.XPub))
	pub.Set(optXPubVerbose, 1)
	pub.Native(false, endpoint)
	app.Eventually(t, "subscribed", func() bool {
		sub.RecvWithin(0)
		m, err := pub.RecvWithin(0)
		return err == nil && m[0] == "\x01a"
	})
	return pub
}

// What a publisher that has gone has left with one SUB, as much as there is room for, neither holds up another one nor
// takes away what that has subscribed to.
func TestUnreadMessagesOfAPeerThatHasGone(t *testing.T) {
	h, far := newHost(t), app.NewContext(t)
	first, at := wanted(h)
	second, other := wanted(h)
	const full = 20 // the application's mark, and as many again
	gone := heard(t, far, first, at)
	for i := range full {
		gone.Send(fmt.Sprint("a", i))
	}
	app.Eventually(t, "the messages are there", func() bool {
		return strings.Contains(h.meta(first, "stats"), fmt.Sprintf(`"messages_in":%d,`, full))
	})
	gone.Close()
	app.Eventually(t, "the publisher has gone", func() bool { return h.meta(first, "peers") == "0" })

	pub := heard(t, far, second, other)
	pub.Send("a before")
	second.Want("a before")
	for i := range full {
		first.Want(fmt.Sprint("a", i))
	}
	first.RecvWithin(0) // and sees the end
	second.SetString(optSubscribe, "b")
	if m := pub.Recv(); m[0] != "\x01b" {
		t.Errorf("the publisher hears %q", m)
	}
	pub.Send("a after")
	second.Want("a after")

	// And the first one's pipe serves again.
	before := openDescriptors()
	for range 100 {
		pub := heard(t, far, first, at)
		pub.Send("a once more")
		first.Want("a once more")
		pub.Close()
		app.Eventually(t, "the publisher has gone", func() bool {
			first.RecvWithin(0)
			return h.meta(first, "peers") == "0"
		})
	}
	if after := openDescriptors(); after > before+20 {
		t.Errorf("%d descriptors, %d a hundred publishers before", after, before)
	}
}

// Pipes that nobody uses any more make room for those of another kind.
func TestIdlePipesMakeRoom(t *testing.T) {
	h, client := smallHost(t, 60), newHost(t)
	for _, types := range [][2]vtx.SocketType{{vtx.Pull, vtx.Push}, {vtx.Router, vtx.Dealer}} {
		s := h.socket(types[0])
		endpoint := h.bound(s, "loop")
		var peers []*app.Socket
		for range 30 {
			peer := client.socket(types[1])
			client.connect(peer, endpoint)
			peer.Send("here")
			peers = append(peers, peer)
		}
		for range peers {
			s.Recv()
		}
		for _, peer := range peers {
			peer.Forget()
			if err := client.Close(peer.P); err != nil {
				t.Fatal(err)
			}
		}
		app.Eventually(t, "all have gone", func() bool {
			s.RecvWithin(0)
			return h.meta(s, "peers") == "0"
		})
		s.RecvWithin(0) // it has seen the last of them
	}
}

// An application that looks at its socket but does not read what publishers have left keeps nobody else out.
func TestPartingPipesAreFew(t *testing.T) {
	h, far := smallHost(t, 60), app.NewContext(t)
	sub, at := wanted(h)
	pull := h.socket(vtx.Pull)
	endpoint := h.bound(pull, "loop")
	for i := range 80 {
		pub := far.Socket(t, int(vtx.XPub))
		pub.Set(optXPubVerbose, 1)
		pub.Native(false, at)
		app.Eventually(t, "subscribed", func() bool {
			zmq.GetInt(zmq.Handle(sub.P), optEvents)
			_, err := pub.RecvWithin(0)
			return err == nil
		})
		pub.Send("a")
		app.Eventually(t, "the message is there", func() bool {
			return strings.Contains(h.meta(sub, "stats"), fmt.Sprintf(`"messages_in":%d,`, i+1))
		})
		pub.Close()
		app.Eventually(t, "the publisher has gone", func() bool { return h.meta(sub, "peers") == "0" })
	}
	push := far.Socket(t, int(vtx.Push))
	push.Native(false, strings.Replace(endpoint, "loop", "tcp", 1))
	push.Send("in")
	pull.Want("in")
}

// Pipes whose application has not seen that their peers have gone still cost the context a socket each: those that are
// left to the application are not given away for them.
func TestNoRoomIsMadeOfWhatIsTaken(t *testing.T) {
	h, client := smallHost(t, 60), newHost(t)
	idle := h.socket(vtx.Router)
	endpoint := h.bound(idle, "loop")
	var peers []*app.Socket
	for range 30 {
		peer := client.socket(vtx.Dealer)
		client.connect(peer, endpoint)
		peers = append(peers, peer)
	}
	app.Eventually(t, "all have come", func() bool { return h.meta(idle, "peers") == "30" })
	for _, peer := range peers {
		peer.Forget()
		if err := client.Close(peer.P); err != nil {
			t.Fatal(err)
		}
	}
	app.Eventually(t, "all have gone", func() bool { return h.meta(idle, "peers") == "0" })
	pull := h.socket(vtx.Pull)
	endpoint = h.bound(pull, "loop")
	events := h.events(pull)
	for range 30 {
		client.connect(client.socket(vtx.Push), endpoint)
	}
	await(t, events, vtx.EventAcceptFailed)
	for range 5 {
		h.socket(vtx.Push)
	}
}
