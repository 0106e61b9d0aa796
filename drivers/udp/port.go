package udp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/libvtx/libvtx/vtx"
)

// NOM-1 knows a peer by its address alone, and a dialling end that goes does not say so. The ports that the
// kernel picks at random come back soon: of a hundred clients that come and go, one in six times one would get
// the port of another, and with it that one's numbers and stored reply. So ports are taken in turn, and
// come back when all others have been used.
var (
	firstPort, lastPort = localPorts()
	portsTaken          = atomic.Uint32{}
)

func init() { portsTaken.Store(rand.Uint32()) }

// localPorts is the range that the system sets aside for this.
func localPorts() (first, last uint32) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(text), &first, &last)
	}
	if err != nil || first < 1024 || last > 65535 || first >= last {
		return 32768, 60999 // Linux's own
	}
	return first, last
}

// openFresh opens a socket on a port that has not been used for long.
func openFresh(network, host string, o *vtx.Options) (*net.UDPConn, error) {
	for range 100 {
		port := firstPort + portsTaken.Add(1)%(lastPort-firstPort+1)
		conn, err := openConn(network, fmt.Sprintf("%s:%d", host, port), o)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return conn, err
		}
	}
	return openConn(network, host+":0", o) // crowded: whatever the kernel finds
}
