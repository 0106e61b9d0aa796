package vtx

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// connLink is a Link over a stream that only its net.Conn can read and write, such as TLS. One goroutine reads;
// writing happens under a lock, in Send for messages and in short-lived goroutines for the protocol's own
// commands, so that reading never has to wait for writing: two peers that both did would wait for each other.
type connLink struct {
	*zmtpLink
	conn net.Conn
	in   inbox

	replying atomic.Bool // somebody writes the waiting replies

	writing sync.Mutex // guards wire, and the order of what is written
	wire    []byte     // encoded messages, where their wire form is not their batch form

	unheard atomic.Bool // writing has failed: the peer takes no more
	timing  sync.Mutex  // guards parting, and conn's deadlines once the link has started
	parting bool        // the deadlines are part's alone
}

func newConnLink(z *zmtpLink, conn net.Conn) *connLink {
	k := &connLink{zmtpLink: z, conn: conn}
	k.owner = k
	k.in.begin(k.session.Rest())
	return k
}

// Start implements Link.
func (k *connLink) Start(sink Sink) {
	k.started.Store(true)
	k.write(k.session.Final()) // if it fails, reading fails too
	k.startHeartbeat()
	go func() {
		k.end(k.read(sink))
		k.part()
	}()
}

// read delivers what arrives until the stream or the link ends.
func (k *connLink) read(sink Sink) error {
	for {
		d, err := k.session.Decode(k.in.bytes())
		if d.Count > 0 {
			b := Batch{buf: d.Messages, n: d.Count}
			k.beat.block()
			failed := sink.Deliver(&b)
			k.beat.unblock()
			if errors.Is(failed, syscall.ENOMEM) {
				return k.noMemory(failed)
			}
			if failed != nil {
				return failed
			}
		}
		if err != nil {
			return k.malformed(err)
		}
		if err := k.control(&d); err != nil {
			return err
		}
		k.in.take(d.Used)
		if d.Control != 0 { // there may be more behind it, opened already
			continue
		}
		if k.unheard.Load() {
			k.hearOut()
		}
		room, err := k.in.room(waitingRoom)
		if err != nil {
			return k.noMemory(err)
		}
		n, err := k.conn.Read(room)
		k.in.add(n)
		if n == 0 && err != nil {
			return k.lost(err)
		}
		k.beat.hear()
	}
}

// waitingRoom is the memory in which an idle peering waits, in bytes.
const waitingRoom = 2 << 10

// Send implements Link.
func (k *connLink) Send(b *Batch) error {
	err := k.sendAll(b)
	if err == nil {
		return nil
	}
	k.unheard.Store(true)
	k.hearOut()
	if reason := k.Err(); reason != nil {
		return reason
	}
	return err
}

// lastWords is how long a peer that takes no more may be silent.
const lastWords = 5 * time.Second

// hearOut has reading see through what a peer that takes no more has yet to say, until it is silent. How long the
// application takes for that does not count: it is called anew before each read.
func (k *connLink) hearOut() {
	k.timing.Lock()
	defer k.timing.Unlock()
	if k.Err() == nil { // otherwise reading has ended, or Close ends it
		k.conn.SetReadDeadline(time.Now().Add(lastWords))
	}
}

func (k *connLink) sendAll(b *Batch) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	defer func() { k.wire = trim(k.wire) }()
	for b.Len() > 0 {
		if k.session.Verbatim() {
			framed, _ := b.unwritten()
			n, err := k.conn.Write(framed)
			b.wrote(n)
			if err != nil {
				if lost := b.abandon(); lost > 0 {
					k.cfg.Report.Drop(DropUnsent, lost)
				}
				return err
			}
			continue
		}
		k.wire = k.encodeSome(k.wire[:0], b)
		if err := k.unsealed(); err != nil {
			k.end(err)
			return err
		}
		if _, err := k.conn.Write(k.wire); err != nil {
			return err
		}
	}
	return nil
}

// write writes what is not a message.
func (k *connLink) write(wire []byte) {
	if len(wire) > 0 {
		k.writing.Lock()
		defer k.writing.Unlock()
		k.conn.Write(wire)
	}
}

func (k *connLink) writeReplies() {
	if k.replying.Swap(true) {
		return // one is enough, however much a peer asks that does not read
	}
	go func() {
		k.writing.Lock()
		defer k.writing.Unlock()
		k.replying.Store(false) // whoever finds it so has added his reply after this
		if wire := k.takeReplies(nil); len(wire) > 0 {
			k.conn.Write(wire) // an error shows in reading
		}
	}()
}

// Close implements Link.
func (k *connLink) Close(reason error) {
	if reason == nil {
		reason = errClosing
	}
	k.end(reason)
	if !k.started.Swap(true) {
		go func() { // nobody reads yet
			k.conn.SetWriteDeadline(time.Now().Add(lastWords))
			k.write(k.goodbye(reason))
			k.part()
		}()
		return
	}
	k.timing.Lock()
	defer k.timing.Unlock()
	if !k.parting {
		k.conn.SetDeadline(longAgo) // Send returns, and read goes on to part
	}
}

// longAgo is the deadline of calls that are to return now.
var longAgo = time.Unix(1, 0)

// closeWrite ends the writing. Whoever still waits for the peer to take something returns first: he would take the new
// deadline for his own.
func (k *connLink) closeWrite(half interface{ CloseWrite() error }) error {
	k.timing.Lock()
	k.parting = true // a Close that comes now must not end what follows: what the peer has not got yet would be thrown away
	k.conn.SetWriteDeadline(longAgo)
	k.timing.Unlock()
	k.writing.Lock()
	defer k.writing.Unlock()
	k.conn.SetWriteDeadline(time.Now().Add(lastWords))
	return half.CloseWrite()
}

// part says goodbye, and gives the connection up when the peer has answered that or had time enough to: the more while it
// says something, which would make our system throw away what the peer has not got yet.
func (k *connLink) part() {
	defer close(k.flushed)
	defer k.conn.Close()
	k.in.release()
	k.session.Release()
	half, ok := k.conn.(interface{ CloseWrite() error })
	if !ok || k.closeWrite(half) != nil {
		return
	}
	scrap := make([]byte, 4096)
	for end := time.Now().Add(partTime); time.Now().Before(end); {
		k.conn.SetReadDeadline(time.Now().Add(lastWords))
		if _, err := k.conn.Read(scrap); err != nil {
			return
		}
	}
}
