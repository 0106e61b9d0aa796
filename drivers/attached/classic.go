package attached

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// classic is the data pipe of an endpoint whose driver does all routing itself, as those of the original VTX do: one
// socket of the driver's, for all peers. The application's socket is a real one nevertheless, so the messages are
// changed on the way:
//
//	application  to the driver                      from the driver
//	REQ          without its envelope               with the envelope of the last request
//	REP          without the delimiter              with a delimiter
//	ROUTER       behind the peer's identity         the identity is taken off, and says whose pipe it is
//	SUB, XSUB    nothing                            filtered in the application's socket
//	others       as they are                        as they are
//
// An identity is the driver's name for a peer, scheme://address. The application sees it with the engine's number.
type classic struct {
	e      *endpoint
	data   *zmq.Socket // DEALER, bound to inproc://<vtxname>
	closed chan struct{}
	once   sync.Once

	refused chan struct{} // signalled: the engine had no use for the only link

	sending sync.Mutex // one link at a time

	mu       sync.Mutex
	envelope [][]byte      // REQ: what was taken off the last request
	left     []string      // ROUTER: the driver says that they have gone
	leaving  chan struct{} // signalled: there is something in left

	uses  atomic.Int64            // a clock for classicLink.used
	links map[string]*classicLink // by identity; "": the only one. The receiving goroutine's
}

func newClassic(e *endpoint) (*classic, error) {
	data, err := e.d.m.OpenBridge(zmq.TypeDealer, "inproc://"+e.vtxname, bridgeHWM)
	if err != nil {
		return nil, err
	}
	return &classic{
		e: e, data: data, closed: make(chan struct{}), refused: make(chan struct{}, 1), leaving: make(chan struct{}, 1),
		links: make(map[string]*classicLink),
	}, nil
}

// connected says whether the driver has connected its socket.
func (c *classic) connected() bool { return c.data.CanSend() }

func (c *classic) start() {
	if !c.sorted() {
		c.link("")
	}
	go c.receive()
}

// sorted says whether there is a link for each identity, and not one for all.
func (c *classic) sorted() bool { return c.e.cfg.Type == vtx.Router && c.e.command == cmdBind }

func (c *classic) close() {
	c.once.Do(func() {
		close(c.closed)
		c.e.d.m.CloseBridge(c.data)
	})
}

// maxIdentities is how many peers of a ROUTER have a link. The driver need not say that one has gone, so the one that was
// longest silent makes room for the next.
const maxIdentities = 300

var (
	errLeft   = errors.New("the driver says that the peer has gone")
	errSilent = errors.New("it was silent, and there are others")
)

// link finds the link of an identity, or offers the engine a new one.
func (c *classic) link(identity string) *classicLink {
	l := c.links[identity]
	if l != nil && !l.over() {
		return l
	}
	if len(c.links) >= maxIdentities {
		c.makeRoom()
	}
	l = &classicLink{
		c: c, identity: identity, closed: make(chan struct{}),
		started: make(chan struct{}), done: make(chan struct{}), flushed: make(chan struct{}),
	}
	c.links[identity] = l
	c.e.offer(l)
	return l
}

// makeRoom forgets the links that are over, and ends the one that was longest unused. nil: there is none.
func (c *classic) makeRoom() (ended *classicLink) {
	for identity, l := range c.links {
		switch {
		case l.over():
			delete(c.links, identity)
		case ended == nil || l.used.Load() < ended.used.Load():
			ended = l
		}
	}
	if ended != nil {
		delete(c.links, ended.identity)
		ended.end(errSilent)
	}
	return ended
}

// part notes that a peer has gone. What came from it first is delivered first.
func (c *classic) part(identity string) {
	c.mu.Lock()
	c.left = append(c.left, identity)
	c.mu.Unlock()
	select {
	case c.leaving <- struct{}{}:
	default:
	}
}

// endLeft ends the links of those who have gone.
func (c *classic) endLeft() {
	c.mu.Lock()
	left := c.left
	c.left = nil
	c.mu.Unlock()
	for _, identity := range left {
		if l := c.links[identity]; l != nil && c.sorted() {
			delete(c.links, identity)
			l.end(errLeft)
		}
	}
}

// retryPause is between two offers of a link that the engine refuses. What is connected, it pauses for itself.
const retryPause = time.Second

// receive gives each message to its link.
func (c *classic) receive() {
	ended, leaving := false, false
	var retry <-chan time.Time
	var batch vtx.Batch
	defer func() { batch.Release() }()
	for {
		n, err := batch.Receive(c.data)
		if err != nil && !errors.Is(err, syscall.ENOMEM) {
			c.end(err)
			return
		}
		c.spent(err)
		for m := batch.Pop(); m != nil; m = batch.Pop() {
			if err := c.claim(m); err != nil {
				c.spent(err)
				continue
			}
			c.deliver(m)
		}
		if n > 0 || err != nil {
			continue
		}
		if leaving {
			c.endLeft()
			leaving = false
		}
		if ended {
			c.end(c.e.d.gone())
			return
		}
		select {
		case <-c.data.Readable():
		case <-c.e.d.ended:
			ended = true // its last messages may be there
		case <-c.leaving:
			leaving = true // likewise
		case <-c.refused:
			if c.e.command == cmdConnect {
				c.link("")
			} else {
				retry = time.After(retryPause)
			}
		case <-retry:
			c.link("")
		case <-c.closed:
			c.end(errUnused)
			return
		}
	}
}

func (c *classic) end(err error) {
	for _, l := range c.links {
		l.end(err)
	}
}

// claimFrom is from how many bytes on it is asked first whether there is memory for a copy of a message.
const claimFrom = 64 << 10

func (c *classic) claim(m vtx.Message) error {
	if len(m) < claimFrom {
		return nil
	}
	return arena.Claim(len(m))
}

// spent tells of a message that is lost because there is no memory for it. Which peer sent it, the driver knows.
func (c *classic) spent(err error) {
	if err == nil {
		return
	}
	c.e.cfg.Report.Drop(vtx.DropTooBig, 1)
	c.e.cfg.Report.Event(vtx.Event{Kind: vtx.EventRefused, Value: uint32(syscall.ENOMEM), Endpoint: c.e.String(),
		Reason: "a message was more than there is memory for: " + err.Error()})
}

// deliver hands a message of the driver's to the application.
func (c *classic) deliver(m vtx.Message) {
	var b vtx.Batch
	l := c.links[""]
	if !c.sorted() && l.refused() {
		l = c.link("")
	}
	switch c.e.cfg.Type {
	case vtx.Req:
		var frames [][]byte
		c.mu.Lock()
		frames = append(frames, c.envelope...)
		c.mu.Unlock()
		for f := range m.Frames() {
			frames = append(frames, f)
		}
		b.Append(frames...)
	case vtx.Rep:
		b.AppendMessage(m, 0, true)
	case vtx.Router:
		if c.sorted() {
			l = c.link(first(m))
		}
		b.AppendMessage(m, 1, false)
	default:
		b.AppendMessage(m, 0, false)
	}
	l.used.Store(c.uses.Add(1))
	taken := l.taken()
	if !taken && c.sorted() && l.over() && errors.Is(l.err, vtx.ErrTooMany) {
		delete(c.links, l.identity)
		if silent := c.makeRoom(); silent != nil {
			select {
			case <-silent.closed:
			case <-c.e.closed:
			}
			l = c.link(l.identity)
			taken = l.taken()
		}
	}
	if taken {
		l.sink.Deliver(&b) // an error means that the engine is about to close the link
	} else {
		c.e.cfg.Report.Drop(vtx.DropStray, b.Len())
	}
}

func first(m vtx.Message) string {
	for f := range m.Frames() {
		return string(f)
	}
	return ""
}

// fromApplication adds a message of the application's to what goes to the driver.
func (c *classic) fromApplication(b *vtx.Batch, m vtx.Message, identity string) {
	switch c.e.cfg.Type {
	case vtx.Req:
		var envelope [][]byte
		skip := 0
		for f := range m.Frames() { // with ZMQ_REQ_CORRELATE, there is a number before the delimiter
			envelope = append(envelope, append([]byte(nil), f...))
			if skip++; len(f) == 0 {
				break
			}
		}
		c.mu.Lock()
		c.envelope = envelope
		c.mu.Unlock()
		b.AppendMessage(m, skip, false)
	case vtx.Rep:
		skip := 0
		if m.Delimited() {
			skip = 1
		}
		b.AppendMessage(m, skip, false)
	case vtx.Router:
		frames := [][]byte{[]byte(identity)}
		for f := range m.Frames() {
			frames = append(frames, f)
		}
		b.Append(frames...)
	case vtx.Sub, vtx.XSub:
	default:
		b.AppendMessage(m, 0, false)
	}
}

// classicLink is the engine's view of the data pipe: of all of it, or for a ROUTER of one identity.
type classicLink struct {
	c        *classic
	identity string
	sink     vtx.Sink
	used     atomic.Int64 // when: see classic.uses
	started  chan struct{}
	closed   chan struct{} // by the engine
	flushed  chan struct{}

	once      sync.Once
	done      chan struct{}
	err       error
	closeOnce sync.Once
}

// Peer implements vtx.Link. The address of a crowd is nobody's: who sent last, the driver knows.
func (l *classicLink) Peer() vtx.Peer {
	return vtx.Peer{Address: strings.TrimPrefix(l.identity, l.c.e.d.scheme+"://"), Type: vtx.TypeUnknown}
}

// Start implements vtx.Link.
func (l *classicLink) Start(sink vtx.Sink) {
	l.sink = sink
	l.c.e.started()
	close(l.started)
}

// Send implements vtx.Link.
func (l *classicLink) Send(b *vtx.Batch) error {
	c := l.c
	identity := l.identity
	if c.e.command == cmdConnect {
		identity = c.e.cfg.Endpoint.String()
	}
	l.used.Store(c.uses.Add(1))
	c.sending.Lock()
	defer c.sending.Unlock()
	var out vtx.Batch
	for m := b.Pop(); m != nil; m = b.Pop() {
		c.fromApplication(&out, m, identity)
	}
	for out.Len() > 0 {
		err := out.Offer(c.data.Send)
		if err == nil && out.Len() > 0 {
			select {
			case <-c.data.Writable():
				continue
			case <-l.done:
				err = l.err
			case <-c.e.d.ended:
				err = c.e.d.gone()
			}
		}
		if err != nil {
			c.e.cfg.Report.Drop(vtx.DropUnsent, out.Len())
			return err
		}
	}
	return nil
}

// Done implements vtx.Link.
func (l *classicLink) Done() <-chan struct{} { return l.done }

// Err implements vtx.Link.
func (l *classicLink) Err() error {
	if l.over() {
		return l.err
	}
	return nil
}

func (l *classicLink) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// refused says whether the engine had no use for the link.
func (l *classicLink) refused() bool {
	select {
	case <-l.started:
		return false
	default:
		return l.over()
	}
}

// taken waits until the engine has started the link, or refused it, or will do neither.
func (l *classicLink) taken() bool {
	select {
	case <-l.started:
		return true
	default:
	}
	select {
	case <-l.started:
		return true
	case <-l.done:
	case <-l.c.e.closed:
	case <-l.c.closed:
	}
	return false
}

func (l *classicLink) end(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.done)
	})
}

// Flushed implements vtx.Flusher: the driver has answered UNBIND or DISCONNECT, before which it is to send all.
func (l *classicLink) Flushed() <-chan struct{} { return l.flushed }

// Close implements vtx.Link. An only link that is refused is offered again.
func (l *classicLink) Close(reason error) {
	l.closeOnce.Do(func() {
		if reason == nil {
			reason = errUnused
		}
		alive := !l.over()
		l.end(reason)
		close(l.closed)
		select {
		case <-l.started:
			l.c.e.stopped(alive)
			go func() {
				<-l.c.e.final
				close(l.flushed)
			}()
		default:
			close(l.flushed)
			if !l.c.sorted() {
				select {
				case l.c.refused <- struct{}{}:
				default:
				}
			}
		}
	})
}
