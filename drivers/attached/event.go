package attached

import (
	"fmt"
	"math/bits"
	"syscall"

	"github.com/libvtx/libvtx/vtx"
)

// EventDropped is the one event of vtx_driver_event that is counted and not shown: beyond libzmq's 16 bits.
const EventDropped = 0x10000

// reasons are those that a driver may give for a drop.
var reasons = map[vtx.DropReason]bool{
	vtx.DropTooBig: true, vtx.DropFull: true, vtx.DropDuplicate: true, vtx.DropLost: true, vtx.DropMalformed: true,
	vtx.DropStray: true, vtx.DropNetwork: true, vtx.DropUnsent: true,
}

// RaiseEvent is vtx_driver_event. Errors: ENOENT for an unknown vtxname, EINVAL.
func RaiseEvent(vtxname string, event, value int, text string) error {
	e, err := find(vtxname)
	if err != nil {
		return err
	}
	invalid := func(what string) error {
		return fmt.Errorf("vtxname %s: %s: %w", vtxname, what, syscall.EINVAL)
	}
	switch {
	case value < 0:
		return invalid(fmt.Sprintf("value %d is negative", value))
	case event == EventDropped && !reasons[vtx.DropReason(text)]:
		return invalid(fmt.Sprintf("%.40q is no reason for a drop", text))
	case event == EventDropped:
		e.cfg.Report.Drop(vtx.DropReason(text), value)
		return nil
	case event <= 0 || event > 0xffff || bits.OnesCount(uint(event)) != 1:
		return invalid(fmt.Sprintf("event %#x is not one of a monitor's", event))
	}
	kind := vtx.EventKind(event)
	e.cfg.Report.Event(vtx.Event{Kind: kind, Value: uint32(value), Endpoint: e.String(), Reason: text})
	switch kind {
	case vtx.EventConnected, vtx.EventAccepted:
		e.tally(1)
	case vtx.EventDisconnected:
		e.tally(-1)
		e.mu.Lock()
		c := e.classic
		e.mu.Unlock()
		if c != nil && text != "" {
			c.part(text)
		}
	}
	return nil
}

// tally counts a peer that has come or gone, of whom the engine does not know if there is one data pipe for all.
func (e *endpoint) tally(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.peers+n < 0 {
		return
	}
	e.peers += n
	if e.answered && e.classic != nil {
		e.count(n)
	}
}
