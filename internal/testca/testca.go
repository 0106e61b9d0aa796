// Package testca makes certificates for tests: authorities that live as long as a test. Nothing but tests imports it.
package testca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

var serial atomic.Int64

// Pair is a certificate and its key, in PEM.
type Pair struct {
	Cert, Key string
	Leaf      *x509.Certificate
	signer    crypto.Signer
}

// CA is an authority.
type CA struct {
	Pair
	t testing.TB
}

// New makes an authority.
func New(t testing.TB, name string) *CA {
	t.Helper()
	c := &CA{t: t}
	c.Pair = c.make(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	return c
}

// Issue makes a certificate for hosts, which are names and addresses; the first is also the subject's common name. change
// may alter what is to be signed.
func (c *CA) Issue(change func(*x509.Certificate), hosts ...string) Pair {
	c.t.Helper()
	return c.make(leaf(change, hosts), &c.Pair)
}

// SelfSigned makes a certificate that nobody vouches for.
func SelfSigned(t testing.TB, hosts ...string) Pair {
	t.Helper()
	return (&CA{t: t}).make(leaf(nil, hosts), nil)
}

func leaf(change func(*x509.Certificate), hosts []string) *x509.Certificate {
	x := &x509.Certificate{
		Subject:     pkix.Name{CommonName: hosts[0], Organization: []string{"VTX tests"}},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			x.IPAddresses = append(x.IPAddresses, ip)
		} else {
			x.DNSNames = append(x.DNSNames, h)
		}
	}
	if change != nil {
		change(x)
	}
	return x
}

// make signs x with by's key, or with its own.
func (c *CA) make(x *x509.Certificate, by *Pair) Pair {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	x.SerialNumber = big.NewInt(serial.Add(1))
	if x.NotAfter.IsZero() {
		x.NotBefore, x.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := x, crypto.Signer(key)
	if by != nil {
		parent, signer = by.Leaf, by.signer
	}
	der, err := x509.CreateCertificate(rand.Reader, x, parent, key.Public(), signer)
	if err != nil {
		c.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	return Pair{
		Cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Key:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})),
		Leaf: made, signer: key,
	}
}

// Write puts text into a file of the test's own directory, in one step, and returns its name.
func Write(t testing.TB, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return file
}
