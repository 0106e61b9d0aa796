package zmq_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
)

// Bodies that share memory stay what they are until the application has read them, in whatever order memory becomes free:
// three batches wait at a time, and each is read while the next are written.
func TestBodiesThatShareMemory(t *testing.T) {
	s, a := open(t, poller(t), zmq.TypeDealer, typeDealer, func(a *app.Socket) { a.Set(zmq.RcvHWM, 0) })
	connect(t, s)
	body := func(i int) string {
		return strings.Repeat(fmt.Sprintf("%07d ", i), 200)[:i*37%1100] // below, within and above what is shared
	}
	const batches, each = 60, 200
	read := func(batch int) {
		for i := batch * each; i < (batch+1)*each; i++ {
			a.Want(body(i), "end")
		}
	}
	for batch := range batches {
		var wire []byte
		for i := batch * each; i < (batch+1)*each; i++ {
			if b := body(i); len(b) < 256 {
				wire = append(wire, 1, byte(len(b)))
				wire = append(wire, b...)
			} else {
				wire = binary.BigEndian.AppendUint64(append(wire, 3), uint64(len(b)))
				wire = append(wire, b...)
			}
			wire = append(wire, 0, 3, 'e', 'n', 'd')
		}
		if taken, n, err := s.Send(wire); err != nil || taken != len(wire) || n != each {
			t.Fatalf("%d of %d bytes, %d messages taken: %v", taken, len(wire), n, err)
		}
		if batch >= 2 {
			read(batch - 2)
		}
	}
	read(batches - 2)
	read(batches - 1)
}
