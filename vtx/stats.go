package vtx

import (
	"encoding/json"
	"maps"
	"sync"
	"sync/atomic"
)

// stats counts what one socket did over VTX. Safe from any goroutine.
type stats struct {
	messagesIn, messagesOut  atomic.Int64
	bytesIn, bytesOut        atomic.Int64
	retries                  atomic.Int64
	peerings, peeringsSoFar  atomic.Int64
	connectRetries, refusals atomic.Int64

	mu    sync.Mutex
	drops map[DropReason]int64
}

func (s *stats) drop(reason DropReason, n int) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drops == nil {
		s.drops = make(map[DropReason]int64)
	}
	s.drops[reason] += int64(n)
}

// Stats is the JSON object of vtx_getmeta (…, "stats"). In and out are seen from the application:
// "in" is what was handed to its socket, "out" what was taken from it and given to the transport.
type Stats struct {
	MessagesIn     int64                `json:"messages_in"`
	MessagesOut    int64                `json:"messages_out"`
	BytesIn        int64                `json:"bytes_in"`  // with 2 or 9 bytes of framing for each frame
	BytesOut       int64                `json:"bytes_out"` // likewise
	Peerings       int64                `json:"peerings"`  // live now
	PeeringsTotal  int64                `json:"peerings_total"`
	Retries        int64                `json:"retries"`         // retransmissions
	ConnectRetries int64                `json:"connect_retries"` // attempts to find a peer that failed
	Refusals       int64                `json:"refusals"`        // peers turned away
	Drops          map[DropReason]int64 `json:"drops"`           // messages not delivered, by reason
}

func (s *stats) snapshot() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	drops := maps.Clone(s.drops)
	if drops == nil {
		drops = make(map[DropReason]int64)
	}
	return Stats{
		MessagesIn: s.messagesIn.Load(), MessagesOut: s.messagesOut.Load(),
		BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(),
		Peerings: s.peerings.Load(), PeeringsTotal: s.peeringsSoFar.Load(),
		Retries: s.retries.Load(), ConnectRetries: s.connectRetries.Load(),
		Refusals: s.refusals.Load(), Drops: drops,
	}
}

// add sums two snapshots, for the manager's own.
func (s *Stats) add(o Stats) {
	s.MessagesIn += o.MessagesIn
	s.MessagesOut += o.MessagesOut
	s.BytesIn += o.BytesIn
	s.BytesOut += o.BytesOut
	s.Peerings += o.Peerings
	s.PeeringsTotal += o.PeeringsTotal
	s.Retries += o.Retries
	s.ConnectRetries += o.ConnectRetries
	s.Refusals += o.Refusals
	for reason, n := range o.Drops {
		s.Drops[reason] += n
	}
}

func (s Stats) json() string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a struct of numbers
	}
	return string(b)
}
