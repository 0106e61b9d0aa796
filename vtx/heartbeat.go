package vtx

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// heartbeat notices a peer that is silent (RFC 37, connection heartbeating): by our own PINGs, which
// ZMQ_HEARTBEAT_IVL asks for, and by the time to live that the peer's PINGs announce.
type heartbeat struct {
	begun   time.Time
	heard   atomic.Int64 // when something last arrived, as time since begun
	blocked atomic.Bool  // we are not listening, since the application does not take what we have

	mu       sync.Mutex // guards what follows
	timer    *time.Timer
	due      time.Duration // when it goes off; 0: it does not
	ended    bool
	interval time.Duration // between our PINGs; 0: we send none
	patience time.Duration // after a PING; 0: without end
	announce uint16        // what our PINGs announce, in tenths of a second
	next     time.Duration // when to send the next PING
	asked    time.Duration // when the unanswered PING was sent; 0: none
	ttl      time.Duration // what the peer announced; 0: nothing
}

func (h *heartbeat) hear() { h.heard.Store(int64(time.Since(h.begun))) }

// block notes that we do not listen: it is not the peer's fault if we do not hear it until unblock.
func (h *heartbeat) block() { h.blocked.Store(true) }

func (h *heartbeat) unblock() {
	if h.blocked.Load() {
		h.hear() // first: its silence begins now
		h.blocked.Store(false)
	}
}

// silentFor is how long nothing has come that could have been heard.
func (h *heartbeat) silentFor() time.Duration {
	if h.blocked.Load() {
		return 0
	}
	return time.Since(h.begun) - time.Duration(h.heard.Load())
}

func (h *heartbeat) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	if h.timer != nil {
		h.timer.Stop()
	}
}

func (k *zmtpLink) startHeartbeat() {
	h, o := &k.beat, k.cfg.Options
	if o.HeartbeatIvl <= 0 || k.session.AppendPing(nil, 0, nil) == nil { // off, or too old a peer
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.interval, h.next = o.HeartbeatIvl, o.HeartbeatIvl
	h.patience = o.HeartbeatTimeout
	if h.patience == Forever {
		h.patience = h.interval
	}
	h.announce = uint16(min(o.HeartbeatTTL/(100*time.Millisecond), 0xffff))
	k.arm(h.interval)
}

// expect takes note of the time to live that a PING announced.
func (k *zmtpLink) expect(ttl uint16) {
	h := &k.beat
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ttl = time.Duration(ttl) * 100 * time.Millisecond; h.ttl > 0 {
		k.arm(h.ttl)
	}
}

// arm has look called within d, or earlier if that has been asked for. h.mu is held.
func (k *zmtpLink) arm(d time.Duration) {
	h := &k.beat
	d = max(d, time.Millisecond)
	due := time.Since(h.begun) + d
	if h.ended || h.due > 0 && h.due <= due {
		return
	}
	h.due = due
	switch {
	case h.timer == nil:
		h.timer = time.AfterFunc(d, k.look)
	default:
		h.timer.Reset(d)
	}
}

// look is the heartbeat's timer: it ends a link that has been silent for too long, and asks the peer again.
func (k *zmtpLink) look() {
	h := &k.beat
	if h.blocked.Load() {
		h.hear()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.due = 0
	now, heard := time.Since(h.begun), time.Duration(h.heard.Load())
	if heard >= h.asked {
		h.asked = 0
	}
	wait := time.Duration(1<<63 - 1)
	if h.asked > 0 {
		wait = h.asked + h.patience - now
	}
	if h.ttl > 0 {
		wait = min(wait, heard+h.ttl-now)
	}
	if wait <= 0 {
		go k.silent(now - heard)
		return
	}
	if h.interval > 0 {
		if now >= h.next {
			k.reply(reply{ping: true, ttl: h.announce})
			h.next = now + h.interval
			if h.asked == 0 && h.patience > 0 {
				h.asked = now
				wait = min(wait, h.patience)
			}
		}
		wait = min(wait, h.next-now)
	}
	if h.interval > 0 || h.ttl > 0 {
		k.arm(wait)
	}
}

// silent gives the peer up.
func (k *zmtpLink) silent(since time.Duration) {
	k.owner.Close(fmt.Errorf("nothing came from %s for %v: %w", k.peer.Address, since.Round(time.Millisecond), syscall.ETIMEDOUT))
}
