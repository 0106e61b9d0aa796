package hostile

import (
	"fmt"
	"strings"
	"sync"
)

// inputs remembers what attackers said last.
type inputs struct {
	mu   sync.Mutex
	ring [12]string
	next int
}

const inputShown = 300 // bytes of each

func (r *inputs) add(what string, b []byte) {
	line := fmt.Sprintf("%s %d bytes: %x", what, len(b), b[:min(len(b), inputShown)])
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.next%len(r.ring)] = line
	r.next++
}

// String shows them, the latest at the end.
func (r *inputs) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for i := range r.ring {
		if line := r.ring[(r.next+i)%len(r.ring)]; line != "" {
			fmt.Fprintln(&b, " ", line)
		}
	}
	return b.String()
}
