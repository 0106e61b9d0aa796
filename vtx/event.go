package vtx

// EventKind is a monitor event, with the numbers of libzmq's zmq_socket_monitor.
type EventKind uint16

// The events that a monitor may ask for.
const (
	EventConnected               EventKind = 0x0001
	EventConnectDelayed          EventKind = 0x0002
	EventConnectRetried          EventKind = 0x0004
	EventListening               EventKind = 0x0008
	EventBindFailed              EventKind = 0x0010
	EventAccepted                EventKind = 0x0020
	EventAcceptFailed            EventKind = 0x0040
	EventClosed                  EventKind = 0x0080
	EventCloseFailed             EventKind = 0x0100
	EventDisconnected            EventKind = 0x0200
	EventMonitorStopped          EventKind = 0x0400
	EventHandshakeFailed         EventKind = 0x0800 // without further detail
	EventHandshakeSucceeded      EventKind = 0x1000
	EventHandshakeFailedProtocol EventKind = 0x2000
	EventHandshakeFailedAuth     EventKind = 0x4000
	// EventRefused is VTX's own: a message or a peering was refused, and the third frame says why.
	EventRefused EventKind = 0x8000
)

// Event is one piece of news for a socket's monitor.
type Event struct {
	Kind EventKind
	// Value is the event's number as in libzmq: an errno for the failures, an interval in
	// milliseconds for EventConnectRetried, otherwise 0 (VTX shows no descriptors).
	Value uint32
	// Endpoint is "scheme://address" of the peer or the binding.
	Endpoint string
	// Reason is a sentence, present where something failed. What others have said in it is to be quoted; the monitor puts
	// it on one printable line.
	Reason string
}
