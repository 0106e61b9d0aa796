package udp

import "time"

// The bounds of the time after which something is sent again.
const (
	minRTO = 50 * time.Millisecond
	maxRTO = 2 * time.Second
)

// rtt estimates the round trip to a peer and how long to wait for an answer (RFC 6298, section 2, with bounds of its own).
type rtt struct {
	first    time.Duration // to wait while nothing has been measured
	srtt     time.Duration // 0: nothing has been measured
	variance time.Duration
	backoff  uint // how often rto has been doubled since the last measurement
}

// measured takes the time that an answer took, of something that was sent once: of a repeated question it is
// not known which copy was answered (Karn's rule).
func (r *rtt) measured(d time.Duration) {
	d = max(d, time.Microsecond)
	if r.srtt == 0 {
		r.srtt, r.variance = d, d/2
	} else {
		r.variance += ((r.srtt - d).Abs() - r.variance) / 4
		r.srtt += (d - r.srtt) / 8
	}
	r.backoff = 0
}

// rto is how long to wait.
func (r *rtt) rto() time.Duration {
	d := r.first
	if r.srtt > 0 {
		d = max(r.srtt+4*r.variance, minRTO)
	}
	return min(d<<r.backoff, maxRTO)
}

// failed doubles the wait.
func (r *rtt) failed() {
	if r.rto() < maxRTO {
		r.backoff++
	}
}
