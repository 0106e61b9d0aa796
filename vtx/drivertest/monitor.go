package drivertest

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
)

// watched is a socket with a monitor.
type watched struct {
	h       *host
	subject *app.Socket
	events  *app.Socket
}

var monitorSerial atomic.Int64

func (h *host) monitored(typ vtx.SocketType) *watched {
	h.t.Helper()
	w := &watched{h: h, subject: h.socket(typ)}
	endpoint := fmt.Sprintf("inproc://monitor-%d", monitorSerial.Add(1))
	if err := h.Monitor(w.subject.P, endpoint, 0xffff); err != nil {
		h.t.Fatal(err)
	}
	w.events = h.socket(vtx.Pair)
	w.events.Native(false, endpoint)
	return w
}

// next is the next event: its kind, endpoint and reason.
func (w *watched) next() (vtx.EventKind, string, string) {
	w.h.t.Helper()
	frames, err := w.events.RecvWithin(app.Patience)
	if err != nil || len(frames) < 2 || len(frames[0]) != 6 {
		w.h.t.Fatalf("monitor: %q %v", frames, err)
	}
	reason := ""
	if len(frames) > 2 {
		reason = frames[2]
	}
	return vtx.EventKind(binary.NativeEndian.Uint16([]byte(frames[0]))), frames[1], reason
}

// wait receives events until one of the kind comes.
func (w *watched) wait(kind vtx.EventKind) (endpoint, reason string) {
	w.h.t.Helper()
	for end := time.Now().Add(app.Patience); time.Now().Before(end); {
		if k, endpoint, reason := w.next(); k == kind {
			return endpoint, reason
		}
	}
	w.h.t.Fatalf("event %#x never came", kind)
	return
}

// waitReason receives events until one gives the reason.
func (w *watched) waitReason(text string) {
	w.h.t.Helper()
	for end := time.Now().Add(app.Patience); time.Now().Before(end); {
		if _, _, reason := w.next(); strings.Contains(reason, text) {
			return
		}
	}
	w.h.t.Fatalf("no event said %q", text)
}
