package vtx_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// enough events have been seen: a peer that comes again and again makes more of the same.
const enough = 50

// awaitNasty receives events until one shows the nasty text, and wants all to be printable.
func awaitNasty(t *testing.T, events *app.Socket) {
	t.Helper()
	for range enough {
		m := events.Recv()
		for _, frame := range m[1:] {
			app.Printable(t, frame)
		}
		if len(m) > 2 && strings.Contains(m[2], app.NastyShown) {
			return
		}
	}
	t.Fatal("no event shows the text")
}

func property(name, value string) string {
	return string(rune(len(name))) + name + "\x00\x00\x00" + string(rune(len(value))) + value
}

// Whatever a peer says of itself, and of us, events show it quoted.
func TestNastyTextIsQuoted(t *testing.T) {
	greeting := string(rawGreeting("NULL"))
	ready := "\x05READY" + property("Socket-Type", "DEALER")
	command := func(body string) string { return string(rawFrame(4, body)) }
	refusal := command("\x05ERROR" + string(rune(len(app.Nasty))) + app.Nasty)
	hello := string(rawGreeting("PLAIN")) + command("\x05HELLO"+string(rune(len(app.Nasty)))+app.Nasty+"\x01p")
	for what, c := range map[string]struct {
		say    string
		set    func(*app.Socket)
		answer [3]string // the ZAP handler's status, text and user
	}{
		"mechanism":           {say: string(rawGreeting(app.Nasty))},
		"command":             {say: greeting + command("\x0c"+app.Nasty)},
		"command under PLAIN": {say: string(rawGreeting("PLAIN")) + command("\x0c"+app.Nasty), set: plainServer},
		"socket type":         {say: greeting + command("\x05READY"+property("Socket-Type", app.Nasty))},
		"property":            {say: greeting + command(ready+property(app.Nasty, "value"))},
		"cut property":        {say: greeting + command(ready+"\x0c"+app.Nasty+"\x00\x00\x00\x09")},
		"refusal":             {say: greeting + refusal},
		"refusal afterwards":  {say: greeting + command(ready) + refusal},
		"ZAP status":          {say: hello, set: plainServer, answer: [3]string{app.Nasty, "no", ""}},
		"ZAP text":            {say: hello, set: plainServer, answer: [3]string{"400", app.Nasty, ""}},
		"user": {say: hello + command("\x08INITIATE"+property("Socket-Type", "DEALER")), set: plainServer,
			answer: [3]string{"200", "yes", app.Nasty}},
	} {
		t.Run(what, func(t *testing.T) {
			x := newTarget(t, c.set)
			if c.answer[0] != "" {
				zapHandler(t, x.h, func([]string) (status, text, user string) { return c.answer[0], c.answer[1], c.answer[2] })
			}
			conn := x.dial()
			conn.Write([]byte(c.say))
			awaitNasty(t, x.events)
		})
	}
}

// So do the events of the end that connects.
func TestNastyServerIsQuoted(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Write(append(rawGreeting("NULL"), rawFrame(4, "\x05ERROR\x0c"+app.Nasty)...))
			conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-served })
	h := newHost(t)
	dealer := h.socket(vtx.Dealer)
	dealer.Set(zmq.ReconnectIvl, 20)
	events := h.events(dealer)
	h.connect(dealer, "loop://"+ln.Addr().String())
	awaitNasty(t, events)
}

// rude is somebody else's driver, which tells what it hears as it comes.
type rude struct{}

func (rude) Scheme() string                               { return "rude" }
func (rude) Options() []vtx.OptionSpec                    { return nil }
func (rude) Listen(cfg *vtx.Config) (net.Listener, error) { return nil, vtx.ErrNotSupported }

func (rude) Dialer(cfg *vtx.Config) (vtx.StreamDialer, error) {
	return func(context.Context) (net.Conn, error) {
		cfg.Report.Event(vtx.Event{Kind: vtx.EventRefused, Endpoint: "rude://" + app.Nasty, Reason: "a"})
		return nil, errors.Join(errors.New(app.Nasty+strings.Repeat("x", 1<<20)), errors.New("b"))
	}, nil
}

var registerRude = sync.OnceFunc(func() { vtx.RegisterStream(rude{}) })

// What such a driver tells is put on one printable line; the endpoints that it makes up too.
func TestEventsAreLines(t *testing.T) {
	registerRude()
	h := newHost(t)
	s := h.socket(vtx.Dealer)
	events := h.events(s)
	h.connect(s, "rude://x")
	endpoint, line := false, false
	for i := 0; i < enough && !(endpoint && line); i++ {
		m := events.Recv()
		for _, frame := range m[1:] {
			if len(frame) > 4096 {
				frame = frame[:4096]
			}
			app.Printable(t, frame)
		}
		endpoint = endpoint || strings.HasPrefix(m[1], `rude://\x1b[2J; ok`)
		if len(m) > 2 && strings.Contains(m[2], `\x1b[2J; ok\x9b\u202e\a`) {
			line = true
			if len(m[2]) > 4096 {
				t.Errorf("a line of %d bytes", len(m[2]))
			}
		}
	}
	if !endpoint || !line {
		t.Errorf("the endpoint was shown: %v, the line: %v", endpoint, line)
	}
}
