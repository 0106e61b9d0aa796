package vtx

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

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

// TrySend implements trySender.
func (k *fdLink) TrySend(b *Batch) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	return k.push(b)
}

// takesLarge implements trySender. What is protected is copied in any case, and costs less in large batches.
func (k *fdLink) takesLarge() bool { return k.session.EncodesLarge() && k.shield == nil }

// Room implements trySender.
func (k *fdLink) Room(f func()) { k.room.Store(&f) }

// Send implements Link.
func (k *fdLink) Send(b *Batch) error {
	for {
		if err := k.TrySend(b); err != nil {
			return err // what the peer said before it went is still read
		}
		if b.Len() == 0 {
			return nil
		}
		select {
		case <-k.writable:
		case <-k.done:
			return k.err
		}
	}
}

// push writes as much as the socket takes: first what is encoded, then replies, then b's messages, one after the
// other. writing is held.
func (k *fdLink) push(b *Batch) error {
	if reason := k.Err(); reason != nil {
		return reason
	}
	for k.broken == nil {
		if k.written < len(k.wire) {
			n := k.writeNow(k.wire[k.written:], nil)
			k.written += n
			if k.blocked || k.broken != nil {
				break
			}
			continue
		}
		k.wire, k.written = trim(k.wire), 0
		if !k.midway {
			if k.encode(k.takeReplies); len(k.wire) > 0 {
				continue
			}
		}
		if b == nil || b.Len() == 0 {
			return nil
		}
		if !k.session.Verbatim() {
			k.encode(func(wire []byte) []byte { return k.encodeSome(wire, b) })
			continue
		}
		if k.shield != nil {
			k.protect(b)
			continue
		}
		b.wrote(k.writeNow(b.unwritten()))
		k.midway = b.part > 0
		if k.blocked {
			break
		}
	}
	return k.broken
}

// encode has f append to what is to be written.
func (k *fdLink) encode(f func(wire []byte) []byte) {
	if k.shield == nil {
		k.wire = f(k.wire)
	} else {
		if k.clear = f(k.clear[:0]); len(k.clear) > 0 {
			k.seal(k.clear)
		}
		k.clear = trim(k.clear)
	}
	if err := k.unsealed(); err != nil && k.broken == nil {
		k.broken = err
		k.end(err)
	}
}

// seal has the shield append p to what is to be written.
func (k *fdLink) seal(p []byte) {
	if _, err := k.shield.Write(p); err != nil && k.broken == nil {
		k.fail(err)
	}
}

// protectChunk bounds what is protected before it is written, in bytes: whole records of TLS, and with what those add
// no more than one call writes.
const protectChunk = 15 * 16 << 10

// protect seals some of b.
func (k *fdLink) protect(b *Batch) {
	p, _ := b.unwritten() // nothing stands apart: see takesLarge
	p = p[:min(len(p), protectChunk)]
	k.seal(p)
	b.wrote(len(p))
	k.midway = b.part > 0
}

// writeNow writes once, and notes why not all of it was taken.
func (k *fdLink) writeNow(p, q []byte) int {
	n, full, err := writeNow(k.fd, p, q)
	// A stream that takes less than it was given has no room; it says when it has. Asking it again would only
	// make small pieces.
	k.blocked = err == unix.EAGAIN || err == nil && !full
	if err != nil && !k.blocked {
		k.fail(err)
	}
	return n
}

// fail notes that nothing can be written any more. The peer may have said something before it went: reading sees it
// through.
func (k *fdLink) fail(err error) {
	k.broken = err
	k.hearOut(err, lastWords)
}

// hearOut ends the link when its peer has been silent for lastWords; it looks after the given time.
func (k *fdLink) hearOut(reason error, after time.Duration) {
	time.AfterFunc(after, func() {
		if left := k.heardOut(reason); left > 0 {
			k.hearOut(reason, left)
		}
	})
}

// heardOut does so if it is time for it; else it gives how long that may last.
func (k *fdLink) heardOut(reason error) time.Duration {
	if left := lastWords - k.beat.silentFor(); left > 0 && k.Err() == nil {
		return left
	}
	k.Close(reason)
	return 0
}

// unblock goes on with writing.
func (k *fdLink) unblock() {
	k.writing.Lock()
	was := k.blocked
	if was {
		k.blocked = false
		k.push(nil)
	}
	k.writing.Unlock()
	if !was {
		return
	}
	if f := k.room.Load(); f != nil {
		(*f)()
	}
	signal(k.writable)
}

func (k *fdLink) writeReplies() {
	k.writing.Lock()
	defer k.writing.Unlock()
	if !k.blocked {
		k.push(nil)
	}
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

// maxMove bounds one call, in bytes: it is not interrupted.
const maxMove = 1 << 20

// writeNow writes what the socket takes at once of p and then q, up to maxMove; full: no less than that. It does not
// tell the Go scheduler that it is in a system call: it does not wait there. No SIGPIPE: it would end the application.
func writeNow(fd int, p, q []byte) (n int, full bool, err error) {
	return moveNow(unix.SYS_SENDMSG, fd, p, q, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// readNow reads what is there into p and then q, as writeNow writes.
func readNow(fd int, p, q []byte) (n int, full bool, err error) {
	return moveNow(unix.SYS_RECVMSG, fd, p, q, unix.MSG_DONTWAIT)
}

func moveNow(call uintptr, fd int, p, q []byte, flags uintptr) (n int, full bool, err error) {
	p = p[:min(len(p), maxMove)]
	q = q[:min(len(q), maxMove-len(p))]
	var pieces [2]unix.Iovec
	count := 0
	for _, b := range [2][]byte{p, q} {
		if len(b) > 0 {
			pieces[count].Base = unsafe.SliceData(b)
			pieces[count].SetLen(len(b))
			count++
		}
	}
	msg := unix.Msghdr{Iov: &pieces[0]}
	msg.SetIovlen(count)
	for {
		moved, _, e := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&msg)), flags)
		switch e {
		case 0:
			return int(moved), int(moved) == len(p)+len(q), nil
		case unix.EINTR:
		default:
			return 0, false, e
		}
	}
}

// signal leaves a token in c unless one is there.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
