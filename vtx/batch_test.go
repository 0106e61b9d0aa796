package vtx

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/internal/zmq"
)

func frames(m Message) []string {
	var list []string
	for f := range m.Frames() {
		list = append(list, string(f))
	}
	return list
}

func TestBatch(t *testing.T) {
	long := strings.Repeat("x", 256)
	messages := [][]string{{""}, {"a", "", "b"}, {long}, {strings.Repeat("y", 255), long, ""}, {"", "body"}}
	var b Batch
	for _, m := range messages {
		var fs [][]byte
		for _, f := range m {
			fs = append(fs, []byte(f))
		}
		b.Append(fs...)
	}
	if want := []byte{0, 0, 1, 1, 'a', 1, 0, 0, 1, 'b', 2, 0, 0, 0, 0, 0, 0, 1, 0, 'x'}; !bytes.HasPrefix(b.buf, want) {
		t.Errorf("framed as % x, want % x…", b.buf[:len(want)], want)
	}
	for i, want := range messages {
		if b.Len() != len(messages)-i {
			t.Fatalf("%d messages left before number %d", b.Len(), i)
		}
		if got := frames(b.Front()); !slices.Equal(got, want) {
			t.Errorf("message %d: %q, want %q", i, got, want)
		}
		if m := b.Pop(); m.Delimited() != (len(want) > 1 && want[0] == "") {
			t.Errorf("message %d: Delimited is %v", i, m.Delimited())
		}
	}
	if b.Pop() != nil || b.Len() != 0 || b.Size() != 0 {
		t.Errorf("%d messages, %d bytes are left", b.Len(), b.Size())
	}
}

func TestAppendMessage(t *testing.T) {
	var from Batch
	from.Append([]byte("id"), nil, []byte("body"))
	for _, c := range []struct {
		skip      int
		delimiter bool
		want      []string
	}{
		{0, false, []string{"id", "", "body"}},
		{2, false, []string{"body"}},
		{2, true, []string{"", "body"}},
		{3, false, nil},
		{9, true, nil},
	} {
		var to Batch
		to.AppendMessage(from.Front(), c.skip, c.delimiter)
		if got := frames(to.Front()); !slices.Equal(got, c.want) {
			t.Errorf("skip %d, delimiter %v: %q, want %q", c.skip, c.delimiter, got, c.want)
		}
	}
}

// framed is messages, frames with | between them.
func framed(messages ...string) []byte {
	var b Batch
	for _, m := range messages {
		var body [][]byte
		for f := range strings.SplitSeq(m, "|") {
			body = append(body, []byte(f))
		}
		b.Append(body...)
	}
	return b.buf
}

// A peer's topics are a set, as in libzmq, and each frame may be a subscription.
func TestNotedTopics(t *testing.T) {
	for _, c := range []struct {
		said []string
		want string
	}{
		{[]string{"\x01a", "\x01a", "\x01b", "\x00a"}, "b"},
		{[]string{"\x00a", "\x02 not a subscription", "", "no|subscription"}, ""},
		{[]string{"\x01c|second|\x01d|", "first|\x00d"}, "c"},
		{[]string{"\x01", "\x01a"}, ",a"},
	} {
		n := notes{topics: make(topics)}
		n.topics.fromPeer(framed(c.said...))
		if got := strings.Join(slices.Sorted(maps.Keys(n.topics)), ","); got != c.want {
			t.Errorf("%q: %q, want %q", c.said, got, c.want)
		}
	}
}

// What a peer may say ends before the message that has more topics than it may have.
func TestAllowedTopics(t *testing.T) {
	for _, c := range []struct {
		limit int
		has   string
		said  []string
		want  int // messages that may be said at once
	}{
		{0, "", []string{"\x01a", "\x01b", "\x01c"}, 3},
		{2, "", []string{"\x01a", "\x01b", "\x01c"}, 2},
		{2, "a,b", []string{"\x01a", "\x01b", "\x00c", "words", "\x01c"}, 4},
		{2, "a,b", []string{"\x01c"}, 0},
		{2, "a", []string{"\x01b|\x01c"}, 0},
		{2, "a", []string{"\x01a|\x01c|more"}, 1},
	} {
		n := notes{topics: make(topics), limit: c.limit}
		for topic := range strings.SplitSeq(c.has, ",") {
			if topic != "" {
				n.topics.add([]byte(topic))
			}
		}
		if got, want := n.allowed(framed(c.said...)), len(framed(c.said[:c.want]...)); got != want {
			t.Errorf("limit %d, %q and then %q: %d bytes, want %d", c.limit, c.has, c.said, got, want)
		}
	}
}

// A link that delivers when it is over must not reach a pipe that serves somebody else by then.
func TestClosedSinkTakesNothing(t *testing.T) {
	k := newSink(&Socket{}, nil, nil, nil)
	k.close()
	var b Batch
	b.Append([]byte("too late"))
	if err := k.TryDeliver(&b); err == nil || b.Len() != 1 {
		t.Errorf("TryDeliver: %v, %d messages left", err, b.Len())
	}
	if err := k.Deliver(&b); err == nil || b.Len() != 0 {
		t.Errorf("Deliver: %v, %d messages left", err, b.Len())
	}
}

// A user and a password are refused before any driver sees them, and no error shows them; an @ may stand elsewhere.
func TestNoUserInEndpoints(t *testing.T) {
	for endpoint, good := range map[string]bool{
		"tcp://alice:geheim@h:1": false, "tcp://:geheim@h:1": false, "x://a:gehe@im@h": false, "x://a:geheim@h/p": false,
		"ipc://@name": true, "ipc:///tmp/a:b@c": true, "ipc://a@b": true, "ipc://@a:b": true, "x://h:1?p=a:b@c": true,
	} {
		_, err := ParseEndpoint(endpoint)
		if (err == nil) != good || err != nil && strings.Contains(err.Error(), "im@") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

// A path may have any characters but those that nobody sees, a host may not.
func TestCharactersInEndpoints(t *testing.T) {
	for endpoint, good := range map[string][2]bool{
		"ipc:///tmp/a space": {true, false}, "ipc://@ü": {true, false}, "ipc:///tmp/\xff": {true, false}, "ipc://a\tb": {}, "ipc://a\x7f": {},
		"tcp://a b:1": {true, false}, "tcp://ü:1": {true, false}, "tcp://a:1": {true, true},
	} {
		e, err := ParseEndpoint(endpoint)
		if (err == nil) != good[0] {
			t.Errorf("%q: %v", endpoint, err)
		}
		if err != nil {
			continue
		}
		if _, _, err := e.HostPort(); (err == nil) != good[1] {
			t.Errorf("%q, host and port: %v", endpoint, err)
		}
	}
}

func FuzzParseEndpoint(f *testing.F) {
	for _, s := range []string{"udp://*:32000", "udp://", "udp://[::1%lo]:5?udp.timeout=5", "a://b?c=%41&d=", "://", "tcp:/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseEndpoint(s)
		if err != nil {
			return
		}
		if again, err := ParseEndpoint(e.String()); err != nil || again.Address != e.Address || again.Scheme != e.Scheme {
			t.Errorf("%q is %q, which is %q, %v", s, e, again, err)
		}
		if host, port, err := e.HostPort(); err == nil && (port < 0 || port > 65535 || len(host) > len(s)) {
			t.Errorf("%q: host %q, port %d", s, host, port)
		}
	})
}

// What is left of a batch whose link has gone is in one piece, and its memory is given back with it.
func TestAbandon(t *testing.T) {
	poller, err := zmq.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(poller.Close)
	c := app.NewContext(t)
	in, err := zmq.Open(c.P, zmq.TypePull, poller)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	push, endpoint := c.Socket(t, int(Push)), newInproc()
	if err := in.Bind(endpoint); err != nil {
		t.Fatal(err)
	}
	push.Native(false, endpoint)
	body := strings.Repeat("large", 1<<18)
	before := arena.Taken()
	for _, written := range []int{0, 3} { // before the first message, and in its middle
		buf, err := arena.Get(1 << 18) // C's
		if err != nil {
			t.Fatal(err)
		}
		b := Batch{buf: buf}
		push.Send("left")
		push.Send(body)
		for !b.large.Full() {
			buf, n, _, err := in.RecvLarge(b.buf, &b.large)
			if err != nil {
				t.Fatal(err)
			}
			b.buf, b.n = buf, b.n+n
		}
		b.wrote(written)
		if lost := b.abandon(); lost != 0 {
			t.Errorf("%d lost", lost)
		}
		if written == 0 {
			b.Pop()
		}
		if got := frames(b.Pop()); len(got) != 1 || got[0] != body || b.Len() != 0 {
			t.Errorf("%d bytes written: the large message is another", written)
		}
		b.Release()
	}
	if taken := arena.Taken() - before; taken != 0 {
		t.Errorf("%d bytes are not given back", taken)
	}
}

// A large message for which there is no memory goes, and nothing else.
func TestDropLast(t *testing.T) {
	b := Batch{buf: framed("taken", "first", "second"), n: 3}
	b.Pop()
	b.buf = append(b.buf, 2, 0, 0, 0, 0, 0, 1, 0, 0) // the head of one
	b.n++
	b.dropLast()
	if got := frames(b.Pop()); got[0] != "first" {
		t.Errorf("%q", got)
	}
	if got := frames(b.Pop()); got[0] != "second" || b.Len() != 0 || b.Size() != 0 {
		t.Errorf("%q, and %d bytes more", got, b.Size())
	}
}
