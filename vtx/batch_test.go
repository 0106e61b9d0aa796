package vtx

import (
	"bytes"
	"slices"
	"strings"
	"testing"
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

// A peer's one cancellation takes back all its subscriptions to the topic, as a set would, though XSUB counts.
func TestSubscriptionTable(t *testing.T) {
	table := make(subscriptions)
	told := func(say func(out *teller)) []string {
		pipe := new(listener)
		out := &teller{batch: new(Batch), pipe: pipe}
		say(out)
		if err := out.end(); err != nil {
			t.Fatal(err)
		}
		return pipe.heard
	}
	for _, c := range []struct {
		in   string // frames, with | between them
		want []string
	}{
		{"\x01a", []string{"\x01a"}},
		{"\x01a", []string{"\x01a"}},
		{"\x00a", []string{"\x00a", "\x00a"}},
		{"\x00a", nil},
		{"\x01b", []string{"\x01b"}},
		{"\x01b", []string{"\x01b"}},
		{"\x02 not a subscription", []string{"\x02 not a subscription"}},
		{"", []string{""}},
		{"no|subscription", []string{"no|subscription"}},
		{"\x01c|second|\x01d|", []string{"\x01c", "\x01d", "second|"}},
		{"first|\x00d", []string{"\x00d", "first"}},
		{"first|\x00d", []string{"first"}},
	} {
		var in Batch
		var body [][]byte
		for f := range strings.SplitSeq(c.in, "|") {
			body = append(body, []byte(f))
		}
		in.Append(body...)
		if got := told(func(out *teller) { table.fromPeer(in.Pop(), out) }); !slices.Equal(got, c.want) {
			t.Errorf("%q: told %q, want %q", c.in, got, c.want)
		}
	}
	if got := told(table.cancelAll); len(got) != 3 || len(table) != 0 {
		t.Errorf("%q told, %d topics left", got, len(table))
	}
}

// A million subscriptions to the same topic are taken back without so many cancellations waiting in memory.
func TestManyCancellationsAtOnce(t *testing.T) {
	const count = 1_000_000
	topic := strings.Repeat("t", 200)
	pipe := new(listener)
	out := teller{batch: new(Batch), pipe: pipe}
	subscriptions{topic: count}.cancelAll(&out)
	if err := out.end(); err != nil || out.messages != count {
		t.Errorf("%d cancellations, %v", out.messages, err)
	}
	if pipe.longest > 2*tellAtOnce {
		t.Errorf("%d bytes at once", pipe.longest)
	}
}

// listener is a pipe that notes what it is told.
type listener struct {
	pipeEnd
	heard   []string // the first hundred
	longest int      // bytes of a batch
}

func (l *listener) Send(buf []byte) (taken, messages int, err error) {
	l.longest = max(l.longest, len(buf))
	rest := Batch{buf: buf}
	for ; rest.off < len(buf); messages++ {
		rest.n = 1
		if m := rest.Pop(); len(l.heard) < 100 {
			l.heard = append(l.heard, strings.Join(frames(m), "|"))
		}
	}
	return len(buf), messages, nil
}

// A link that delivers when it is over must not reach a pipe that serves somebody else by then.
func TestClosedSinkTakesNothing(t *testing.T) {
	k := newSink(&Socket{}, nil, nil)
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
