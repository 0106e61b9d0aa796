package interop

import (
	"slices"
	"testing"

	"github.com/libvtx/libvtx/internal/zmtp"
	"github.com/libvtx/libvtx/vtx"
	zmq "github.com/pebbe/zmq4"
)

// TestReplay: under CURVE what has been sent before, out of turn or changed is not taken, and ends the peering.
func TestReplay(t *testing.T) {
	one, two, three := frame(0, "one"), frame(0, "two"), frame(0, "three")
	seal := func(s *zmtp.Session, message []byte) []byte { return s.Encode(nil, message) }
	for name, attack := range map[string]func(s *zmtp.Session) []byte{
		"again": func(s *zmtp.Session) []byte {
			first := seal(s, one)
			return slices.Concat(first, first)
		},
		"again later": func(s *zmtp.Session) []byte {
			first := seal(s, one)
			return slices.Concat(first, seal(s, two), first)
		},
		"out of turn": func(s *zmtp.Session) []byte {
			first := seal(s, one)
			second, third := seal(s, two), seal(s, three)
			return slices.Concat(first, third, second)
		},
		"changed": func(s *zmtp.Session) []byte {
			first, second := seal(s, one), seal(s, two)
			second[len(second)-1] ^= 1
			return slices.Concat(first, second)
		},
		"not sealed": func(s *zmtp.Session) []byte { return slices.Concat(seal(s, one), two) },
	} {
		t.Run(name, func(t *testing.T) {
			m := curveSecurity(t)
			ours := newOurs(t).socket(t, vtx.Router, m.server)
			v := &victim{t: t, ours: ours, us: &end{t, ours}, at: endpoint(t, "tcp"), events: ours.watch(t)}
			v.us.bind(v.at)
			v.good = start(t, pebbe{}, vtx.Dealer, m.guest.with(named("good")))
			v.good.connect(v.at)
			v.alive()

			key := func(name string) []byte { return []byte(zmq.Z85decode(m.stranger[name])) }
			mechanism, err := zmtp.NewCurveClient(key("curve_publickey"), key("curve_secretkey"), key("curve_serverkey"))
			if err != nil {
				t.Fatal(err)
			}
			r := newRaw(t, v, dial(t, v.at))
			s, err := zmtp.Handshake(r.conn, &zmtp.Config{SocketType: "DEALER", Identity: []byte("bad"), Mechanism: mechanism, MaxMessage: -1})
			if err != nil {
				t.Fatal(err)
			}
			r.say(attack(s))
			v.us.want("bad", "one")
			r.awaitHangup()
			v.events.await(anyEnd...)
			v.good.send("after it")
			for m := v.us.recv(); m[0] != "good"; m = v.us.recv() {
				// Out of turn: "three" came before what was behind its turn
				if later := map[string]string{"again later": "two", "out of turn": "three"}; m[1] != later[name] {
					t.Fatalf("received %q", m)
				}
			}
			v.us.send("good", "yes")
			v.good.want("yes")
			v.alive()
			ours.peers(t, 1)
		})
	}
}
