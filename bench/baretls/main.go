// Baretls is Go's TLS with nothing on it, for the benchmarks: what tls:// is held against.
//
//	baretls certs DIRECTORY                 make an authority and a certificate: ca.pem, cert.pem, key.pem
//	baretls TEST bind|connect tls://HOST:PORT size=BYTES seconds=SECONDS tls.cert=FILE tls.key=FILE tls.ca=FILE
//
// TEST is throughput, latency or handshakes; the arguments and the report are vtxperf's. Handshakes counts connections
// that shake hands, without resuming a session, and end.
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

// A run is what the command line asks for.
type run struct {
	test    string
	address string
	config  *tls.Config
	body    []byte
	length  time.Duration
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "certs":
		certs(os.Args[2])
		return
	case len(os.Args) > 3:
		r := read(os.Args[1:])
		if do := tests[r.test+" "+os.Args[2]]; do != nil {
			do(r)
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: baretls certs DIRECTORY, or throughput|latency|handshakes bind|connect tls://HOST:PORT "+
		"size=BYTES seconds=SECONDS tls.cert=FILE tls.key=FILE tls.ca=FILE")
	os.Exit(1)
}

var tests = map[string]func(run){
	"throughput bind":    serve(push),
	"throughput connect": pull,
	"latency bind":       serve(reply),
	"latency connect":    request,
	"handshakes bind":    serve(meet),
	"handshakes connect": shake,
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "baretls:", err)
		os.Exit(1)
	}
}

func read(args []string) run {
	options := map[string]string{"size": "100", "seconds": "1"}
	for _, a := range args[3:] {
		name, value, _ := strings.Cut(a, "=")
		options[name] = value
	}
	size, err := strconv.Atoi(options["size"])
	check(err)
	seconds, err := strconv.ParseFloat(options["seconds"], 64)
	check(err)
	pair, err := tls.LoadX509KeyPair(options["tls.cert"], options["tls.key"])
	check(err)
	ca, err := os.ReadFile(options["tls.ca"])
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return run{
		test: args[0], address: strings.Replace(strings.TrimPrefix(args[2], "tls://"), "*", "0", 1),
		body: make([]byte, size), length: time.Duration(seconds * float64(time.Second)),
		config: &tls.Config{
			Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
			MinVersion: tls.VersionTLS13, ServerName: "127.0.0.1",
		},
	}
}

// serve has each connection used until that fails. Whoever started this ends it; it has nothing to report.
func serve(use func(*tls.Conn, []byte) error) func(run) {
	return func(r run) {
		ln, err := tls.Listen("tcp", r.address, r.config)
		check(err)
		fmt.Printf("endpoint  tls://%s\n\n", ln.Addr())
		for {
			c, err := ln.Accept()
			check(err)
			go func() {
				defer c.Close()
				body := slices.Clone(r.body)
				for err := error(nil); err == nil; {
					err = use(c.(*tls.Conn), body)
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

// meet shakes hands, and waits for the end.
func meet(c *tls.Conn, _ []byte) error {
	if err := c.Handshake(); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

func pull(r run) {
	c, err := tls.Dial("tcp", r.address, r.config)
	check(err)
	defer c.Close()
	_, err = io.ReadFull(c, r.body)
	check(err)
	count, start := 0, time.Now()
	for time.Since(start) < r.length {
		_, err := io.ReadFull(c, r.body)
		check(err)
		count++
	}
	tell(count, time.Since(start))
}

func request(r run) {
	c, err := tls.Dial("tcp", r.address, r.config)
	check(err)
	defer c.Close()
	var trips []float64
	start := time.Now()
	for time.Since(start) < r.length {
		before := time.Now()
		check(push(c, r.body))
		_, err := io.ReadFull(c, r.body)
		check(err)
		trips = append(trips, float64(time.Since(before).Nanoseconds())/1000)
	}
	spent := time.Since(start)
	slices.Sort(trips)
	part := func(p float64) float64 { return trips[int(float64(len(trips)-1)*p)] }
	fmt.Printf("median %.1f us\np90 %.1f us\np99 %.1f us\np99.9 %.1f us\nmax %.1f us\n",
		part(.5), part(.9), part(.99), part(.999), part(1))
	tell(len(trips), spent)
}

func shake(r run) {
	count, start := 0, time.Now()
	for ; time.Since(start) < r.length; count++ {
		c, err := tls.Dial("tcp", r.address, r.config)
		check(err)
		c.Close()
	}
	tell(count, time.Since(start))
}

func tell(count int, spent time.Duration) {
	fmt.Printf("messages %d\nseconds %.4f\nrate %.1f messages/s\n\n", count, spent.Seconds(), float64(count)/spent.Seconds())
}

// certs makes what read wants.
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
