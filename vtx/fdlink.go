package vtx

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/internal/arena"
	"github.com/libvtx/libvtx/internal/zmq"
)

// fdLink is a Link over a stream socket of the operating system (tcp, ipc). The manager's polling thread does all
// of it, as libzmq's I/O thread does: it reads when there is something to read, and writes when the pipe has
// something to write or the socket has room again. No call of its own waits.
type fdLink struct {
	*zmtpLink
	fd     int
	poller *zmq.Poller
	shield *shield // over the socket's bytes, or nil; used with writing held

	// The inbound way; on the polling thread only.
	sink   *sink
	in     inbox
	rest   Batch     // decoded, and waiting for the application
	large  zmq.Large // then, a body that is read to where it stays
	prefix []byte    // the frames before it
	sealed bool      // it is not open yet
	soon   soon      // pull will be called
	again  bool      // there may be more to decode in what has been read
	empty  bool      // the socket has nothing more to read until it says so
	last   bool      // the peer has gone: what is left to read will not be announced
	ended  error     // to be told when rest is delivered
	gone   bool      // the descriptor is not to be read any more

	writing sync.Mutex // guards what follows
	wire    []byte     // encoded and protected, and not yet written from written on
	clear   []byte     // for what is not yet protected
	written int
	midway  bool // the last batch's first message has been written in part
	blocked bool // the socket had no room
	broken  error

	leave    sync.Once              // to part
	room     atomic.Pointer[func()] // called when a blocked socket has room
	writable chan struct{}          // signalled then
}

// takeDescriptor makes a descriptor of conn's stream that the Go runtime knows nothing of, and closes conn. A
// descriptor in the runtime's own poller would wake a thread of the runtime's at every message.
func takeDescriptor(conn net.Conn) (fd int, ok bool) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	failed := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if failed != nil || err != nil {
		return 0, false
	}
	conn.Close()
	return fd, true
}

func newFDLink(z *zmtpLink, fd int, s *shield) *fdLink {
	k := &fdLink{zmtpLink: z, fd: fd, poller: z.cfg.m.poller, shield: s, writable: make(chan struct{}, 1)}
	k.owner = k
	if s != nil {
		s.carrier.link = k
	}
	k.in.begin(k.session.Rest())
	k.again = true // even with nothing there: a ZMTP 1.0 subscriber's subscription is not on the wire
	return k
}

// Start implements Link.
func (k *fdLink) Start(s Sink) {
	k.started.Store(true)
	k.sink = s.(*sink) // the engine is the only one that knows of this link
	k.writing.Lock()
	k.encode(func(wire []byte) []byte { return append(wire, k.session.Final()...) })
	k.push(nil)
	k.writing.Unlock()
	k.sink.Room(func() {
		if k.beat.blocked.Load() {
			k.pull()
		}
	})
	if err := k.poller.WatchStream(k.fd, k.ready); err != nil {
		k.Close(err)
		return
	}
	k.startHeartbeat()
	k.pullLater()
}

// ready is called by the polling thread when the socket has news.
func (k *fdLink) ready(events uint32) {
	if events&zmq.CanWrite != 0 {
		k.unblock()
	}
	if events&zmq.CanRead != 0 {
		k.empty = false
		if k.shield != nil {
			k.shield.carrier.empty = false
		}
		k.last = k.last || events&zmq.HasEnded != 0
		k.pull()
	}
}

// pullTurns is how many reads one link gets before it is the others' turn.
const pullTurns = 4

// pull reads and delivers, until nothing is there or the application takes no more.
func (k *fdLink) pull() {
	for range pullTurns {
		if k.gone || !k.deliver() {
			return
		}
		if !k.again && !k.read() {
			return
		}
		k.decode()
	}
	k.pullLater()
}

// pullLater has pull called when the others have had their turn.
func (k *fdLink) pullLater() { k.soon.call(k.poller, k.pull) }

// read reads once; false: there is nothing now, or never again.
func (k *fdLink) read() bool {
	if k.empty {
		if k.in.size() == 0 {
			k.in.release()
		}
		return false
	}
	body, err := k.large.Room()
	var room []byte
	if err == nil {
		room, err = k.in.room(0)
	}
	if err != nil {
		k.end(k.noMemory(err))
		k.release()
		return false
	}
	switch lacks := k.large.Lacks(); {
	case len(body) < lacks: // what comes behind that is the body's, too
		room = nil
	case lacks > 0:
		room = room[:min(len(room), besideLarge)]
	}
	n, full, err := k.readSome(body, room)
	switch {
	case err == unix.EAGAIN:
		k.empty = true
		return k.read()
	case n == 0:
		if err == nil {
			err = io.EOF
		}
		k.end(k.lost(err))
		return false
	}
	k.empty = !full && !k.last // a stream that gives less than was asked for has no more
	k.large.Add(min(n, len(body)))
	k.in.add(max(n-len(body), 0))
	k.beat.hear()
	return true
}

// readSome is readNow through the shield, where there is one.
func (k *fdLink) readSome(p, q []byte) (n int, full bool, err error) {
	if k.shield == nil {
		return readNow(k.fd, p, q)
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	n, full, err = k.shield.read(p, q)
	if len(k.wire) > 0 && !k.blocked { // the protection itself had something to say
		k.push(nil)
	}
	return n, full, err
}

// decode takes what can be understood of what has been read.
func (k *fdLink) decode() {
	if k.large.Full() { // first things first
		k.again = false // what there is to decode is behind it, and it has to be read
		if k.sealed && k.large.Lacks() == 0 {
			k.openLarge()
		}
		return
	}
	d, err := k.session.Decode(k.in.bytes())
	k.rest = Batch{buf: d.Messages, n: d.Count}
	k.in.take(d.Used)
	k.again = d.Control != 0
	if err != nil {
		k.ended = k.malformed(err)
	} else if err := k.control(&d); err != nil {
		k.ended = err
	} else if d.Need > zmq.LargeBody && k.sink.takesLarge() {
		k.beginLarge()
	}
}

// besideLarge is how much is read behind a large body with it, in bytes: the head of the next one, at least.
const besideLarge = 8 << 10

// beginLarge has a large body, of which the beginning has come, read to where it is to stay.
func (k *fdLink) beginLarge() {
	in := k.in.bytes()
	l, ok := k.session.TakeLarge(in, zmq.LargeBody)
	if !ok {
		return
	}
	err := k.large.Begin(l.Front, l.Size-l.Front)
	if err == nil {
		err = k.large.Fill(in[l.Begin:])
	}
	if err != nil {
		k.ended = k.noMemory(err)
		return
	}
	k.prefix, k.sealed = append(k.prefix[:0], in[:l.Prefix]...), l.Sealed
	k.in.take(len(in))
}

// openLarge opens what has come. If it is not the end of a message the session keeps it, for the next decode.
func (k *fdLink) openLarge() {
	prefix, whole, err := k.session.OpenLarge(k.large.Memory())
	k.prefix, k.sealed = append(k.prefix[:0], prefix...), false
	if err != nil {
		k.ended = k.malformed(err)
	}
	if !whole {
		k.large.Free()
		k.again = true
	}
}

// deliver hands over what is decoded; false: not all of it, or it was the last.
func (k *fdLink) deliver() bool {
	if k.rest.Len() > 0 {
		if err := k.sink.TryDeliver(&k.rest); err != nil {
			k.undelivered(err)
			return false
		}
		if k.rest.Len() > 0 {
			k.beat.block()
			return false
		}
		k.beat.unblock()
	}
	if k.large.Full() && k.large.Lacks() == 0 && !k.sealed {
		taken, err := k.sink.TryDeliverLarge(k.prefix, &k.large)
		if err != nil {
			k.undelivered(err)
			return false
		}
		if !taken {
			k.beat.block()
			return false
		}
		k.beat.unblock()
		k.again = true
	}
	if k.ended != nil {
		k.end(k.ended)
		return false
	}
	return true
}

// undelivered ends the link where it is its peer's fault that nothing can be delivered. Otherwise the peering is ending.
func (k *fdLink) undelivered(err error) {
	if errors.Is(err, syscall.ENOMEM) {
		k.end(k.noMemory(err))
		k.release()
	}
}

// release gives the inbound memory back: nothing is read any more.
func (k *fdLink) release() {
	k.gone = true
	k.rest = Batch{}
	k.large.Free()
	k.in.release()
	k.session.Release()
}

// Close implements Link.
func (k *fdLink) Close(reason error) {
	if reason == nil {
		reason = errClosing
	}
	k.end(reason)
	if !k.started.Swap(true) {
		k.writing.Lock()
		k.encode(func(wire []byte) []byte { return append(wire, k.goodbye(reason)...) })
		k.writing.Unlock()
		k.leave.Do(func() { go k.part() })
		return
	}
	k.leave.Do(func() {
		k.poller.Post(func() { // after this no call of the polling thread's is running
			k.release()
			k.poller.Unwatch(k.fd)
			go k.part()
		})
	})
}

// partTime bounds how long a connection may linger in the background with data that the peer has not taken.
const partTime = 30 * time.Second

// part gives the connection up when the peer's system has all that was written. Closing it at once, with something
// unread from the peer, would make ours throw away what the peer has not got yet.
func (k *fdLink) part() {
	defer close(k.flushed)
	if k.shield != nil {
		k.writing.Lock()
		k.shield.CloseWrite() // to where everything is written
		k.writing.Unlock()
	}
	pause, end := 50*time.Microsecond, time.Now().Add(partTime)
	wait := func() {
		time.Sleep(pause)
		pause = min(2*pause, 20*time.Millisecond)
	}
	for k.finishWriting() && time.Now().Before(end) {
		wait()
	}
	unix.Shutdown(k.fd, unix.SHUT_WR)
	scrap := make([]byte, 16<<10)
	for time.Now().Before(end) {
		if left, err := unix.IoctlGetInt(k.fd, unix.TIOCOUTQ); err != nil || left == 0 {
			break
		}
		n, _, err := readNow(k.fd, scrap, nil)
		if n == 0 && err != unix.EAGAIN {
			break
		}
		if n == 0 {
			wait()
		}
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	k.broken = net.ErrClosed
	arena.Put(k.wire)
	k.wire = nil
	unix.Close(k.fd)
}

// finishWriting goes on with what is encoded; true: there is more, and no room.
func (k *fdLink) finishWriting() bool {
	k.writing.Lock()
	defer k.writing.Unlock()
	for k.broken == nil && k.written < len(k.wire) {
		k.written += k.writeNow(k.wire[k.written:], nil)
		if k.blocked {
			return true
		}
	}
	return false
}

// signal leaves a token in c unless one is there.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
