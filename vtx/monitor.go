package vtx

import (
	"encoding/binary"
	"strings"
	"sync"
	"unicode"

	"github.com/libvtx/libvtx/internal/printable"
	"github.com/libvtx/libvtx/internal/zmq"
)

// monitor sends a socket's events to a PAIR in the application's context, in the frames of
// zmq_socket_monitor: event (16 bits) and value (32 bits) in the machine's byte order; endpoint; and where
// something failed a third, a sentence on one line. A listener that does not keep up loses events, as natively.
type monitor struct {
	mu       sync.Mutex
	socket   *zmq.Socket // nil: nobody listens
	endpoint string      // to which it is bound
	events   EventKind
	ended    bool
}

// start takes over s, which is bound to endpoint, unless the monitored socket is at its end. A monitor before it must
// have been stopped.
func (m *monitor) start(s *zmq.Socket, endpoint string, events EventKind) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		s.Close()
		return ErrNotSocket
	}
	m.socket, m.endpoint, m.events = s, endpoint, events
	return nil
}

// end stops the monitor for good.
func (m *monitor) end() {
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
	m.stop()
}

// stop ends it, if there is one. Its endpoint is free then: a socket that is only closed keeps its own for a moment.
func (m *monitor) stop() {
	m.send(Event{Kind: EventMonitorStopped})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.socket != nil {
		m.socket.Unbind(m.endpoint)
		m.socket.Close()
		m.socket = nil
	}
}

func (m *monitor) send(e Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.socket == nil || m.events&e.Kind == 0 {
		return
	}
	head := binary.NativeEndian.AppendUint16(nil, uint16(e.Kind))
	head = binary.NativeEndian.AppendUint32(head, e.Value)
	frames := [][]byte{head, []byte(endpointFrame(e.Endpoint))}
	if e.Reason != "" {
		frames = append(frames, []byte(printable.Line(e.Reason)))
	}
	var b Batch
	b.Append(frames...)
	m.socket.Send(b.buf) // full or terminated: the event is lost
}

// endpointFrame is an endpoint as it is, since programs compare it. Only what a driver calls a peer can have control
// characters in it: ParseEndpoint lets none in.
func endpointFrame(endpoint string) string {
	if strings.ContainsFunc(endpoint, unicode.IsControl) {
		return printable.Line(endpoint)
	}
	return endpoint
}
