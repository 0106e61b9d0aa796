package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// roomyBuffer is the receive buffer asked for where the application leaves it to us: a burst
// waits there instead of being lost. The kernel gives what net.core.rmem_max allows.
const roomyBuffer = 4 << 20

// openConn binds a UDP socket and applies the application's options to it. Go sets SO_BROADCAST by
// itself, and no SO_REUSEADDR: a used port is an error.
func openConn(network, address string, o *vtx.Options) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) (err error) {
		if cerr := c.Control(func(fd uintptr) { err = confine(int(fd), network == "udp4", o) }); cerr != nil {
			return cerr
		}
		return err
	}}
	pc, err := lc.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	conn := pc.(*net.UDPConn)
	if err := configure(conn, o); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// confine keeps from a socket that is not bound yet what comes by another device than the application's, and what comes to
// a group on an interface where it did not join: by default Linux gives a socket what any program of the host has joined.
func confine(fd int, four bool, o *vtx.Options) error {
	if o.BindDevice != "" {
		if err := unix.BindToDevice(fd, o.BindDevice); err != nil {
			return fmt.Errorf("device %q: %w", o.BindDevice, err)
		}
	}
	if !four {
		err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0)
		if err != nil && !errors.Is(err, unix.ENOPROTOOPT) { // Linux has it since 4.20
			return fmt.Errorf("IPV6_MULTICAST_ALL: %w", err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0); err != nil { // on a socket of both families too
		return fmt.Errorf("IP_MULTICAST_ALL: %w", err)
	}
	return nil
}

func configure(conn *net.UDPConn, o *vtx.Options) error {
	var errs []error
	switch {
	case o.RcvBuf > 0:
		errs = append(errs, conn.SetReadBuffer(o.RcvBuf))
	case o.RcvBuf < 0:
		errs = append(errs, conn.SetReadBuffer(roomyBuffer))
	}
	if o.SndBuf > 0 {
		errs = append(errs, conn.SetWriteBuffer(o.SndBuf))
	}
	if o.TOS != 0 {
		if !addrPort(conn.LocalAddr()).Addr().Is4() {
			errs = append(errs, ipv6.NewPacketConn(conn).SetTrafficClass(o.TOS))
		} else {
			errs = append(errs, ipv4.NewPacketConn(conn).SetTOS(o.TOS))
		}
	}
	errs = append(errs, forbidFragments(conn))
	return errors.Join(errs...)
}

// forbidFragments has the system refuse datagrams that are longer than the path allows.
func forbidFragments(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		if addrPort(conn.LocalAddr()).Addr().Is6() {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
		}
		if err == nil { // on a socket of both families too
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		}
	})
	return errors.Join(cerr, err)
}

// socket is the UDP socket of a listener or of a dialled link. It is never connected, since peers may answer
// from another address than was called. Safe for use by several goroutines.
type socket struct {
	*descriptor
	poller vtx.Poller
	at     netip.AddrPort
	four   bool         // else addresses are IPv6 ones, maybe mapped
	gone   atomic.Int64 // clock at which the GONEs sent so far are paid off
	batch  batcher

	segments atomic.Bool // the system makes several datagrams of one long one, see segment.go
}

// batcher is what IPv4 and IPv6 connections have in common.
type batcher interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
}

// newSocket takes a connection over from the Go runtime, whose poller would otherwise wake a thread for each
// datagram beside the one that reads it. The connection is closed in any case.
func newSocket(conn *net.UDPConn, poller vtx.Poller) (*socket, error) {
	s := &socket{poller: poller, at: addrPort(conn.LocalAddr())}
	s.four = s.at.Addr().Is4()
	var err error
	if s.descriptor, err = takeOver(conn); err != nil {
		return nil, err
	}
	if c := (unpolled{d: s.descriptor, local: conn.LocalAddr()}); s.four {
		s.batch = ipv4.NewPacketConn(c)
	} else {
		s.batch = ipv6.NewPacketConn(c)
	}
	s.askForSegments()
	return s, nil
}

// watch has ready called while there are datagrams to receive, until close.
func (s *socket) watch(ready func()) error {
	return s.use(func(fd int) error { return s.poller.Watch(fd, ready) })
}

// gonesEvery bounds the GONEs of one socket: so many nanoseconds apart, but for a few at once.
const (
	gonesEvery = 1_000_000
	gonesBurst = 100
)

// disown tells an address that a token is not known here, so that the peer of a program that was started again learns it
// at once. It is never longer than what it answers.
func (s *socket) disown(t nom.Token, to netip.AddrPort, now int64) {
	if !paced(&s.gone, now, gonesEvery, gonesBurst) {
		return
	}
	var b [nom.ExtendedSize]byte
	_ = s.send(nom.AppendHeader(b[:0], nom.Header{Command: nom.GONE, Extended: true, Token: t}), to)
}

// paced says whether something may happen that may so often, and a few times at once. due is the clock at which what has
// happened so far is paid off.
func paced(due *atomic.Int64, now, every, burst int64) bool {
	for {
		before := due.Load()
		if before-now > burst*every {
			return false
		}
		if due.CompareAndSwap(before, max(before, now)+every) {
			return true
		}
	}
}

// close closes the socket. Idempotent.
func (s *socket) close() { s.end(s.poller.Unwatch) }

// local is the address that the socket is bound to.
func (s *socket) local() netip.AddrPort { return s.at }

// addrPort gives each address one form: on a socket of both families IPv4 ones arrive mapped.
func addrPort(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return unmapped(u.AddrPort())
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// maxBatch is the number of datagrams that one system call sends at most; a run may have as many.
const maxBatch = 64

// slots is the number of datagrams, or of runs of them (see segment.go), that one system call receives at most; a reader
// that meets little traffic begins with minWant.
const (
	slots   = 16
	minWant = 4
)

// maxPayload is the largest UDP payload.
const maxPayload = 65507

// datagram is one arrival. Its data is valid until the next receive.
type datagram struct {
	from netip.AddrPort
	data []byte
}

// sender is what a peering is found by: an extended datagram's token, or a plain one's address.
type sender struct {
	from  netip.AddrPort
	token nom.Token
}

func (d *datagram) sender() sender {
	if t, ok := nom.TokenOf(d.data); ok {
		return sender{token: t}
	}
	return sender{from: d.from}
}

// reader is what receiving takes. It is borrowed for the time of one call, so that a thousand dialled links
// do not each have their own.
type reader struct {
	*arrivals
	in inbox
}

var (
	batchReaders  = sync.Pool{New: func() any { return &reader{arrivals: newArrivals(false)} }}
	singleReaders = sync.Pool{New: func() any { return &reader{arrivals: newArrivals(true)} }}
)

// arrivals is the memory into which one reader receives.
type arrivals struct {
	messages  []ipv4.Message // one for each slot
	want      int            // slots offered to the next call; preparing a slot takes time
	datagrams []datagram
}

// newArrivals makes room for batches, or for one at a time, which is then received without the cost of a batch.
func newArrivals(single bool) *arrivals {
	a := &arrivals{want: minWant, messages: make([]ipv4.Message, slots)}
	if single {
		a.want, a.messages = 1, a.messages[:1]
	}
	arena := make([]byte, len(a.messages)*maxRun)
	for i := range a.messages {
		a.messages[i].Buffers = [][]byte{arena[i*maxRun : (i+1)*maxRun : (i+1)*maxRun]}
		a.messages[i].OOB = make([]byte, controlSize)
	}
	return a
}

// receive takes what has come, which may be nothing.
func (s *socket) receive(a *arrivals) []datagram {
	a.datagrams = a.datagrams[:0]
	if len(a.messages) == 1 {
		s.receiveOne(a)
		return a.datagrams
	}
	n, err := s.batch.ReadBatch(a.messages[:a.want], unix.MSG_DONTWAIT)
	if err != nil { // whatever it was, we are called again if there is something
		return nil
	}
	for i := range n {
		m := &a.messages[i]
		a.add(addrPort(m.Addr), m.Buffers[0][:m.N], m.OOB[:m.NN])
	}
	if n == a.want {
		a.want = min(2*n, slots)
	} else if n < a.want/4 {
		a.want = max(a.want/2, minWant)
	}
	return a.datagrams
}

func (s *socket) receiveOne(a *arrivals) {
	m := &a.messages[0]
	_ = s.use(func(fd int) error {
		// Not unix.Recvmsg, which asks for the protocol of each address
		n, controls, _, from, err := syscall.Recvmsg(fd, m.Buffers[0], m.OOB, unix.MSG_DONTWAIT)
		if err == nil {
			a.add(fromSockaddr(from), m.Buffers[0][:n], m.OOB[:controls])
		}
		return err
	})
}

// send sends one datagram. No answer from the network closes the socket or stops it.
func (s *socket) send(b []byte, to netip.AddrPort) error {
	a := addresses.Get().(*address)
	defer addresses.Put(a)
	sa := a.set(to, s.four)
	for try := 0; ; {
		err := s.use(func(fd int) error { return unix.Sendto(fd, b, unix.MSG_NOSIGNAL, sa) })
		if errors.Is(err, unix.EAGAIN) {
			s.awaitRoom()
			continue
		}
		if !again(err, try) {
			return err
		}
		try++
	}
}

// again says whether a failed send is to be repeated: an earlier datagram's refusal is reported by
// the next call, and a full queue of the network device drains by itself.
func again(err error, try int) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EINTR):
		return try == 0
	case errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		time.Sleep(time.Millisecond)
		return try < 100
	}
	return false
}

// departures is a batch of datagrams to one peer, ready to be sent by one system call.
type departures struct {
	datagrams [maxBatch][]byte
	buffers   [maxBatch][maxDatagram]byte // memory for them
	taken     [maxBatch]int               // messages taken from the engine up to and with this datagram
	n         int

	messages [maxBatch]ipv4.Message // what pack makes of them
	controls [maxBatch][controlSize]byte
}

var departurePool = sync.Pool{New: func() any { return new(departures) }}

// add adds a datagram.
func (d *departures) add(b []byte) {
	d.datagrams[d.n] = b
	d.n++
}

// sendAll sends d to one peer. sent counts the datagrams that are done with, failed those of them
// that the operating system refused. The only errors are that the socket is closed, and EMSGSIZE: the next datagram
// is too long for the path.
func (s *socket) sendAll(d *departures, r *route) (sent, failed int, err error) {
	if r.ways == nil && d.n == 1 { // the common case in lock-step patterns, and the cheapest call
		if err = s.send(d.datagrams[0], r.to); errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EMSGSIZE) {
			return 0, 0, err
		} else if err != nil {
			failed = 1
		}
		return 1, failed, nil
	}
	if r.ways == nil {
		return s.sendBatch(d, r.addr, nil)
	}
	for _, way := range r.ways {
		if sent, failed, err = s.sendBatch(d, r.addr, way); err != nil {
			break
		}
	}
	return sent, failed, err
}

func (s *socket) sendBatch(d *departures, to net.Addr, way []byte) (sent, failed int, err error) {
	for try := 0; sent < d.n; {
		packed := d.pack(sent, to, way, s.segments.Load())
		n, err := s.batch.WriteBatch(packed, 0)
		if n > 0 {
			for _, m := range packed[:n] {
				sent += len(m.Buffers)
			}
			try = 0
			continue
		}
		first := len(packed[0].Buffers)
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EMSGSIZE):
			return sent, failed, err
		case first > 1 && noSegments(err):
			s.segments.Store(false)
		case again(err, try):
			try++
		default:
			sent += first
			failed += first
			try = 0
		}
	}
	return sent, failed, nil
}
