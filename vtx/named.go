package vtx

import (
	"fmt"
	"syscall"
	"time"

	"github.com/libvtx/libvtx/internal/zmq"
)

// nameFreeing is how long vtx_connect waits for libzmq to let a ROUTER have a name again.
const nameFreeing = time.Second

// meetNamed is for a ROUTER that knows the peer's name beforehand (connect.routing_id). As long as it has not read to its
// end what had the name before, libzmq takes no other for it, and does not say so. Errors: EADDRINUSE.
func (s *Socket) meetNamed(p *peering) error {
	name := p.cfg.Options.Named[optConnectRoutingID]
	_, again := s.names[name]
	for end := time.Now().Add(nameFreeing); ; time.Sleep(time.Millisecond) {
		if err := s.meetNow(p); err != nil {
			return err
		}
		pipe := p.pipe.(*pipe)
		if !again || zmq.Reaches(s.handle, name, pipe.Socket) {
			break
		}
		p.pipe = nil
		zmq.Disconnect(s.handle, p.inproc)
		s.m.closePipe(pipe)
		if time.Now().After(end) {
			return fmt.Errorf("endpoint %s: the socket still has what another peer by the name %s sent; receive that first: %w",
				p.cfg.Endpoint, quoted(name), syscall.EADDRINUSE)
		}
		zmq.Events(s.handle) // libzmq looks at what has ended
	}
	if s.names == nil {
		s.names = make(map[string]struct{})
	}
	s.names[name] = struct{}{}
	return nil
}
