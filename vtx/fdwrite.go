package vtx

import (
	"time"

	"golang.org/x/sys/unix"
)

// The outbound way of an fdLink: writing is held where nothing else is said.

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
