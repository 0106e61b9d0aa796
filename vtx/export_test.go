package vtx

import "time"

// SetPace changes when and how long new peers have to wait, until the function it returns is called.
func SetPace(peers int64, pause time.Duration) (restore func()) {
	n, p := maxUndrained, undrainedPause
	maxUndrained, undrainedPause = peers, pause
	return func() { maxUndrained, undrainedPause = n, p }
}
