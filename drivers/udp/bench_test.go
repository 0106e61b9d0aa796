package udp

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/nom"
	"github.com/libvtx/libvtx/vtx"
)

// echoSink answers each request from the reader's goroutine.
type echoSink struct {
	l     vtx.Link
	reply vtx.Batch
}

func (s *echoSink) Deliver(b *vtx.Batch) error { return s.TryDeliver(b) }

func (s *echoSink) TryDeliver(b *vtx.Batch) error {
	for m := b.Pop(); m != nil; m = b.Pop() {
		s.reply.AppendMessage(m, 0, false)
	}
	err := s.l.Send(&s.reply)
	s.reply.Reset()
	return err
}

// wakeSink tells that something came.
type wakeSink chan int

func (s wakeSink) Deliver(b *vtx.Batch) error { return s.TryDeliver(b) }

func (s wakeSink) TryDeliver(b *vtx.Batch) error {
	n := b.Len()
	b.Reset()
	s <- n
	return nil
}

func BenchmarkRequestReply(b *testing.B)      { requestReply(b, "1") }
func BenchmarkPlainRequestReply(b *testing.B) { requestReply(b, plainOnly) }

func requestReply(b *testing.B, plain string) {
	srv := bind(b, vtx.Rep)
	go func() {
		l, err := srv.Accept()
		if err == nil {
			l.Start(&echoSink{l: l})
		}
	}()
	woken := make(wakeSink, 1)
	l := dialTo(b, vtx.Req, srv.to, optPlain, plain).dial(b, woken)
	frames := [][]byte{nil, make([]byte, 100)}
	out := new(vtx.Batch)
	b.ReportAllocs()
	for b.Loop() {
		out.Append(frames...)
		if err := l.Send(out); err != nil {
			b.Fatal(err)
		}
		out.Reset()
		<-woken
	}
	b.ReportMetric(float64(srv.rep.retries), "retries")
}

// BenchmarkOneWay sends in batches, a few of which may be on their way at a time.
func BenchmarkOneWay(b *testing.B) {
	srv := bind(b, vtx.Push)
	woken := make(wakeSink, 1<<16)
	d := dialTo(b, vtx.Pull, srv.to)
	c := d.later(b, woken)
	l := srv.accept(b, newSink())
	got(b, c)
	body := make([]byte, 100)
	out := new(vtx.Batch)
	b.ReportAllocs()
	sent, received := 0, 0
	for b.Loop() {
		out.Append(body)
		if sent++; out.Len() < 64 {
			continue
		}
		if err := l.Send(out); err != nil {
			b.Fatal(err)
		}
		out.Reset()
		for sent-received > 1024 {
			received += <-woken
		}
	}
}

// BenchmarkPeerings makes peerings with one bound socket of a real PULL, -benchtime 8000x. Each client
// has a descriptor in this process too.
func BenchmarkPeerings(b *testing.B) {
	c := app.NewContext(b)
	c.SetMaxSockets(b.N + 1000)
	m, err := vtx.NewManager(c.P)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Destroy()
	pull := c.Socket(b, int(vtx.Pull))
	if err := m.Bind(pull.P, "udp://127.0.0.1:*"); err != nil {
		b.Fatal(err)
	}
	at, err := m.Meta(pull.P, "endpoint")
	if err != nil {
		b.Fatal(err)
	}
	server := &bound{to: netip.MustParseAddrPort(strings.TrimPrefix(at, "udp://"))}
	descriptors := func() int { all, _ := os.ReadDir("/proc/self/fd"); return len(all) }
	before, buf := descriptors(), make([]byte, 1<<10)
	b.ResetTimer()
	for range b.N {
		x := newExtended(b, server, vtx.Push)
		_ = x.SetReadBuffer(2048) // it answers no probe
		for x.theirs == 0 {       // so many unanswered probes make loopback lose some of the rest
			x.send(greeting(nom.OHAI, []byte("h:1"), &x.hello))
			_ = x.SetReadDeadline(time.Now().Add(callEvery))
			n, _, _ := x.ReadFromUDPAddrPort(buf)
			_, body, _ := nom.ParseHeader(buf[:n])
			if answer, err := nom.ParseHello(nom.ParseGreeting(body).Properties); err == nil {
				x.hello.Cookie, x.theirs = answer.Cookie, answer.Token
			}
		}
		x.send(x.datagram(nom.NOM, 0, "\x00\x01A"))
	}
	app.Eventually(b, "all peerings", func() bool {
		n, err := m.Meta(pull.P, "peers")
		return err == nil && n == strconv.Itoa(b.N)
	})
	b.StopTimer()
	b.ReportMetric(float64(descriptors()-before-b.N)/float64(b.N), "descriptors/peering")
}
