package interop

import (
	"context"
	"errors"
	"io"
	"log"
	"strings"
	"testing"
	"time"

	"github.com/go-zeromq/zmq4"
	"github.com/go-zeromq/zmq4/security/plain"
	"github.com/libvtx/libvtx/vtx"
)

// gozmq is the pure Go github.com/go-zeromq/zmq4: a ZMTP 3.0 that shares nothing with libzmq.
type gozmq struct{}

func (gozmq) name() string { return "go-zeromq" }

func (gozmq) lacks(what string) string {
	switch what {
	case "routing_id", "plain_username", "plain_password", "plain_server":
		return ""
	case counts:
		return "its SUB does not count"
	case tellsSubs:
		return "its XPUB keeps subscriptions to itself"
	case answers:
		return "it does not answer heartbeats"
	case upstream:
		return "its XPUB keeps them to itself"
	}
	if _, isOption := optionNumbers[what]; isOption {
		return "it has no such option: " + what
	}
	return ""
}

var gozmqTypes = map[vtx.SocketType]func(context.Context, ...zmq4.Option) zmq4.Socket{
	vtx.Pair: zmq4.NewPair, vtx.Pub: zmq4.NewPub, vtx.Sub: zmq4.NewSub, vtx.Req: zmq4.NewReq, vtx.Rep: zmq4.NewRep,
	vtx.Dealer: zmq4.NewDealer, vtx.Router: zmq4.NewRouter, vtx.Pull: zmq4.NewPull, vtx.Push: zmq4.NewPush,
	vtx.XPub: zmq4.NewXPub, vtx.XSub: zmq4.NewXSub,
}

func (gozmq) open(t testing.TB, typ vtx.SocketType, o options) socket {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	opts := []zmq4.Option{
		zmq4.WithDialerRetry(10 * time.Millisecond), zmq4.WithDialerMaxRetries(-1), zmq4.WithAutomaticReconnect(true),
		zmq4.WithLogger(log.New(io.Discard, "", 0)),
	}
	if id := o["routing_id"]; id != "" {
		opts = append(opts, zmq4.WithID(zmq4.SocketIdentity(id)))
	}
	if o["plain_username"] != "" || o["plain_server"] != "" {
		opts = append(opts, zmq4.WithSecurity(plain.Security(o["plain_username"], o["plain_password"])))
	}
	s := &gozmqSocket{Socket: gozmqTypes[typ](ctx, opts...), typ: typ, cancel: cancel, received: make(chan zmq4.Msg)}
	s.ctx = ctx
	t.Cleanup(s.close)
	return s
}

type gozmqSocket struct {
	zmq4.Socket
	typ      vtx.SocketType
	ctx      context.Context
	cancel   context.CancelFunc
	received chan zmq4.Msg
	asked    bool // a message of the socket, so that received will get one
}

func (s *gozmqSocket) bind(endpoint string) error { return s.Listen(endpoint) }

// connect does not wait, unlike Dial.
func (s *gozmqSocket) connect(endpoint string) error {
	go s.Dial(endpoint)
	return nil
}

func (s *gozmqSocket) subscribe(topic string) error {
	if s.typ == vtx.XSub {
		go s.send("\x01" + topic) // it waits for a peer
		return nil
	}
	return s.SetOption(zmq4.OptionSubscribe, topic)
}

func (s *gozmqSocket) unsubscribe(topic string) error {
	if s.typ == vtx.XSub {
		return s.send("\x00" + topic)
	}
	return s.SetOption(zmq4.OptionUnsubscribe, topic)
}

// send tries until there is a peer: the library's REQ, REP and ROUTER do not wait for one.
func (s *gozmqSocket) send(frames ...string) error {
	var parts [][]byte
	for _, f := range frames {
		parts = append(parts, []byte(f))
	}
	for {
		err := s.Socket.Send(zmq4.NewMsgFrom(parts...))
		if err == nil || !strings.Contains(err.Error(), "no connections available") || s.ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// recv leaves a Recv running when the time is up, and takes its message the next time.
func (s *gozmqSocket) recv(within time.Duration) ([]string, error) {
	if !s.asked {
		s.asked = true
		go func() {
			for {
				// An error is the end of some connection, as which there may be others
				if m, err := s.Recv(); err == nil {
					s.received <- m
					return
				} else if s.ctx.Err() != nil {
					return
				}
			}
		}()
	}
	select {
	case m := <-s.received:
		s.asked = false
		var frames []string
		for _, f := range m.Frames {
			frames = append(frames, string(f))
		}
		return frames, m.Err()
	case <-time.After(within):
		return nil, errNothing
	}
}

func (s *gozmqSocket) close() {
	s.cancel()
	if err := s.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return
	}
}
