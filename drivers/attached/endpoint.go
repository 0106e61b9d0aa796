package attached

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/vtx"
)

// endpoint is one vtx_bind or vtx_connect, and what a driver calls a vtxname. It is the listener or dialer of the
// engine's.
//
//	BIND, CONNECT ──► open ──► (links come and go) ──► UNBIND, DISCONNECT ──► CLOSE
//
// UNBIND or DISCONNECT says that the driver has been given all there is to send: when the engine has closed the last
// link, or closes the endpoint. CLOSE follows when LINGER has run out or everything is sent.
type endpoint struct {
	d       *Driver
	cfg     *vtx.Config
	command string // cmdBind or cmdConnect
	vtxname string
	classic *classic // nil once it is known that the driver opens peerings

	wake   chan struct{} // signalled: there is something in queue
	closed chan struct{} // the engine wants no more links
	ending sync.Once     // to end
	told   chan struct{} // UNBIND or DISCONNECT has been answered
	final  chan struct{} // nothing of it is waited for any more

	mu       sync.Mutex
	address  string     // as bound, for the application
	answered bool       // BIND or CONNECT has been, and classic does not change any more
	queue    []vtx.Link // for the engine to take
	peerings map[*peering]struct{}
	links    int       // that the engine has
	waiting  int       // that the engine has closed, and the driver may still be sending for
	winding  bool      // UNBIND or DISCONNECT is on its way
	dialled  bool      // CONNECT: the engine has taken a link
	kept     vtx.Batch // taken from the engine and not by the driver, for the next peering
	peers    int       // as counted by a classic driver
	reported bool      // that the driver has ended
}

// endpoints are those of all drivers, by vtxname: what the C API is given.
var endpoints struct {
	sync.Mutex
	byName map[string]*endpoint
}

// open tells the driver of a new endpoint. Errors: the driver's errno, and those of Driver.ask.
func (d *Driver) open(cfg *vtx.Config, command string) (*endpoint, error) {
	e := &endpoint{
		d: d, cfg: cfg, command: command, vtxname: newName("endpoint"), address: cfg.Endpoint.Address,
		wake: make(chan struct{}, 1), closed: make(chan struct{}), told: make(chan struct{}), final: make(chan struct{}),
		peerings: make(map[*peering]struct{}),
	}
	fail := func(err error) error { return fmt.Errorf("endpoint %s: %w", cfg.Endpoint, err) }
	var err error
	if e.classic, err = newClassic(e); err != nil {
		return nil, fail(err)
	}
	endpoints.Lock()
	if endpoints.byName == nil {
		endpoints.byName = make(map[string]*endpoint)
	}
	endpoints.byName[e.vtxname] = e
	endpoints.Unlock()
	if err := d.order(callLimit, command, cfg.Type, e.vtxname, cfg.Endpoint.Address); err != nil {
		e.abandon()
		return nil, fail(err)
	}
	e.decide()
	return e, nil
}

// decide looks whether the driver has connected a data pipe, when it has answered.
func (e *endpoint) decide() {
	c := e.classic
	classic := c.connected()
	if classic {
		c.start()
	} else {
		c.close()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answered = true
	if classic {
		e.count(e.peers)
	} else {
		e.classic = nil
	}
}

// abandon forgets an endpoint that the driver did not take. What it has of it nevertheless, or may have when it
// comes to answer, it is to forget too.
func (e *endpoint) abandon() {
	close(e.closed)
	e.d.order(endLimit, cmdClose, e.cfg.Type, e.vtxname, e.cfg.Endpoint.Address)
	e.forget()
	e.cutAll()
	e.classic.close()
}

// findAddress asks for the address that a wildcard became. A driver may say "".
func (e *endpoint) findAddress() {
	if given := e.cfg.Endpoint.Address; !strings.Contains(given, "*") && !strings.HasSuffix(given, ":0") {
		return
	}
	answer, err := e.Tell("endpoint")
	if err != nil {
		return
	}
	answer = strings.TrimPrefix(answer, e.d.scheme+"://")
	if p, err := vtx.ParseEndpoint(e.d.scheme + "://" + answer); err == nil && p.Address == answer && answer != "" {
		e.mu.Lock()
		e.address = answer
		e.mu.Unlock()
	}
}

// String is the endpoint as bound or connected.
func (e *endpoint) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.d.scheme + "://" + e.address
}

// Traits implements vtx.Variable.
func (e *endpoint) Traits() vtx.Traits {
	if e.classic != nil {
		return vtx.Traits{Crowd: true}
	}
	return e.d.Traits()
}

// Tell implements vtx.Teller.
func (e *endpoint) Tell(name string) (string, error) {
	return e.d.ask(callLimit, cmdGetMeta, e.cfg.Type, e.vtxname, name)
}

// offer puts a link where the engine will take it.
func (e *endpoint) offer(l vtx.Link) {
	e.mu.Lock()
	e.queue = append(e.queue, l)
	e.mu.Unlock()
	e.stir()
}

func (e *endpoint) stir() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// take gives the link that is first in the queue, or nil.
func (e *endpoint) take() vtx.Link {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == 0 {
		return nil
	}
	l := e.queue[0]
	e.dialled = true
	if e.queue = e.queue[1:]; len(e.queue) > 0 {
		e.stir()
	}
	return l
}

// withdraw takes a link out of the queue; false: the engine has it.
func (e *endpoint) withdraw(l vtx.Link) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.queue {
		if e.queue[i] == l {
			e.queue = append(e.queue[:i], e.queue[i+1:]...)
			return true
		}
	}
	return false
}

// waits gives the link of a peering that is in the queue, or nil. e.mu is held.
func (e *endpoint) waits(of func(*peering) bool) vtx.Link {
	for _, l := range e.queue {
		if l, ok := l.(*link); ok && of(l.p) {
			return l
		}
	}
	return nil
}

// started and stopped count the links that the engine has. When the engine has closed all, there is nothing more to
// send: links go one by one only when the driver ends them.
func (e *endpoint) started() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.links++
}

func (e *endpoint) stopped(byEngine bool) {
	e.mu.Lock()
	e.links--
	if byEngine {
		e.waiting++
	}
	last := e.links == 0 && e.waiting > 0
	e.mu.Unlock()
	if last {
		go e.windUp()
	}
}

// checkInterval is how often a driver that still has something to send is asked whether it lives.
const checkInterval = time.Second

// windUp tells the driver that it has all, and watches over it until the endpoint is closed. It returns when the
// driver has been told.
func (e *endpoint) windUp() {
	e.mu.Lock()
	already := e.winding
	e.winding = true
	e.mu.Unlock()
	if already {
		<-e.told
		return
	}
	command := cmdUnbind
	if e.command == cmdConnect {
		command = cmdDisconnect
	}
	err := e.d.order(endLimit, command, e.cfg.Type, e.vtxname, e.cfg.Endpoint.Address)
	if errors.Is(err, syscall.EINPROGRESS) && e.classic == nil {
		go e.watch() // it will close each peering when it has sent all
	} else {
		e.giveUp() // it is done, or does not know the command
	}
	close(e.told)
}

// watch gives the endpoint up when its driver hangs, so that nobody waits for it.
func (e *endpoint) watch() {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		select {
		case <-e.final:
			return
		case <-e.d.ended:
			e.giveUp()
			return
		case <-tick.C:
			_, err := e.d.ask(endLimit, cmdGetMeta, e.cfg.Type, e.vtxname, "endpoint")
			if hung(err) {
				e.giveUp()
				return
			}
		}
	}
}

func (e *endpoint) giveUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.final:
	default:
		close(e.final)
	}
}

// end is the end of the endpoint: what the driver still has of it is cut off.
func (e *endpoint) end() {
	e.ending.Do(func() {
		close(e.closed)
		e.windUp()
		e.d.order(endLimit, cmdClose, e.cfg.Type, e.vtxname, e.cfg.Endpoint.Address)
		e.forget()
		e.giveUp()
		e.cutAll()
		e.mu.Lock()
		kept, peers := e.kept.Len(), e.peers
		e.mu.Unlock()
		if e.classic != nil {
			e.classic.close()
			e.count(-peers)
		}
		e.cfg.Report.Drop(vtx.DropUnsent, kept)
	})
}

// cutAll parts the peerings that the driver still has open from the engine.
func (e *endpoint) cutAll() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for p := range e.peerings {
		p.cut()
	}
}

// forget makes the vtxname unknown to the C API.
func (e *endpoint) forget() {
	endpoints.Lock()
	defer endpoints.Unlock()
	delete(endpoints.byName, e.vtxname)
}

// count tells how many of a classic driver's peers came or went.
func (e *endpoint) count(n int) {
	if c, ok := e.cfg.Report.(vtx.PeerCounter); ok && n != 0 {
		c.Peers(n)
	}
}

// listener is an endpoint that was bound.
type listener struct{ *endpoint }

// Addr implements vtx.Listener.
func (l listener) Addr() string { return l.String() }

// Accept implements vtx.Listener.
func (l listener) Accept() (vtx.Link, error) {
	ended := l.d.ended
	if l.reported {
		ended = nil
	}
	for {
		if link := l.take(); link != nil {
			return link, nil
		}
		select {
		case <-l.wake:
		case <-l.closed:
			return nil, net.ErrClosed
		case <-ended:
			l.reported = true // there is one Accept at a time
			return nil, l.d.gone()
		}
	}
}

// Close implements vtx.Listener.
func (l listener) Close() error {
	l.end()
	return nil
}

// dialer is an endpoint that was connected.
type dialer struct{ *endpoint }

// Dial implements vtx.Dialer. It is the driver that looks for the peer.
func (x dialer) Dial(ctx context.Context) (vtx.Link, error) {
	for {
		if link := x.take(); link != nil {
			return link, nil
		}
		select {
		case <-x.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-x.closed:
			return nil, net.ErrClosed
		case <-x.d.ended:
			return nil, fmt.Errorf("endpoint %s: %w", x.cfg.Endpoint, x.d.gone())
		}
	}
}

// Unsent implements vtx.Keeper. A driver that has ended sends nothing more.
func (x dialer) Unsent() int {
	if !x.d.alive() {
		return 0
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.kept.Len()
}

// Close implements vtx.Dialer.
func (x dialer) Close() error {
	x.end()
	return nil
}

// find gives the endpoint that a driver calls vtxname. Errors: ENOENT.
func find(vtxname string) (*endpoint, error) {
	endpoints.Lock()
	defer endpoints.Unlock()
	if e := endpoints.byName[vtxname]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("vtxname %.60q: there is none, or it has been closed: %w", vtxname, syscall.ENOENT)
}
