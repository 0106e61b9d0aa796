package interop

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/libvtx/libvtx/vtx"
)

// bothWays runs a test with us binding and with them binding: join binds one end and connects the other.
func bothWays(t *testing.T, transport string, test func(t *testing.T, join func(us, they *end))) {
	t.Run("we bind", func(t *testing.T) {
		test(t, func(us, they *end) {
			at := endpoint(t, transport)
			us.bind(at)
			they.connect(at)
		})
	})
	t.Run("they bind", func(t *testing.T) {
		test(t, func(us, they *end) {
			at := endpoint(t, transport)
			they.bind(at)
			us.connect(at)
		})
	})
}

// TestSizes: bodies of each size on either side of a boundary go there and come back as they were, alone and in
// one message.
func TestSizes(t *testing.T) {
	sizes := []int{0, 1, 7, 31, 33, 254, 255, 256, 257, 8191, 8192, 8193, 65535, 65536, 100_000, 1 << 20, 1<<22 + 1}
	text := strings.Repeat("0123456789abcde", 1<<22/15+2)
	each(t, func(t *testing.T, l library, transport string) {
		bothWays(t, transport, func(t *testing.T, join func(us, they *end)) {
			us, they := start(t, newOurs(t), vtx.Pair, nil), start(t, l, vtx.Pair, nil)
			join(us, they)
			there := func(frames ...string) {
				us.send(frames...)
				they.want(frames...)
			}
			andBack := func(frames ...string) {
				they.send(frames...)
				us.want(frames...)
			}
			var all []string
			for i, n := range sizes {
				there(text[i : i+n])
				andBack(text[i : i+n])
				all = append(all, text[i:i+n])
			}
			there(all...)
			andBack(all...)
			slices.Reverse(all)
			there(all...)
			andBack(all...)
		})
	})
}

// TestParts: frames stay apart and in order, empty ones too, few and many.
func TestParts(t *testing.T) {
	many := make([]string, 3000)
	for i := range many {
		many[i] = strings.Repeat("x", i%300)
	}
	messages := [][]string{
		{""}, {"", ""}, {"", "", "x"}, {"x", "", ""}, {"\x00"}, {"\x01topic"}, {"\xff\x00\x7f", "\x04PING"}, many, {"last"},
	}
	each(t, func(t *testing.T, l library, transport string) {
		bothWays(t, transport, func(t *testing.T, join func(us, they *end)) {
			us, they := start(t, newOurs(t), vtx.Dealer, nil), start(t, l, vtx.Dealer, nil)
			join(us, they)
			for _, m := range messages {
				us.send(m...)
			}
			for _, m := range messages {
				they.want(m...)
				they.send(m...)
			}
			for _, m := range messages {
				us.want(m...)
			}
		})
	})
}

// TestLarge: 64 MiB in one frame, there and back.
func TestLarge(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 64<<20/16)
	each(t, func(t *testing.T, l library, transport string) {
		if l.name() == "czmq" || l.name() == "pyzmq" {
			t.Skip("as with libzmq, which it uses: one of them is enough")
		}
		us, they := start(t, newOurs(t), vtx.Pair, nil), start(t, l, vtx.Pair, nil)
		at := endpoint(t, transport)
		us.bind(at)
		they.connect(at)
		us.send("large", body)
		they.want("large", body)
		they.send(body, "large")
		us.want(body, "large")
	})
}

// TestOrder: many messages of mixed sizes arrive once each and in order, in both directions at once.
func TestOrder(t *testing.T) {
	const n = 3000
	text := strings.Repeat("y", 20000)
	message := func(i int) []string { return []string{fmt.Sprint(i), text[:i*7919%20000]} }
	each(t, func(t *testing.T, l library, transport string) {
		bothWays(t, transport, func(t *testing.T, join func(us, they *end)) {
			us, they := start(t, newOurs(t), vtx.Dealer, nil), start(t, l, vtx.Dealer, nil)
			join(us, they)
			// In steps that fit into any library's buffers: it is one thread that sends and receives
			const step = 300
			for first := 0; first < n; first += step {
				for i := first; i < first+step; i++ {
					us.send(message(i)...)
					if l.name() != "go-zeromq" { // which does not take more than 10 before it is read
						they.send(message(i)...)
					}
				}
				for i := first; i < first+step; i++ {
					they.want(message(i)...)
					if l.name() == "go-zeromq" {
						they.send(message(i)...)
					}
					us.want(message(i)...)
				}
			}
		})
	})
}

// TestIdentities: a ROUTER knows its peers by the names that they gave themselves, or that it gave them.
func TestIdentities(t *testing.T) {
	each(t, func(t *testing.T, l library, transport string) {
		bothWays(t, transport, func(t *testing.T, join func(us, they *end)) {
			for _, id := range []string{"alice", "\x01\xfe\x7f/", strings.Repeat("long", 255/4)} {
				t.Run(fmt.Sprintf("their DEALER %.6q", id), func(t *testing.T) {
					needID(t, l, id)
					us, they := start(t, newOurs(t), vtx.Router, nil), start(t, l, vtx.Dealer, options{"routing_id": id})
					join(us, they)
					they.send("hello", "")
					us.want(id, "hello", "")
					us.send(id, "welcome")
					they.want("welcome")
				})
				t.Run(fmt.Sprintf("our DEALER %.6q", id), func(t *testing.T) {
					needID(t, l, id)
					us, they := start(t, newOurs(t), vtx.Dealer, options{"routing_id": id}), start(t, l, vtx.Router, nil)
					join(us, they)
					us.send("hello", "")
					they.want(id, "hello", "")
					they.send(id, "welcome")
					us.want("welcome")
				})
			}
			t.Run("their REQ", func(t *testing.T) {
				us, they := start(t, newOurs(t), vtx.Router, nil), start(t, l, vtx.Req, options{"routing_id": "alice"})
				join(us, they)
				they.send("question")
				us.want("alice", "", "question")
				us.send("alice", "", "answer")
				they.want("answer")
			})
			t.Run("our REQ", func(t *testing.T) {
				us, they := start(t, newOurs(t), vtx.Req, options{"routing_id": "alice"}), start(t, l, vtx.Router, nil)
				join(us, they)
				us.send("question")
				they.want("alice", "", "question")
				they.send("alice", "", "answer")
				us.want("answer")
			})
			t.Run("ROUTER to ROUTER", func(t *testing.T) {
				us, they := start(t, newOurs(t), vtx.Router, options{"routing_id": "us"}), start(t, l, vtx.Dealer, options{"routing_id": "they"})
				join(us, they)
				they.send("first")
				us.want("they", "first")
			})
		})
		t.Run("our CONNECT_ROUTING_ID", func(t *testing.T) {
			us := start(t, newOurs(t), vtx.Router, options{"connect_routing_id": "bob"})
			they := start(t, l, vtx.Dealer, nil)
			at := endpoint(t, transport)
			they.bind(at)
			us.connect(at)
			us.send("bob", "hello") // it need not be there yet
			they.want("hello")
			they.send("welcome")
			us.want("bob", "welcome")
		})
		t.Run("our CONNECT_ROUTING_ID before theirs", func(t *testing.T) {
			us := start(t, newOurs(t), vtx.Router, options{"connect_routing_id": "bob"})
			they := start(t, l, vtx.Dealer, options{"routing_id": "robert"})
			at := endpoint(t, transport)
			they.bind(at)
			us.connect(at)
			us.send("bob", "hello")
			they.want("hello")
			they.send("welcome")
			us.want("bob", "welcome")
		})
		t.Run("their CONNECT_ROUTING_ID", func(t *testing.T) {
			they := start(t, l, vtx.Router, options{"connect_routing_id": "bob"})
			us := start(t, newOurs(t), vtx.Dealer, options{"routing_id": "robert"})
			at := endpoint(t, transport)
			us.bind(at)
			they.connect(at)
			they.send("bob", "hello")
			us.want("hello")
			us.send("welcome")
			they.want("bob", "welcome")
		})
		t.Run("nameless", func(t *testing.T) {
			us := start(t, newOurs(t), vtx.Router, nil)
			at := endpoint(t, transport)
			us.bind(at)
			ids := make(map[string]*end)
			for i := range 3 {
				they := start(t, l, vtx.Dealer, nil)
				they.connect(at)
				they.send(fmt.Sprint(i))
				ids[us.wantTail(fmt.Sprint(i))] = they
			}
			if len(ids) != 3 {
				t.Fatalf("three peers, and these names: %q", slices.Collect(maps.Keys(ids)))
			}
			for id, they := range ids {
				us.send(id, "for "+id)
				they.want("for " + id)
			}
		})
		t.Run("taken", func(t *testing.T) {
			us := start(t, newOurs(t), vtx.Router, nil)
			at := endpoint(t, transport)
			us.bind(at)
			first := start(t, l, vtx.Dealer, options{"routing_id": "alice"})
			first.connect(at)
			first.send("first")
			us.want("alice", "first")
			second := start(t, l, vtx.Dealer, options{"routing_id": "alice"})
			second.connect(at)
			// Whether the second is sent away or ignored: the first stays who it is
			third := start(t, l, vtx.Dealer, options{"routing_id": "bob"})
			third.connect(at)
			third.send("third")
			us.want("bob", "third")
			us.send("alice", "to the first")
			first.want("to the first")
			first.send("again")
			us.want("alice", "again")
		})
	})
}

// needID skips the test if the library has no such identities.
func needID(t *testing.T, l library, id string) {
	t.Helper()
	if len(id) > 127 {
		need(t, l, longIDs)
	}
}
