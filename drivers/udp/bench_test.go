package udp

import (
	"testing"

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

func BenchmarkRequestReply(b *testing.B) {
	srv := bind(b, vtx.Rep)
	go func() {
		l, err := srv.Accept()
		if err == nil {
			l.Start(&echoSink{l: l})
		}
	}()
	woken := make(wakeSink, 1)
	l := dialTo(b, vtx.Req, srv.to).dial(b, woken)
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
