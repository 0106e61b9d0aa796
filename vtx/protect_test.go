package vtx

import (
	"errors"
	"testing"
)

// What a protection has to say by itself does not pile up for a peer that does not read.
func TestProtectionDoesNotPileUp(t *testing.T) {
	c := &carrier{link: &fdLink{}, reads: true}
	const record = 27 // an answer to TLS's KeyUpdate
	for n := 0; ; n += record {
		_, err := c.Write(make([]byte, record))
		if errors.Is(err, errUnread) {
			break
		}
		if n > 1<<20 {
			t.Fatalf("%d bytes are waiting", len(c.link.wire))
		}
	}
	c.reads = false // the link writes a large message at once
	for range 2 {
		if n, err := c.Write(make([]byte, 2*keptArena)); err != nil || n == 0 {
			t.Errorf("what the link writes at a time: %v", err)
		}
	}
}
