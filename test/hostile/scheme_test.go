package hostile

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libvtx/libvtx/drivers/sasl/passwd"
	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/internal/zmq"
)

// scheme is what the attacks have to know of a transport. A new one is an entry in schemes.
type transport struct {
	name string
	// stream: nothing is lost, doubled or reordered; otherwise it has datagrams.
	stream bool
	// stock: libzmq itself may be the peer, natively.
	stock bool
	// weight is its part of what is divided among all.
	weight int
	// endpoint is what the victim binds.
	endpoint func(t testing.TB) string
	// victim and peer are the options of either end's sockets, as lines (see program.socket).
	victim, peer func(k *keys) []string
	// wire is a connection of an attacker's with nothing said on it yet, from an address of loopback if that is given.
	wire func(endpoint string, from net.IP) (net.Conn, error)
	// over is the byte stream above it on which ZMTP is spoken; nil: the wire itself.
	over func(k *keys, wire net.Conn) net.Conn
	// doors are the mechanisms that its sessions are tried with.
	doors []door
	// hello is the beginning of a handshake that is then left half open.
	hello func(t testing.TB, k *keys) []byte
}

var transports = []transport{
	{
		name: "tcp", stream: true, stock: true, weight: 14, endpoint: anyPort("tcp"), victim: none, peer: none,
		wire: dialTCP, doors: []door{null, plain, curve}, hello: zmtpHello,
	},
	{
		name: "ipc", stream: true, stock: true, weight: 2, endpoint: abstractName, victim: none, peer: none,
		wire: dialUnix, doors: []door{null, plain, curve}, hello: zmtpHello,
	},
	{
		name: "tls", stream: true, weight: 2, endpoint: anyPort("tls"), victim: showsCertificate, peer: trusts,
		wire: dialTCP, over: overTLS, doors: []door{null}, hello: tlsHello,
	},
	{
		name: "sasl", stream: true, weight: 1, endpoint: anyPort("sasl"), victim: knowsUsers, peer: isAlice,
		wire: dialTCP, doors: []door{sasl}, hello: zmtpHello,
	},
	{
		name: "sasl+tls", stream: true, weight: 1, endpoint: anyPort("sasl+tls"), victim: both(showsCertificate, knowsUsers), peer: both(trusts, isAlice),
		wire: dialTCP, over: overTLS, doors: []door{sasl}, hello: tlsHello,
	},
	{
		name: "udp", weight: 1, endpoint: anyPort("udp"), victim: none, peer: none,
	},
}

// each runs a test for the transports that it is about.
func each(t *testing.T, about func(x *transport) bool, test func(t *testing.T, x *transport)) {
	for i := range transports {
		if x := &transports[i]; about(x) && (*scheme == "" || *scheme == x.name) {
			t.Run(x.name, func(t *testing.T) { test(t, x) })
		}
	}
}

func streams(x *transport) bool   { return x.stream }
func datagrams(x *transport) bool { return !x.stream }

func anyPort(scheme string) func(testing.TB) string {
	return func(testing.TB) string { return scheme + "://127.0.0.1:*" }
}

func abstractName(t testing.TB) string {
	return fmt.Sprintf("ipc://@hostile-%d-%s", time.Now().UnixNano(), tag[:4])
}

func none(*keys) []string { return nil }

func both(a, b func(*keys) []string) func(*keys) []string {
	return func(k *keys) []string { return append(a(k), b(k)...) }
}

// keys are the secrets and files of one test.
type keys struct {
	cert, key, ca string // files
	users         string // file
	trust         *x509.CertPool
	curve         *curveKeys
}

func newKeys(t testing.TB) *keys {
	t.Helper()
	dir := t.TempDir()
	authority := testca.New(t, "authority")
	pair := authority.Issue(nil, "127.0.0.1")
	k := &keys{
		cert: testca.Write(t, dir, "cert.pem", pair.Cert), key: testca.Write(t, dir, "key.pem", pair.Key),
		ca: testca.Write(t, dir, "ca.pem", authority.Cert), trust: x509.NewCertPool(), curve: newCurveKeys(),
	}
	k.trust.AddCert(authority.Leaf)
	users := passwd.New()
	if err := errors.Join(users.SetIterations(passwd.MinIterations), users.Set("alice", "pencil")); err != nil {
		t.Fatal(err)
	}
	k.users = testca.Write(t, dir, "vtx.passwd", string(users.Bytes()))
	return k
}

func showsCertificate(k *keys) []string {
	return []string{"option tls.cert " + k.cert, "option tls.key " + k.key}
}

func trusts(k *keys) []string { return []string{"option tls.ca " + k.ca} }

// PLAIN is for the attackers, who could hardly make enough sessions with SCRAM.
func knowsUsers(k *keys) []string {
	return []string{
		"option sasl.verifiers " + k.users, "option sasl.mechanisms SCRAM-SHA-512,SCRAM-SHA-256,PLAIN", "option sasl.cleartext yes",
	}
}

func isAlice(*keys) []string {
	return []string{
		bytesOption(zmq.PlainUsername, []byte("alice")), bytesOption(zmq.PlainPassword, []byte("pencil")),
		"option sasl.mechanisms SCRAM-SHA-512,SCRAM-SHA-512-PLUS",
	}
}

func address(endpoint string) string { return endpoint[strings.Index(endpoint, "//")+2:] }

func dialTCP(endpoint string, from net.IP) (net.Conn, error) {
	d := net.Dialer{Timeout: *patient}
	if from != nil {
		d.LocalAddr = &net.TCPAddr{IP: from}
	}
	return d.Dial("tcp4", address(endpoint))
}

// dialUnix waits for a place in the listener's queue, as TCP does by itself.
func dialUnix(endpoint string, _ net.IP) (net.Conn, error) {
	for end := time.Now().Add(*patient); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("unix", address(endpoint))
		if !errors.Is(err, syscall.EAGAIN) || time.Now().After(end) {
			return conn, err
		}
	}
}

func overTLS(k *keys, wire net.Conn) net.Conn {
	return tls.Client(wire, &tls.Config{RootCAs: k.trust, ServerName: "127.0.0.1"})
}

// loopback is one of loopback's many addresses.
func loopback(n uint32) net.IP { return net.IPv4(127, byte(1+n>>16&0x7f), byte(n>>8), byte(n)) }

func zmtpHello(testing.TB, *keys) []byte {
	return []byte("\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01")
}

// tlsHello is most of a client's first record.
func tlsHello(t testing.TB, k *keys) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go overTLS(k, near).(*tls.Conn).Handshake()
	b := make([]byte, 100)
	if _, err := far.Read(b); err != nil {
		t.Fatal(err)
	}
	far.Close()
	return b
}
