package tls_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"golang.org/x/crypto/nacl/box"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/testca"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/vtx"
)

// A large message crosses, also where the engine hands it to TLS in one piece: sealed by CURVE, or from an XSUB.
func TestLargeInOnePiece(t *testing.T) {
	large := strings.Repeat("x", 3<<20)
	pair := func(near, far vtx.SocketType) (a, b *end) {
		ca := testca.New(t, "authority")
		h := newHost(t)
		set := shows(ca.Issue(nil, "127.0.0.1")).with("tls.ca", ca.Cert)
		return h.end(near, set), h.end(far, set)
	}
	t.Run("CURVE", func(t *testing.T) {
		pull, push := pair(vtx.Pull, vtx.Push)
		key := func() (public, secret string) {
			p, s, err := box.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			return string(p[:]), string(s[:])
		}
		public, secret := key()
		pull.Set(zmq.CurveServer, 1)
		pull.SetString(zmq.CurveSecretKey, secret)
		push.SetString(zmq.CurveServerKey, public)
		public, secret = key()
		push.SetString(zmq.CurvePublicKey, public)
		push.SetString(zmq.CurveSecretKey, secret)
		push.connect(pull.bind())
		for range 2 {
			push.Send(large)
			pull.Want(large)
		}
	})
	t.Run("XSUB", func(t *testing.T) {
		xpub, xsub := pair(vtx.XPub, vtx.XSub)
		xsub.connect(xpub.bind())
		app.Eventually(t, "connected", func() bool { return xsub.meta("peers") == "1" })
		for range 2 {
			xsub.Send(large)
			xpub.Want(large)
		}
	})
}
