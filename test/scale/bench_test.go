package scale

import (
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// anonymous is the process's anonymous memory in KiB, without what Go would give back.
func anonymous(b *testing.B) int {
	debug.FreeOSMemory()
	return status(b, "RssAnon")
}

// mostThreads watches how many threads there are at most until it is called.
func mostThreads(b *testing.B) func() int {
	stop, most := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			n = max(n, status(b, "Threads"))
			select {
			case <-stop:
				most <- n
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() int { close(stop); return <-most }
}

// ms is the time since begin, in milliseconds.
func ms(begin time.Time) float64 { return float64(time.Since(begin).Microseconds()) / 1000 }

// call measures one call, the fastest of three, in µs.
func call(b *testing.B, name string, do func() error) {
	best := time.Hour
	for range 3 {
		begin := time.Now()
		if err := do(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		best = min(best, time.Since(begin))
	}
	b.ReportMetric(float64(best.Nanoseconds())/1000, name+"-µs")
}

// hear receives a word of each of n peers.
func hear(b *testing.B, s *app.Socket, n int) {
	b.Helper()
	for i := range n {
		if _, err := s.RecvWithin(app.Patience); err != nil {
			b.Fatalf("%d of %d heard: %v", i, n, err)
		}
	}
}

var sizes = []int{1000, 2000, 4000, 8000}

// BenchmarkRouter: peers come, each says a word, the calls that manage sockets are made, and the peers leave.
func BenchmarkRouter(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint("libzmq/", n), func(b *testing.B) {
			for b.Loop() {
				c := app.NewContext(b)
				router := c.Socket(b, int(vtx.Router))
				router.Set(zmq.Backlog, 1000)
				router.Native(true, "tcp://127.0.0.1:*")
				peers := startCrowd(b, "DEALER", router.LastEndpoint())
				before, begin := anonymous(b), time.Now()
				go peers.tell(fmt.Sprint("come ", n))
				hear(b, router, n)
				b.ReportMetric(ms(begin), "setup-ms")
				b.ReportMetric(float64(anonymous(b)-before)/float64(n), "KiB/peering")
				peers.leave()
			}
		})
		b.Run(fmt.Sprint("vtx/", n), func(b *testing.B) {
			for b.Loop() {
				manyOnRouter(b, n)
			}
		})
	}
}

func manyOnRouter(b *testing.B, n int) {
	h := newHost(b, n+200)
	router, at := h.bind(vtx.Router, 1000)
	peers := startCrowd(b, "DEALER", at)
	before, begin, most := anonymous(b), time.Now(), mostThreads(b)
	var told sync.WaitGroup
	told.Go(func() { peers.tell(fmt.Sprint("come ", n)) })
	hear(b, router, n)
	told.Wait()
	b.ReportMetric(ms(begin), "setup-ms")
	b.ReportMetric(float64(most()), "setup-threads")
	b.ReportMetric(float64(anonymous(b)-before)/float64(n), "KiB/peering")

	meta := func(name string) func() error {
		return func() error { _, err := h.Meta(router.P, name); return err }
	}
	call(b, "stats", meta("stats"))
	call(b, "peers", meta("peers"))
	call(b, "sender:ID", meta("sender:DEALER-500"))
	call(b, "sender", func() error { h.Meta(router.P, "sender"); return nil })
	var endpoint string
	call(b, "bind", func() (err error) {
		if err = h.Bind(router.P, "tcp://127.0.0.1:*"); err == nil {
			endpoint = h.meta(router, "endpoint")
		}
		return err
	})
	call(b, "connect", func() error { return h.Connect(router.P, endpoint) })
	call(b, "disconnect", func() error { return h.Disconnect(router.P, endpoint) })
	monitors := 0
	call(b, "monitor", func() error {
		monitors++
		return h.Monitor(router.P, fmt.Sprint("inproc://events-", monitors), int(vtx.EventRefused))
	})
	begin = time.Now()
	if err := h.Unbind(router.P, endpoint); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(ms(begin)*1000, "unbind-µs")

	most, begin = mostThreads(b), time.Now()
	peers.leave()
	app.Eventually(b, "all have left", func() bool {
		router.RecvWithin(0)
		return h.peers(router) == 0
	})
	router.RecvWithin(0) // or a ROUTER takes those who come back by the same name for those who were there
	b.ReportMetric(ms(begin), "leave-ms")
	b.ReportMetric(float64(most()), "leave-threads")

	peers, begin, most = startCrowd(b, "DEALER", at), time.Now(), mostThreads(b)
	told.Go(func() { peers.tell(fmt.Sprint("come ", n)) })
	hear(b, router, n)
	told.Wait()
	b.ReportMetric(ms(begin), "again-ms")
	begin = time.Now()
	router.Forget()
	if err := h.Close(router.P); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(ms(begin), "close-ms")
	begin = time.Now()
	if err := h.Destroy(); err != nil {
		b.Fatal(err)
	}
	h.Term()
	b.ReportMetric(ms(begin), "end-ms")
	b.ReportMetric(float64(most()), "end-threads")
	peers.leave()
}

// BenchmarkConnections: one socket connects very often, and disconnects again, or is closed.
func BenchmarkConnections(b *testing.B) {
	for _, n := range []int{500, 1000, 2000, 4000} { // both ends of each are in this process
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				h := newHost(b, 2*n+200)
				pull, at := h.bind(vtx.Pull, 1000)
				push := h.Context.Socket(b, int(vtx.Push))
				connect := func(name string) {
					begin := time.Now()
					for range n {
						if err := h.Connect(push.P, at); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(ms(begin), name)
					app.Eventually(b, "all are there", func() bool { return h.peers(push) == n })
					for range 2 * n { // each has its turn
						push.Send("")
					}
					hear(b, pull, 2*n)
				}
				connect("connect-ms")
				begin := time.Now()
				for range n {
					if err := h.Disconnect(push.P, at); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(ms(begin), "disconnect-ms")
				app.Eventually(b, "all have left", func() bool {
					pull.RecvWithin(0)
					return h.peers(push) == 0 && h.peers(pull) == 0
				})
				connect("again-ms")
				begin = time.Now()
				push.Forget()
				if err := h.Close(push.P); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(ms(begin), "close-ms")
				begin = time.Now()
				if err := h.Destroy(); err != nil {
					b.Fatal(err)
				}
				pull.Close()
				h.Term()
				b.ReportMetric(ms(begin), "end-ms")
			}
		})
	}
}

// BenchmarkFairness: among 8,000 peers 100 send as much as they can.
func BenchmarkFairness(b *testing.B) {
	const here, busy, others = 200, 100, 7700 // those here have descriptors at both ends
	for b.Loop() {
		f := newFair(b, here, busy, others)
		crowd := startCrowd(b, "DEALER", f.at)
		go crowd.tell(fmt.Sprint("come ", others))
		hear(b, f.router, others)
		fairShares(b, f, 1000)
	}
}

// processor is the processor time that the process has used, in ms.
func processor(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
}

// BenchmarkPublisher: subscribers come, and receive messages one by one and in a burst.
func BenchmarkPublisher(b *testing.B) {
	const burst, singles = 100, 20
	publish := func(b *testing.B, n int, pub *app.Socket, at string) {
		pub.Set(optXPubVerbose, 1)
		subs := startCrowd(b, "SUB", at)
		begin := time.Now()
		subs.order(fmt.Sprint("come ", n))
		hear(b, pub, n)
		subs.done()
		b.ReportMetric(ms(begin), "subscribe-ms")
		body := strings.Repeat("x", 100)
		measure := func(count, sent int, name string) {
			used, sending := processor(b), time.Duration(0)
			begin := time.Now()
			for range count {
				subs.order(fmt.Sprint("receive ", sent))
				begin := time.Now()
				for range sent {
					pub.Send(body)
				}
				sending += time.Since(begin)
				subs.done()
			}
			all := float64(count * sent)
			b.ReportMetric(ms(begin)/all, name+"-ms")
			b.ReportMetric(float64(sending.Microseconds())/1000/all, name+"-send-ms")
			b.ReportMetric((processor(b)-used)/all, name+"-cpu-ms")
		}
		measure(singles, 1, "single")
		measure(3, burst, "burst")
		subs.leave()
	}
	for _, n := range sizes {
		b.Run(fmt.Sprint("libzmq/", n), func(b *testing.B) {
			for b.Loop() {
				c := app.NewContext(b)
				pub := c.Socket(b, int(vtx.XPub))
				pub.Set(zmq.Backlog, 1000)
				pub.Native(true, "tcp://127.0.0.1:*")
				publish(b, n, pub, pub.LastEndpoint())
			}
		})
		for _, shared := range []string{"off", "drop"} {
			b.Run(fmt.Sprint("vtx-", shared, "/", n), func(b *testing.B) {
				for b.Loop() {
					h := newHost(b, n+200)
					h.share(shared)
					pub, at := h.bind(vtx.XPub, 1000)
					publish(b, n, pub, at)
				}
			})
		}
	}
}
