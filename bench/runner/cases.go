package main

import "slices"

// A benchCase is one measurement of several sides that are to be compared. Adding one to the table below is all that
// a new comparison takes.
type benchCase struct {
	name    string   // what the command line calls it, words joined by dashes
	title   string   // what is measured
	test    string   // as vtxperf calls it
	over    string   // the argument that changes: size or count
	values  []int    // of that argument
	most    int      // that it can be; 0 is no limit
	options []string // further arguments, for both ends
	clients int      // processes that connect; 0 is 1
	loss    bool     // then again at half that rate: the share that arrives
	sides   []side   // the first is ours, and is held against each of the others
	metrics []metric // the first is plotted, or the histogram where there is one
	goals   []goal
}

// A side is a way to do it: two programs and where they meet.
type side struct {
	name     string
	bind     []string // program and what comes before the test
	connect  []string
	endpoint string   // %s is a path that nobody had before
	options  []string // further arguments; %s is the directory of certificates
}

// A metric is a figure that the programs report.
type metric struct {
	name  string
	title string
}

// A goal bounds a metric for the values from one to another: of ours divided by another side's, or by itself where
// against is empty.
type goal struct {
	metric   string
	against  string
	from, to int
	atLeast  float64 // 0 is no bound
	atMost   float64 // 0 is no bound
}

const (
	kB  = 1000
	MiB = 1 << 20
)

// The sides
var (
	vtx = []string{"vtxperf", "vtx"}
	zmq = []string{"vtxperf", "zmq"}

	anyTCP = "tcp://127.0.0.1:*"
	anyUDP = "udp://127.0.0.1:*"
	anyTLS = "tls://127.0.0.1:*"
	anyIPC = "ipc://%s"

	curve = []string{"curve=1"}
	certs = []string{"tls.cert=%s/cert.pem", "tls.key=%s/key.pem", "tls.ca=%s/ca.pem"}

	vtxTCP   = both("VTX tcp", vtx, anyTCP)
	zmqTCP   = both("libzmq tcp", zmq, anyTCP)
	bareTCP  = both("kernel tcp", []string{"bare"}, anyTCP)
	vtxIPC   = both("VTX ipc", vtx, anyIPC)
	zmqIPC   = both("libzmq ipc", zmq, anyIPC)
	bareIPC  = both("kernel ipc", []string{"bare"}, anyIPC)
	vtxUDP   = both("VTX udp", vtx, anyUDP)
	plainUDP = side{"VTX udp, plain NOM-1", vtx, vtx, anyUDP, []string{"udp.plain=only"}}
	bareUDP  = both("kernel udp", []string{"bare"}, anyUDP)
	vtxCurve = both("VTX CURVE", vtx, anyTCP, curve...)
	zmqCurve = both("libzmq CURVE", zmq, anyTCP, curve...)
	vtxTLS   = both("VTX tls", vtx, anyTLS, certs...)
	bareTLS  = both("Go TLS", []string{"baretls"}, anyTLS, certs...)
)

func both(name string, program []string, endpoint string, options ...string) side {
	return side{name, program, program, endpoint, options}
}

// waits is a side whose publisher waits for the slowest subscriber.
func waits(s side, options ...string) side {
	s.options = slices.Concat(s.options, []string{"nodrop=1"}, options)
	return s
}

// What is reported
var (
	messages  = metric{"rate", "messages/s"}
	trips     = metric{"rate", "round trips/s"}
	delivered = metric{"rate", "messages delivered/s, to all SUBs together"}
	slowest   = metric{"rate", "messages/s at the slower SUB"}
	cpu       = metric{"cpu", "µs of CPU time for a message, user and system, of both processes"}
	median    = metric{"median", "µs, median round trip"}
	p90       = metric{"p90", "µs, 90th percentile"}
	p99       = metric{"p99", "µs, 99th percentile"}
	p999      = metric{"p99.9", "µs, 99.9th percentile"}
	worst     = metric{"max", "µs, the longest round trip"}
	share     = metric{"share", "part received of what was sent at half of the rate above"}
	published = metric{"share", "part delivered of what was published"}
	each      = metric{"each", "KiB of memory for each idle peering"}
	memory    = metric{"memory", "KiB resident, of the process that bound"}
	threads   = metric{"threads", "threads of the process that bound"}
	topic     = metric{"each", "KiB of memory for each subscription, of the process that publishes"}
	silence   = metric{"wait", "ms, the longest silence that another SUB heard meanwhile"}
	shakes    = metric{"rate", "handshakes/s, one after the other, both ends verified, no resumption"}
)

var (
	oneWay     = []int{1, 10, 100, kB, 10 * kB, 65536, MiB}
	oneWayCPU  = []metric{messages, cpu}
	roundTrips = []metric{median, p90, p99, p999, worst}
)

var cases = []benchCase{
	{
		name: "tcp-throughput", title: "PUSH to PULL over tcp", test: "throughput", over: "size", values: oneWay,
		sides: []side{vtxTCP, zmqTCP, bareTCP}, metrics: oneWayCPU,
		goals: []goal{
			atLeast(1.2, "rate", zmqTCP, 1, 9),
			atLeast(1.5, "rate", zmqTCP, 10, kB),
			atLeast(1.3, "rate", zmqTCP, kB+1, 10*kB),
			atLeast(1.1, "rate", zmqTCP, 10*kB+1, MiB),
			atMost(1.0, "cpu", zmqTCP, 100, 100),
		},
	},
	{
		name: "ipc-throughput", title: "PUSH to PULL over ipc", test: "throughput", over: "size", values: oneWay,
		sides: []side{vtxIPC, zmqIPC, bareIPC}, metrics: oneWayCPU,
		goals: []goal{
			atLeast(1.3, "rate", zmqIPC, 10, kB),
			atLeast(1.1, "rate", zmqIPC, kB+1, MiB),
		},
	},
	{
		name: "curve-throughput", title: "PUSH to PULL over tcp with CURVE", test: "throughput", over: "size", values: oneWay,
		sides: []side{vtxCurve, zmqCurve}, metrics: oneWayCPU,
		goals: []goal{atLeast(1.0, "rate", zmqCurve, 1, MiB)},
	},
	{
		name: "tls-throughput", title: "PUSH to PULL over tls", test: "throughput", over: "size", values: oneWay[1:],
		sides: []side{vtxTLS, zmqCurve, bareTLS}, metrics: []metric{messages},
		goals: []goal{
			atLeast(2.0, "rate", zmqCurve, 100, MiB),
			atLeast(0.8, "rate", bareTLS, 65536, 65536),
		},
	},
	{
		name: "udp-throughput", title: "PUSH to PULL over udp", test: "throughput", over: "size", values: []int{10, 100, 400}, most: 512,
		sides: []side{vtxUDP, bareUDP}, metrics: []metric{messages, share}, loss: true,
		goals: []goal{
			atLeast(1.0, "rate", bareUDP, 1, 99),
			atLeast(1.5, "rate", bareUDP, 100, 100),
			atLeast(1.0, "rate", bareUDP, 101, 1400),
			atLeast(0.999, "share", side{}, 1, 1400),
		},
	},
	{
		name: "tcp-latency", title: "REQ/REP over tcp", test: "latency", over: "size", values: []int{1, kB},
		sides: []side{vtxTCP, zmqTCP, bareTCP}, metrics: roundTrips,
		goals: []goal{
			atMost(1.0, "median", zmqTCP, 1, MiB),
			atMost(1.1, "p99", zmqTCP, 1, MiB),
		},
	},
	{
		name: "ipc-latency", title: "REQ/REP over ipc", test: "latency", over: "size", values: []int{1, kB},
		sides: []side{vtxIPC, zmqIPC, bareIPC}, metrics: roundTrips,
	},
	{
		name: "tls-latency", title: "REQ/REP over tls", test: "latency", over: "size", values: []int{1, kB},
		sides: []side{vtxTLS, zmqCurve, bareTLS}, metrics: roundTrips,
		goals: []goal{atMost(1.5, "median", zmqCurve, 1, MiB)},
	},
	{
		name: "udp-latency", title: "REQ/REP over udp", test: "latency", over: "size", values: []int{10, 100, 400}, most: 512,
		sides: []side{vtxUDP, plainUDP, bareUDP}, metrics: append([]metric{trips}, roundTrips...),
		goals: []goal{
			atLeast(0.95, "rate", plainUDP, 1, 1400), // two runs of the same differ by some per cent
			atLeast(0.45, "rate", bareUDP, 1, 1400),
		},
	},
	{
		name: "tcp-fanout", title: "PUB to SUBs over tcp, 100 bytes", test: "fanout", over: "count", values: []int{1, 10, 100},
		sides: []side{vtxTCP, zmqTCP}, metrics: []metric{delivered, published},
		goals: []goal{atLeast(1.2, "rate", zmqTCP, 100, 100)},
	},
	{
		name: "ipc-fanout", title: "PUB to SUBs over ipc, 100 bytes", test: "fanout", over: "count", values: []int{1, 10, 100},
		sides: []side{vtxIPC, zmqIPC}, metrics: []metric{delivered, published},
	},
	{
		name: "tcp-fanout-shared", title: "PUB that waits for its SUBs, by one pipe, over tcp, 100 bytes", test: "fanout", over: "count", values: []int{10, 100},
		sides: []side{waits(vtxTCP, "pub.shared=nodrop"), waits(zmqTCP)}, metrics: []metric{delivered},
	},
	{
		name: "ipc-fanout-shared", title: "PUB that waits for its SUBs, by one pipe, over ipc, 100 bytes", test: "fanout", over: "count", values: []int{10, 100},
		sides: []side{waits(vtxIPC, "pub.shared=nodrop"), waits(zmqIPC)}, metrics: []metric{delivered},
	},
	{
		// The publisher waits for the slower of two processes
		name: "udp-fanout", title: "PUB to 2 SUBs over udp", test: "fanout", over: "size", values: []int{10, 100, 400}, most: 512,
		sides: []side{waits(vtxUDP), bareUDP}, metrics: []metric{slowest}, clients: 2,
		goals: []goal{atLeast(1.0, "rate", bareUDP, 1, 1400)},
	},
	{
		name: "tcp-peerings", title: "Idle peerings over tcp", test: "peerings", over: "count", values: []int{1, 100, 1000},
		sides: []side{{vtxTCP.name, vtx, zmq, anyTCP, nil}, zmqTCP}, metrics: []metric{each, memory, threads},
		options: []string{"size=10"}, goals: []goal{atMost(64, "each", side{}, 100, 100*kB)},
	},
	{
		name: "ipc-peerings", title: "Idle peerings over ipc", test: "peerings", over: "count", values: []int{1, 100, 1000},
		sides: []side{{vtxIPC.name, vtx, zmq, anyIPC, nil}, zmqIPC}, metrics: []metric{each, memory, threads},
		options: []string{"size=10"},
	},
	{
		name: "tcp-subscriptions", title: "Subscriptions of one SUB over tcp, 200 bytes", test: "subscriptions", over: "count", values: []int{10 * kB, 100 * kB},
		sides: []side{{vtxTCP.name, vtx, zmq, anyTCP, nil}, zmqTCP}, metrics: []metric{topic, memory, silence}, options: []string{"size=200"},
		goals: []goal{atMost(1.2, "each", zmqTCP, 10*kB, 100*kB), atMost(1.2, "wait", zmqTCP, 10*kB, 100*kB)},
	},
	{
		name: "tls-handshakes", title: "Connections over tls", test: "handshakes", over: "count", values: []int{1},
		sides: []side{{vtxTLS.name, vtx, bareTLS.connect, anyTLS, certs}, bareTLS}, metrics: []metric{shakes},
	},
}

func atLeast(bound float64, metric string, against side, from, to int) goal {
	return goal{metric: metric, against: against.name, from: from, to: to, atLeast: bound}
}

func atMost(bound float64, metric string, against side, from, to int) goal {
	return goal{metric: metric, against: against.name, from: from, to: to, atMost: bound}
}
