package hostile

import (
	"crypto/rand"
	"slices"

	"github.com/libvtx/libvtx/internal/nacl"
	"github.com/libvtx/libvtx/internal/zmq"
	"github.com/libvtx/libvtx/internal/zmtp"
)

// door is a security mechanism of ZMTP, from outside.
type door struct {
	name string
	// victim and peer are the options of either end's sockets; nil: none.
	victim, peer func(k *keys) []string
	// open makes an attacker's end of it that has all that is needed.
	open func(k *keys) zmtp.Mechanism
}

var (
	null = door{name: "NULL", victim: none, peer: none, open: func(*keys) zmtp.Mechanism { return zmtp.NewNull(false, nil) }}

	plain = door{
		name:   "PLAIN",
		victim: func(*keys) []string { return []string{intOption(zmq.PlainServer, 1)} },
		peer: func(*keys) []string {
			return []string{bytesOption(zmq.PlainUsername, []byte("alice")), bytesOption(zmq.PlainPassword, []byte("pencil"))}
		},
		open: func(*keys) zmtp.Mechanism { return zmtp.NewPlainClient("alice", "pencil") },
	}

	curve = door{
		name: "CURVE",
		victim: func(k *keys) []string {
			return []string{intOption(zmq.CurveServer, 1), bytesOption(zmq.CurveSecretKey, k.curve.serverSecret[:])}
		},
		peer: func(k *keys) []string {
			return []string{
				bytesOption(zmq.CurveServerKey, k.curve.server[:]), bytesOption(zmq.CurvePublicKey, k.curve.client[:]),
				bytesOption(zmq.CurveSecretKey, k.curve.clientSecret[:]),
			}
		},
		open: func(k *keys) zmtp.Mechanism {
			return must(zmtp.NewCurveClient(k.curve.client[:], k.curve.clientSecret[:], k.curve.server[:]))
		},
	}

	sasl = door{name: "SASL", victim: none, peer: none, open: func(*keys) zmtp.Mechanism { return zmtp.NewSASLClient(saslPlain{}) }}
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// curveKeys are the long-term keys of a victim and of its legitimate peers.
type curveKeys struct{ server, serverSecret, client, clientSecret *nacl.Key }

func newCurveKeys() *curveKeys {
	k := &curveKeys{}
	k.server, k.serverSecret = newPair()
	k.client, k.clientSecret = newPair()
	return k
}

func newPair() (public, secret *nacl.Key) {
	secret = new(nacl.Key)
	rand.Read(secret[:]) // never fails
	return nacl.Public(secret), secret
}

// saslPlain is a client of RFC 4616 that minds nothing.
type saslPlain struct{}

func (saslPlain) Start(offers []string) (mechanism string, response []byte, err error) {
	if !slices.Contains(offers, "PLAIN") {
		return "SCRAM-SHA-256", []byte("n,,n=alice,r=abc"), nil
	}
	return "PLAIN", []byte("\x00alice\x00pencil"), nil
}
func (saslPlain) Next([]byte) (response []byte, err error) { return []byte{}, nil }
func (saslPlain) Finish([]byte) error                      { return nil }
