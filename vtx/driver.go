package vtx

import (
	"context"

	"github.com/libvtx/libvtx/internal/zmtp"
)

// This file is the driver contract: what a transport owes the engine, and what
// the engine owes it. The division of work is simple. A driver finds peers and
// moves whole messages between them; it knows nothing of fair queueing,
// identities, subscription tables, high-water marks or reconnection timers.
// The engine joins each peering to the application's socket and keeps it alive.
//
//	Driver ── Listen ──► Listener ── Accept ──► Link ◄── Dial ── Dialer ◄── Dialer ── Driver
//	                                             │ ▲
//	                          Sink (inbound) ◄───┘ └─── Send (outbound)
//
// A message driver (udp) implements this file with a protocol of its own. A
// stream driver (tcp, tls, …) only listens and dials byte streams: the engine's
// stream side implements this file once for all of them.
//
// Concurrency: a Driver and everything it returns may be called from any
// goroutine, except where a method says otherwise. No method may panic on what
// a peer sent, and none may keep a *Batch, or memory inside one, after it
// returns.

// Driver carries the messages of one scheme. It is registered once per process
// and must not hold per-socket state.
type Driver interface {
	// Scheme is the endpoint prefix in lower case, "udp" for udp://.
	Scheme() string

	// Traits are constant facts about the driver's protocol.
	Traits() Traits

	// Listen claims cfg.Endpoint before it returns. Errors: ErrInvalid for an
	// address that cannot be parsed, ErrNotSupported for a socket type or option
	// that the protocol cannot honour, or the operating system's own errno
	// (EADDRINUSE, EADDRNOTAVAIL, EACCES, …) wrapped with the address. It may
	// block for a name look-up at most.
	Listen(cfg *Config) (Listener, error)

	// Dialer checks cfg.Endpoint without touching the network and returns the
	// object that finds the peer, as often as the engine asks. Errors: ErrInvalid
	// and ErrNotSupported. An unknown host is not an error here: names are looked
	// up by each Dial.
	Dialer(cfg *Config) (Dialer, error)
}

// Traits says what a driver's protocol can carry.
type Traits struct {
	// Subscriptions: the messages \x01topic and \x00topic travel from subscriber to
	// publisher, so that the publisher filters. Without it the engine subscribes
	// each subscriber to everything at the publisher and filters at the subscriber. Where it
	// depends on the peer, Peer.Unfiltered tells the links that do without.
	Subscriptions bool

	// Prompt: a link's Send never waits for the peer, at most for a moment for the
	// operating system. The engine then sends from its polling thread.
	Prompt bool

	// Crowd: a link stands for any number of peers, whom the driver tells apart itself. It reports them to
	// PeerCounter and to the monitor, and the engine does not.
	Crowd bool

	// Security: the driver honours the socket's PLAIN, CURVE and ZAP options. Without it a socket that
	// has a mechanism set is refused, so that nobody believes to be protected who is not.
	Security bool

	// Options are the names that vtx_setopt and an endpoint's ?name=value accept
	// for this driver, beside the engine's own. Each name starts with the scheme, or one of
	// the parts that a + joins to it, and a dot ("udp.broadcast"); in an endpoint the prefix may be left out.
	Options []OptionSpec
}

// OptionSpec declares one VTX option.
type OptionSpec struct {
	Name string
	// Check refuses a bad value with a sentence that says what is allowed.
	// Values are never clipped.
	Check func(value string) error
	// Secret says which values are refused in an endpoint, since endpoints appear in events,
	// errors and statistics; nil: none. Check's errors must not show such a value.
	Secret func(value string) bool
}

// Config is what a driver may know of the bind or connect call it serves. It
// does not change afterwards, and the driver must not change it.
type Config struct {
	Endpoint Endpoint
	// Type is the application socket's type.
	Type SocketType
	// Options is the socket's own configuration, read when bind or connect was called.
	Options *Options
	// Report counts what goes wrong; it is safe from any goroutine and never blocks.
	Report Reporter
	// Poller watches descriptors for the driver.
	Poller Poller

	m *Manager // for the stream side
}

// Poller is the manager's one thread that waits for libzmq and for the network. A driver whose descriptors
// it watches needs neither goroutines to read them nor the switches between threads that those cost.
type Poller interface {
	// Watch calls ready whenever fd has something to read, again and again until it is
	// read. ready must not block, since everything else waits for it meanwhile.
	Watch(fd int, ready func()) error
	// Unwatch ends that; it comes before fd is closed. A call may still be running when it returns.
	Unwatch(fd int)
}

// Reporter takes a driver's news for the statistics and the monitor.
type Reporter interface {
	// Drop counts n messages that will not be delivered, under one of the Drop… reasons.
	Drop(reason DropReason, n int)
	// Retry counts n retransmissions.
	Retry(n int)
	// Event tells the socket's monitor, if it has one. EventAcceptFailed also counts as a refusal.
	Event(Event)
}

// PeerCounter is a Reporter that is told by a Crowd how many peers there are.
type PeerCounter interface {
	// Peers counts n peers that have come, or with a negative n gone.
	Peers(n int)
}

// Variable is a Listener or Dialer whose traits differ from its driver's: of a driver that may work in several ways.
type Variable interface {
	// Traits are constant facts about this endpoint, in place of the driver's.
	Traits() Traits
}

// Teller is a Listener or Dialer that can answer names of vtx_getmeta that the engine does not know, or
// "sender" where the link does not.
type Teller interface {
	// Tell answers for its endpoint. It may block for as long as the application may be kept waiting.
	Tell(name string) (value string, err error)
}

// Keeper is a Dialer that keeps, for the next link, what a lost one took and did not send. The engine lingers for it.
type Keeper interface {
	// Unsent is how many messages it keeps, when the lost link is done.
	Unsent() int
}

// Listener accepts the peers of one bound endpoint.
type Listener interface {
	// Addr is the endpoint actually bound, with the port that was chosen for port 0
	// or *, as "scheme://host:port".
	Addr() string

	// Accept blocks until a peer has said who it is, and returns its link, not yet
	// started. The engine then calls Start, or Close with the reason of a refusal,
	// which the driver tells the peer where its protocol can. After Close, Accept
	// returns net.ErrClosed. Any other error is reported and Accept called again.
	Accept() (Link, error)

	// Close releases the address before it returns and makes Accept return. Links
	// already accepted live on until they are closed themselves. Idempotent.
	Close() error
}

// Dialer finds the peer of one connected endpoint. It lives from vtx_connect to
// vtx_disconnect, and may keep what has to survive from one link to the next.
type Dialer interface {
	// Dial looks for the peer until it is found, ctx ends, or the attempt fails.
	// The engine waits ZMQ_RECONNECT_IVL (with back-off and jitter) between failed
	// attempts, so a driver that can go on looking by itself may simply block. A
	// *HandshakeError says that a peer was found and turned us away. The
	// returned link is not yet started. One Dial runs at a time, and never while
	// the link of the one before is open.
	Dial(ctx context.Context) (Link, error)

	// Close releases what the dialer holds. The engine calls it once, after the last
	// link is closed.
	Close() error
}

// Link is one live connection with one peer.
type Link interface {
	// Peer gives the facts that were known when the link was returned.
	Peer() Peer

	// Start opens the inbound direction: from now on the link delivers to sink, on
	// goroutines of its own, in order. It is called once, and returns without
	// waiting for the peer.
	Start(sink Sink)

	// Send takes messages off the front of b and puts them on their way, blocking as
	// long as the transport pushes back. It returns when b is empty, or with an error
	// when the link is over, which Done tells as well, at once or when what arrived before
	// has been delivered; what is then left in b has not been sent, not even
	// in part, and goes to the next link. A message that the transport cannot carry is
	// taken off, reported and skipped: that is not an error. One Send runs at a
	// time; Close makes it return.
	Send(b *Batch) error

	// Done is closed when the link has ended, for whatever reason; Err then says
	// why, and is nil before that. If the peer ended it, that is when everything
	// that arrived before has been delivered.
	Done() <-chan struct{}
	Err() error

	// Close ends the link without waiting and makes Send return. What Send has
	// taken still reaches the transport. A reason other than nil is told to the peer
	// where the protocol can. Idempotent. After Done, no call reaches the sink any
	// more except those already running.
	Close(reason error)
}

// Sink is the engine's end of a link: the way to the application's socket.
type Sink interface {
	// Deliver hands over all messages of b, blocking while the application's socket
	// is at its high-water mark. An error means that the peering is ending, or with
	// ENOMEM that it is to end: the peer sent more than there is memory for.
	// On return b is empty.
	Deliver(b *Batch) error

	// TryDeliver hands over messages from the front of b as long as the
	// application's socket takes them, without blocking, and leaves the rest in b. Errors: as Deliver.
	TryDeliver(b *Batch) error
}

// RoomySink is a Sink that tells when there is room again, as the engine's own do.
type RoomySink interface {
	Sink
	// Room has f called by the polling thread when a TryDeliver that left something may be tried again, and perhaps for
	// other reasons. A link uses this or Deliver.
	Room(f func())
}

// Peer is what a link knows of its other end. Zero fields mean "not known".
type Peer struct {
	// Address is the transport's name for the peer, without scheme: "127.0.0.1:32000".
	Address string
	// Type is the peer's socket type, or TypeUnknown.
	Type SocketType
	// RoutingID is what the peer calls itself (its ZMQ_ROUTING_ID), or nil.
	RoutingID []byte
	// Unfiltered: subscriptions do not travel on this link, although Traits.Subscriptions says that they may.
	Unfiltered bool
	// User is who the peer is for the application's ZAP handler (RFC 27), or "".
	User string
	// Properties are what else the peer said of itself (RFC 23, metadata).
	Properties zmtp.Properties
	// Facts are what the transport has established of the peer, see Identity.
	Facts map[string]string
}

// Flusher is a Link that can tell when it is safe to end the process.
type Flusher interface {
	// Flushed is closed after Close, when nothing that Send took can be lost any more by this end's going.
	Flushed() <-chan struct{}
}

// DropReason is a key of the "drops" object in the statistics.
type DropReason string

// The reasons why a message is not delivered.
const (
	DropTooBig    DropReason = "too_big"   // larger than the transport can carry
	DropSlow      DropReason = "slow"      // as many waited for the subscriber as its high-water mark allows (pub.shared)
	DropFull      DropReason = "full"      // the receiving socket was at its high-water mark
	DropDuplicate DropReason = "duplicate" // a second copy, recognised and discarded
	DropLost      DropReason = "lost"      // never arrived; known from a gap in the numbers
	DropMalformed DropReason = "malformed" // bytes that the protocol does not allow
	DropStray     DropReason = "stray"     // well formed, but belongs to no peering or request
	DropNetwork   DropReason = "network"   // the operating system refused to send it
	DropUnsent    DropReason = "unsent"    // still waiting when LINGER ran out
)
