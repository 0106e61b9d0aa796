package udp

import "testing"

// Unsegmented makes the rest of a test do without what the kernel offers for runs of datagrams.
func Unsegmented(t testing.TB) {
	unsegmented.Store(true)
	t.Cleanup(func() { unsegmented.Store(false) })
}
