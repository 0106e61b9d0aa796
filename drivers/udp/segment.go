package udp

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// A run of datagrams of one size, of which the last may be shorter, can go through the system as one long datagram with
// the size beside it, which is cut up as late as possible (UDP_SEGMENT, Linux 4.18); and what comes can be handed over
// in such runs (UDP_GRO, Linux 5.0). On the wire nothing is different.

// maxRun is the bytes that may come as one.
const maxRun = 1 << 16

// controlSize is room for two control messages: the size, and on which interface to send.
const controlSize = 64

// unsegmented stands, in tests, for a system that has none of this.
var unsegmented atomic.Bool

// askForSegments finds out what the system has.
func (s *socket) askForSegments() {
	if unsegmented.Load() {
		return
	}
	_ = s.use(func(fd int) error {
		// A system that does not know the option would ignore it in a message, and send one long datagram.
		_, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
		s.segments.Store(err == nil)
		return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1) // else they come one by one
	})
}

// noSegments says whether an error may mean that the way to this peer does not allow runs, as with IPsec, or a device that
// does not compute checksums. Some systems say EINVAL too where datagrams are too long for the path: alone they get
// EMSGSIZE.
func noSegments(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
}

// pack puts d's datagrams, from one of them on, into as few messages as possible.
func (d *departures) pack(from int, to net.Addr, way []byte, segments bool) []ipv4.Message {
	n := 0
	for end := from; from < d.n; from, n = end, n+1 {
		end = from + 1
		if segments {
			end = d.run(from)
		}
		m := &d.messages[n]
		m.Buffers, m.Addr, m.OOB = d.datagrams[from:end], to, way
		if end-from > 1 {
			m.OOB = appendSegment(append(d.controls[n][:0], way...), len(d.datagrams[from]))
		}
	}
	return d.messages[:n]
}

// run is the end of the run that begins with a datagram.
func (d *departures) run(from int) int {
	size := len(d.datagrams[from])
	end, left := from+1, maxPayload-size
	for ; end < d.n; end++ {
		next := len(d.datagrams[end])
		if next > size || next > left {
			break
		}
		left -= next
		if next < size {
			return end + 1
		}
	}
	return end
}

// appendSegment appends the control message that gives the size of the datagrams.
func appendSegment(b []byte, size int) []byte {
	at := len(b)
	b = append(b, make([]byte, unix.CmsgSpace(2))...)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[at]))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(b[at+unix.CmsgLen(0):], uint16(size))
	return b
}

// add takes one datagram that came, or a run of them: then controls say how long each is.
func (a *arrivals) add(from netip.AddrPort, data, controls []byte) {
	size := segmentOf(controls)
	for size > 0 && len(data) > size {
		a.datagrams = append(a.datagrams, datagram{from, data[:size]})
		data = data[size:]
	}
	a.datagrams = append(a.datagrams, datagram{from, data})
}

// segmentOf finds the size of the datagrams of a run, or 0.
func segmentOf(controls []byte) int {
	for len(controls) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(controls)
		if err != nil {
			break
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 4 {
			return int(binary.NativeEndian.Uint32(data))
		}
		controls = rest
	}
	return 0
}
