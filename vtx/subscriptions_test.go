package vtx_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/internal/zmtp"
	"github.com/libvtx/libvtx/vtx"
)

const (
	optXPubManual     = 71
	optXPubWelcome    = 72
	optXPubVerboser   = 78
	optXPubLastValue  = 98
	optOnlyFirst      = 108
	optInvertMatching = 74
)

// wire is a subscriber that says what it likes: no socket counts what it subscribes to.
type wire struct {
	t        *testing.T
	conn     net.Conn
	session  *zmtp.Session
	commands bool // subscriptions are the commands of ZMTP 3.1
	unread   []byte
}

func newWire(t *testing.T, endpoint string, commands bool) *wire {
	t.Helper()
	_, address, _ := strings.Cut(endpoint, "://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(app.Patience))
	session, err := zmtp.Handshake(conn, &zmtp.Config{SocketType: "XSUB", Mechanism: zmtp.NewNull(false, nil), MaxMessage: -1})
	if err != nil {
		t.Fatal(err)
	}
	return &wire{t, conn, session, commands, session.Rest()}
}

// say sends a message, of frames with | between them.
func (w *wire) say(message string) {
	w.t.Helper()
	var b vtx.Batch
	var frames [][]byte
	for f := range strings.SplitSeq(message, "|") {
		frames = append(frames, []byte(f))
	}
	b.Append(frames...)
	_ = b.Offer(func(framed []byte) (int, int, error) {
		if w.commands {
			framed = w.session.Encode(nil, framed)
		}
		if _, err := w.conn.Write(framed); err != nil {
			w.t.Fatal(err)
		}
		return 0, 0, nil
	})
}

// hear receives messages until one is last.
func (w *wire) hear(last string) (all []string) {
	w.t.Helper()
	buf := make([]byte, 4096)
	for {
		d, err := w.session.Decode(w.unread)
		if err != nil {
			w.t.Fatal(err)
		}
		w.unread = w.unread[d.Used:]
		for b := vtx.Framed(d.Messages, d.Count); b.Len() > 0; {
			var frames []string
			for f := range b.Pop().Frames() {
				frames = append(frames, string(f))
			}
			if all = append(all, strings.Join(frames, "|")); all[len(all)-1] == last {
				return all
			}
		}
		if d.Used > 0 || d.Count > 0 || d.Control != 0 {
			continue
		}
		n, err := w.conn.Read(buf)
		if err != nil {
			w.t.Fatalf("after %q: %v", all, err)
		}
		w.unread = append(w.unread, buf[:n]...)
	}
}

// publisherStory has two subscribers say all kinds of things to a bound XPUB, and tells what everybody saw.
func publisherStory(t *testing.T, xpub *app.Socket, endpoint string, mode int, commands bool) []string {
	manual := mode == optXPubManual || mode == optXPubLastValue
	var story []string
	// until has the XPUB receive until it gets message, and obey where it is for it to say who gets what.
	until := func(message string) {
		t.Helper()
		for {
			got := strings.Join(xpub.Recv(), "|")
			story = append(story, fmt.Sprintf("the XPUB: %q", got))
			if manual && got != "" && got[0] == 1 {
				xpub.SetString(optSubscribe, "m"+got[1:])
				xpub.SetString(optSubscribe, "zend")
			} else if manual && got != "" && got[0] == 0 {
				xpub.SetString(optUnsubscribe, "m"+got[1:])
			}
			if got == message {
				return
			}
		}
	}
	marks := 0
	mark := func(w *wire) string {
		t.Helper()
		marks++
		topic := fmt.Sprint("mark ", marks)
		w.say("\x01" + topic)
		until("\x01" + topic)
		return topic
	}
	toTheEnd := "\x01zend"
	if mode == optInvertMatching {
		toTheEnd = "\x01nobody's" // and "zend" comes
	}
	first, second := newWire(t, endpoint, commands), newWire(t, endpoint, commands)
	both := []*wire{first, second}
	var marksOfFirst []string
	for _, s := range []struct {
		who  int
		says string
	}{
		{0, toTheEnd}, {1, toTheEnd},
		{0, "\x01a"}, {0, "\x01a"}, {1, "\x01a"}, {0, "\x00a"}, {0, "\x00a"}, {1, "\x00nobody's"},
		{0, "\x01b|\x01c"}, {0, "\x05 hello"}, {1, "two|parts"}, {1, "first|\x01late"}, {0, ""}, {1, "\x00a|\x01d|"},
		{1, "\x01"}, {1, "\x00"}, {1, "\x01e"}, {1, "\x01e"}, {0, "\x01e"}, {1, "\x00e"},
		{0, "\x01" + strings.Repeat("long ", 100)}, {0, "\x01" + strings.Repeat("large ", 10000)},
	} {
		both[s.who].say(s.says)
		if m := mark(both[s.who]); s.who == 0 {
			marksOfFirst = append(marksOfFirst, m)
		}
	}
	for _, m := range []string{"a1", "b1", "c1", "d1", "e1", "late1", "ma1", "mc1", "me1", "nobody's 1", "large large ", "zend"} {
		xpub.Send(m, "second part")
	}
	for i, w := range both {
		for _, m := range w.hear("zend|second part") {
			story = append(story, fmt.Sprintf("subscriber %d: %q", i, m))
		}
	}
	if mode == optXPubVerboser || mode == 0 {
		first.conn.Close()
		gone := "\x00" + marksOfFirst[len(marksOfFirst)-1]
		until(gone)
		mark(second)
	}
	return story
}

// An XPUB receives, in each of its modes, what it does natively, and so do its subscribers.
func TestXPubAsNatively(t *testing.T) {
	for name, mode := range map[string]int{
		"plain": 0, "verbose": optXPubVerbose, "verboser": optXPubVerboser, "manual": optXPubManual, "last value": optXPubLastValue,
		"only first": optOnlyFirst, "welcome": optXPubWelcome, "inverted": optInvertMatching,
	} {
		for _, commands := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/commands=%v", name, commands), func(t *testing.T) {
				h := newHost(t)
				xpub := func() *app.Socket {
					s := h.socket(vtx.XPub)
					switch mode {
					case 0:
					case optXPubWelcome:
						s.SetString(optXPubWelcome, "welcome")
					default:
						s.Set(mode, 1)
					}
					return s
				}
				native := xpub()
				native.Native(true, "tcp://127.0.0.1:*")
				want := publisherStory(t, native, native.LastEndpoint(), mode, commands)
				ours := xpub()
				got := publisherStory(t, ours, h.bound(ours, "loop"), mode, commands)
				if !slices.Equal(got, want) {
					t.Errorf("not as natively:\n%s\nnatively:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		}
	}
}

// A peer that subscribes to more than the option allows loses its peering and, with that, what it had subscribed to.
func TestSubscriptionsOfOnePeerAreBounded(t *testing.T) {
	for _, shared := range []string{"off", "drop"} {
		for _, commands := range []bool{false, true} {
			t.Run(fmt.Sprintf("shared=%s/commands=%v", shared, commands), func(t *testing.T) {
				h := newHost(t)
				for name, value := range map[string]string{"subscriptions": "3", "pub.shared": shared} {
					if err := h.SetOption(nil, name, value); err != nil {
						t.Fatal(err)
					}
				}
				xpub := h.socket(vtx.XPub)
				events := h.events(xpub)
				endpoint := h.bound(xpub, "loop")
				good, bad := newWire(t, endpoint, commands), newWire(t, endpoint, commands)
				good.say("\x01x")
				xpub.Want("\x01x")
				for _, topic := range []string{"a", "b", "c"} {
					bad.say("\x01" + topic)
					xpub.Want("\x01" + topic)
				}
				bad.say("\x01a") // has it already
				bad.say("\x05 words")
				xpub.Want("\x05 words")
				bad.say("\x00c")
				xpub.Want("\x00c")
				bad.say("\x01d")
				xpub.Want("\x01d")
				bad.say("\x01e")
				if _, reason := await(t, events, vtx.EventDisconnected); !strings.Contains(reason, "more than 3 subscriptions") {
					t.Errorf("the event says %q", reason)
				}
				gone := []string{xpub.Recv()[0], xpub.Recv()[0], xpub.Recv()[0]}
				slices.Sort(gone)
				if want := []string{"\x00a", "\x00b", "\x00d"}; !slices.Equal(gone, want) {
					t.Errorf("the publisher heard %q, want %q", gone, want)
				}
				xpub.Send("x still")
				good.hear("x still")
			})
		}
	}
}

// So it is where the publisher connects, over whichever driver, and from link to link: what the last one had does not count.
func TestSubscriptionsAreBoundedForEachLink(t *testing.T) {
	for _, scheme := range []string{"mem", "loop"} {
		h, far := newHost(t), newHost(t)
		xpub := h.socket(vtx.XPub)
		xpub.Set(zmq.ReconnectIvl, 1)
		if err := h.SetOption(xpub.P, "subscriptions", "3"); err != nil {
			t.Fatal(err)
		}
		events := h.events(xpub)
		sub := far.socket(vtx.Sub)
		endpoint := name("mem")
		if scheme == "mem" {
			far.bind(sub, endpoint)
		} else {
			endpoint = far.bound(sub, scheme)
		}
		h.connect(xpub, endpoint)
		await(t, events, vtx.EventConnected)
		for i := range 3 {
			sub.SetString(optSubscribe, fmt.Sprint(i))
			takeUp(t, xpub, sub)
		}
		sub.SetString(optSubscribe, "too many")
		sub.RecvWithin(0)
		if _, reason := await(t, events, vtx.EventDisconnected); !strings.Contains(reason, "more than 3 subscriptions") {
			t.Errorf("%s: the event says %q", scheme, reason)
		}
		sub.SetString(optUnsubscribe, "too many")
		app.Eventually(t, "the next link stays", func() bool {
			sub.RecvWithin(0)
			xpub.Send("2")
			_, err := sub.RecvWithin(time.Millisecond)
			return err == nil
		})
	}
}

// takeUp has the XPUB receive one subscription of a bound SUB, which sends them when it looks.
func takeUp(t *testing.T, xpub, sub *app.Socket) {
	t.Helper()
	app.Eventually(t, "a subscription has come", func() bool {
		sub.RecvWithin(0)
		_, err := xpub.RecvWithin(0)
		return err == nil
	})
}

// What a subscriber of the link before wanted is taken back from a publisher that connects, however much that is.
func TestAConnectingPublisherForgets(t *testing.T) {
	const count = 3000 // more than its high-water mark
	h, far := newHost(t), newHost(t)
	xpub, endpoint := h.socket(vtx.XPub), name("mem")
	xpub.Set(zmq.ReconnectIvl, 1)
	sub := far.socket(vtx.Sub)
	for i := range count {
		sub.SetString(optSubscribe, fmt.Sprint("old ", i))
	}
	far.bind(sub, endpoint)
	h.connect(xpub, endpoint)
	for range count {
		takeUp(t, xpub, sub)
	}
	sub.Forget()
	if err := far.Close(sub.P); err != nil {
		t.Fatal(err)
	}
	sub = far.socket(vtx.Sub)
	sub.SetString(optSubscribe, "new")
	far.bind(sub, endpoint)
	cancelled := 0
	app.Eventually(t, "the new one's subscription has come", func() bool {
		sub.RecvWithin(0)
		for {
			m, err := xpub.RecvWithin(0)
			switch {
			case err != nil:
				return false
			case m[0] == "\x01new":
				return true
			case m[0][0] == 0:
				cancelled++
			}
		}
	})
	if cancelled != count {
		t.Errorf("%d of %d topics were taken back before", cancelled, count)
	}
}

func TestSubscriptionsOption(t *testing.T) {
	h := newHost(t)
	for value, good := range map[string]bool{
		"0": true, "1": true, "2147483647": true, "2147483648": false, "-1": false, "": false, "many": false, "+1": false, "01": false,
	} {
		if err := h.SetOption(nil, "subscriptions", value); (err == nil) != good {
			t.Errorf("%q: %v", value, err)
		}
	}
}
