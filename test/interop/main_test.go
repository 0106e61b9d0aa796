package interop

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	zmq "github.com/pebbe/zmq4"
)

// patience is how long a call waits before the test is said to hang.
var patience = flag.Duration("patience", 20*time.Second, "how long to wait before something hangs")

// asChild makes this program a child that owns sockets of a library.
var asChild = flag.String("child", "", "serve the sockets of this library")

// libraries are the peers, in the order in which they are asked.
var libraries = []library{pebbe{}, czmq{}, pyzmq, gozmq{}, jeromq}

var transports = []string{"tcp", "ipc"}

func TestMain(m *testing.M) {
	flag.Parse()
	zmq.SetMaxSockets(3 * crowd) // before the first socket
	for _, l := range append([]library{vtxLibrary{}, silent{}}, libraries...) {
		if *asChild == l.name() {
			serveChild(l, os.Stdin, os.Stdout)
			return
		}
	}
	code := m.Run()
	for _, l := range libraries {
		if f, ok := l.(interface{ stop() error }); ok {
			if err := f.stop(); err != nil {
				fmt.Println(err)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// each runs a test with each library over each of its transports.
func each(t *testing.T, test func(t *testing.T, l library, transport string)) {
	for _, l := range libraries {
		for _, transport := range transports {
			t.Run(l.name()+"/"+transport, func(t *testing.T) {
				need(t, l, transport)
				test(t, l, transport)
			})
		}
	}
}
