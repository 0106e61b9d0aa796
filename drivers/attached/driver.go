// Package attached is the bridge to drivers that are C functions: an attached thread, as czmq 2 has them, with a
// control pipe. It implements the contract of vtx/driver.go on behalf of such a function.
//
// What the function is told, by four-frame commands on the control pipe, and what it answers, by one frame each, is
// in driver.go; what an endpoint is to it, in endpoint.go. Messages go one of two ways. Either the function opens a
// peering for each of its peers (peering.go): then a link of the engine's is one peer. Or it connects one
// socket to inproc://<vtxname> when it is told of the endpoint, as drivers of the original VTX do, and tells its
// peers apart by itself (classic.go).
package attached

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// How long a driver may take to answer: what can need a look-up of names, and what ends something.
const (
	callLimit = 5 * time.Second
	endLimit  = 2 * time.Second
)

// The commands.
const (
	cmdBind       = "BIND"       // claim the address
	cmdConnect    = "CONNECT"    // look for the peer
	cmdUnbind     = "UNBIND"     // release the address; what is in the pipes is all there will be. EINPROGRESS: wait
	cmdDisconnect = "DISCONNECT" // likewise for the one peer
	cmdClose      = "CLOSE"      // forget the vtxname and all that belongs to it, now
	cmdGetMeta    = "GETMETA"    // the fourth frame is a name; the answer is the value
	cmdShutdown   = "SHUTDOWN"   // answer, and return
)

// Thread starts the driver's function in a thread of its own, whose control pipe connects to the inproc endpoint
// control, and has ended called when the function has returned and its sockets are closed.
type Thread func(control string, ended func()) error

// serial numbers the inproc endpoints of the process, whichever manager they serve.
var serial atomic.Uint64

func newName(what string) string { return fmt.Sprintf("vtx-%s-%d", what, serial.Add(1)) }

// Driver is one registered function in its thread. It serves one manager.
type Driver struct {
	m       *vtx.Manager
	scheme  string
	control *zmq.Socket   // PAIR
	ended   chan struct{} // closed when the function has returned
	once    sync.Once     // to close

	calls sync.Mutex // guards the control pipe: one command at a time
	due   int        // answers that have not come; more than one: the driver is late
	quiet bool       // the last one did not come in time
}

// Start starts a function as the driver of a scheme. Errors: those of thread, vtx.ErrTooMany, vtx.ErrTerminated.
func Start(m *vtx.Manager, scheme string, verbose bool, thread Thread) (*Driver, error) {
	name := "inproc://" + newName("control")
	control, err := m.OpenBridge(zmq.TypePair, name, 0)
	if err != nil {
		return nil, fmt.Errorf("the control pipe of %s://: %w", scheme, err)
	}
	d := &Driver{m: m, scheme: scheme, control: control, ended: make(chan struct{})}
	if err := thread(name, d.over); err != nil {
		m.CloseBridge(control)
		return nil, fmt.Errorf("the thread of %s://: %w", scheme, err)
	}
	level := "0"
	if verbose {
		level = "1"
	}
	d.send(level)
	return d, nil
}

// Scheme implements vtx.Driver.
func (d *Driver) Scheme() string { return d.scheme }

// Traits implements vtx.Driver. Subscriptions cross a peering as messages, for the driver to carry.
func (d *Driver) Traits() vtx.Traits { return vtx.Traits{Subscriptions: true} }

// Listen implements vtx.Driver.
func (d *Driver) Listen(cfg *vtx.Config) (vtx.Listener, error) {
	e, err := d.open(cfg, cmdBind)
	if err != nil {
		return nil, err
	}
	e.findAddress()
	return listener{e}, nil
}

// Dialer implements vtx.Driver.
func (d *Driver) Dialer(cfg *vtx.Config) (vtx.Dialer, error) {
	e, err := d.open(cfg, cmdConnect)
	if err != nil {
		return nil, err
	}
	return dialer{e}, nil
}

// Close implements vtx.OwnDriver. The function is asked to return; one that does not know SHUTDOWN answers
// with an error, and returns when its sockets fail because the context ends. Until then the control pipe stays
// open, or a function that comes to answer late would wait on it for ever.
func (d *Driver) Close() {
	d.once.Do(func() {
		if d.order(endLimit, cmdShutdown, vtx.Pair, "", "") == nil {
			select {
			case <-d.ended:
			case <-time.After(endLimit):
			}
		}
		if !d.alive() {
			d.m.CloseBridge(d.control)
			return
		}
		h := d.m.ReleaseBridge(d.control)
		go func() {
			<-d.ended
			zmq.CloseHandle(h)
		}()
	})
}

// over notes that the function has returned, and with it its sockets have gone.
func (d *Driver) over() {
	peerings.Lock()
	for h, p := range peerings.byHandle {
		if p.e.d == d {
			delete(peerings.byHandle, h)
		}
	}
	peerings.Unlock()
	close(d.ended)
}

// gone is the error for a function that has returned.
func (d *Driver) gone() error {
	return fmt.Errorf("the driver of %s:// has ended: %w", d.scheme, syscall.ESRCH)
}

func (d *Driver) alive() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// order gives a command whose answer is a status. Errors: the driver's errno, and those of ask.
func (d *Driver) order(limit time.Duration, command string, typ vtx.SocketType, vtxname, address string) error {
	answer, err := d.ask(limit, command, typ, vtxname, address)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(answer, 10, 31)
	switch {
	case err != nil:
		return fmt.Errorf("the driver answered %s with %.40q, which is no errno: %w", command, answer, syscall.EPROTO)
	case number != 0:
		return fmt.Errorf("the driver refused %s: %w", command, refusalOf(syscall.Errno(number)))
	}
	return nil
}

// refusalOf is the engine's error for a driver's errno, where it has one.
func refusalOf(number syscall.Errno) error {
	switch number {
	case syscall.EINVAL:
		return vtx.ErrInvalid
	case syscall.ENOTSUP:
		return vtx.ErrNotSupported
	}
	return number
}

// ask gives a command and waits for its answer. A driver that has not answered the one before is not waited for when
// something ends. Errors: EPROTO for an answer that is not one frame, ETIMEDOUT, ESRCH if the driver has ended.
func (d *Driver) ask(limit time.Duration, command string, typ vtx.SocketType, vtxname, argument string) (string, error) {
	d.calls.Lock()
	defer d.calls.Unlock()
	if !d.alive() {
		return "", d.gone()
	}
	if _, err := d.answers(); err != nil { // late ones
		return "", err
	}
	if d.quiet && limit == endLimit {
		limit = 0
	}
	if err := d.send(command, strconv.Itoa(int(typ)), vtxname, argument); err != nil {
		return "", err
	}
	d.due++
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for ended := false; ; {
		answer, err := d.answers()
		if err != nil {
			return "", err
		}
		if d.due == 0 {
			return d.read(command, answer)
		}
		if ended {
			return "", d.gone()
		}
		select {
		case <-d.control.Readable():
		case <-d.ended:
			ended = true // its last words may be there
		case <-timer.C:
			d.quiet = true
			return "", fmt.Errorf("the driver did not answer %s within %v: %w", command, limit, syscall.ETIMEDOUT)
		}
	}
}

// answers takes what has come, and gives the last. Answers that nobody has asked for are thrown away.
func (d *Driver) answers() (last vtx.Message, err error) {
	for {
		buf, n, _, err := d.control.Recv(nil)
		if err != nil || n == 0 {
			return last, err
		}
		batch := vtx.Framed(buf, n)
		for m := batch.Pop(); m != nil; m = batch.Pop() {
			if d.due > 0 {
				d.due--
				d.quiet = false
				last = m
			}
		}
	}
}

// read gives the one frame of an answer.
func (d *Driver) read(command string, answer vtx.Message) (string, error) {
	var frames [][]byte
	for f := range answer.Frames() {
		frames = append(frames, f)
	}
	if len(frames) != 1 {
		return "", fmt.Errorf("the driver answered %s with %d frames in place of one: %w", command, len(frames), syscall.EPROTO)
	}
	return string(frames[0]), nil
}

func (d *Driver) send(frames ...string) error {
	var b vtx.Batch
	var bodies [][]byte
	for _, f := range frames {
		bodies = append(bodies, []byte(f))
	}
	b.Append(bodies...)
	return b.Offer(func(framed []byte) (int, int, error) { return d.control.Send(framed) })
}

// hung says that an error is of a driver that may do something else than answer, or nothing any more.
func hung(err error) bool { return errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, syscall.ESRCH) }
