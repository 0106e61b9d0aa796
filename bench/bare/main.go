// Bare is Go's TLS with nothing on it, for the benchmarks: what tls:// is held against.
//
//	bare certs DIRECTORY                                    make an authority and a certificate
//	bare bare pushpull|reqrep|handshake server tls://HOST:PORT SIZE SECONDS
//	bare bare pushpull|reqrep|handshake client tls://HOST:PORT SIZE SECONDS
//
// The arguments and the output are stream_perf's; the certificates are those in the directory BENCH_TLS. Handshake
// counts connections that shake hands, without resuming a session, and end.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "certs":
		certs(os.Args[2])
	case len(os.Args) == 7:
		size, err := strconv.Atoi(os.Args[5])
		check(err)
		seconds, err := strconv.ParseFloat(os.Args[6], 64)
		check(err)
		address := strings.Replace(strings.TrimPrefix(os.Args[4], "tls://"), "*", "0", 1)
		run := map[string]func(string, []byte, time.Duration){
			"pushpull server":  serve(push),
			"pushpull client":  pull,
			"reqrep server":    serve(reply),
			"reqrep client":    request,
			"handshake server": serve(func(c *tls.Conn, _ []byte) error { return c.Handshake() }),
			"handshake client": shake,
		}[os.Args[2]+" "+os.Args[3]]
		run(address, make([]byte, size), time.Duration(seconds*float64(time.Second)))
	default:
		fmt.Fprintln(os.Stderr, "usage: bare certs DIRECTORY, or as stream_perf")
		os.Exit(1)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func config() *tls.Config {
	file := func(name string) string { return filepath.Join(os.Getenv("BENCH_TLS"), name) }
	pair, err := tls.LoadX509KeyPair(file("cert.pem"), file("key.pem"))
	check(err)
	ca, err := os.ReadFile(file("ca.pem"))
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS13, ServerName: "127.0.0.1",
	}
}

// serve has each connection used until that fails. The harness ends it.
func serve(use func(*tls.Conn, []byte) error) func(string, []byte, time.Duration) {
	return func(address string, body []byte, _ time.Duration) {
		ln, err := tls.Listen("tcp", address, config())
		check(err)
		fmt.Printf("endpoint=tls://%s\n", ln.Addr())
		for {
			c, err := ln.Accept()
			check(err)
			go func() {
				defer c.Close()
				body := slices.Clone(body)
				for err := error(nil); err == nil; {
					if err = use(c.(*tls.Conn), body); err == nil && os.Args[2] == "handshake" {
						_, err = c.Read(body[:1])
					}
				}
			}()
		}
	}
}

func push(c *tls.Conn, body []byte) error { _, err := c.Write(body); return err }

func reply(c *tls.Conn, body []byte) error {
	if _, err := io.ReadFull(c, body); err != nil {
		return err
	}
	return push(c, body)
}

func pull(address string, body []byte, d time.Duration) {
	c, err := tls.Dial("tcp", address, config())
	check(err)
	defer c.Close()
	_, err = io.ReadFull(c, body)
	check(err)
	count, start := 0, time.Now()
	for time.Since(start) < d {
		_, err := io.ReadFull(c, body)
		check(err)
		count++
	}
	fmt.Printf("rate=%.1f\n", float64(count)/time.Since(start).Seconds())
}

func request(address string, body []byte, d time.Duration) {
	c, err := tls.Dial("tcp", address, config())
	check(err)
	defer c.Close()
	var trips []time.Duration
	for start := time.Now(); time.Since(start) < d; {
		before := time.Now()
		check(push(c, body))
		_, err := io.ReadFull(c, body)
		check(err)
		trips = append(trips, time.Since(before))
	}
	slices.Sort(trips)
	micro := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	fmt.Printf("rate=%.1f median=%.1f p99=%.1f\n", float64(len(trips))/d.Seconds(), micro(trips[len(trips)/2]), micro(trips[len(trips)*99/100]))
}

func shake(address string, _ []byte, d time.Duration) {
	count, start, cfg := 0, time.Now(), config()
	for ; time.Since(start) < d; count++ {
		c, err := tls.Dial("tcp", address, cfg)
		check(err)
		c.Close()
	}
	fmt.Printf("rate=%.1f\n", float64(count)/time.Since(start).Seconds())
}

// certs makes what config reads.
func certs(dir string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "bench peer"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	write := func(name, kind string, der []byte) {
		check(os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	for _, x := range []struct {
		file string
		cert *x509.Certificate
	}{{"ca.pem", ca}, {"cert.pem", leaf}} {
		der, err := x509.CreateCertificate(rand.Reader, x.cert, ca, key.Public(), key)
		check(err)
		write(x.file, "CERTIFICATE", der)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	write("key.pem", "PRIVATE KEY", der)
}
