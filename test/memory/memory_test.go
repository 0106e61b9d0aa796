package memory

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/internal/nacl"
	"github.com/libvtx/libvtx/internal/zmtp"
	"github.com/libvtx/libvtx/vtx"
)

const (
	// room is what the host has more than it needs, in bytes.
	room = 300 << 20
	// mostSent bounds what an attack sends, in bytes: many times that.
	mostSent  = 1 << 30
	announced = 4 << 30
)

// peer is a connection to the host, made by hand.
type peer struct {
	net.Conn
	*zmtp.Session
}

// dial connects to one of the host's endpoints.
func (h *host) dial(name, typ string) *peer {
	h.t.Helper()
	scheme, address, _ := strings.Cut(h.endpoints[name], "://")
	var conn net.Conn
	var err error
	switch scheme {
	case "ipc":
		conn, err = net.Dial("unix", address)
	case "tls":
		conn, err = tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	default:
		conn, err = net.Dial("tcp", address)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * app.Patience))
	mechanism := zmtp.NewNull(false, nil)
	if name == "curve" {
		public := nacl.Public((*nacl.Key)([]byte(secret)))
		if mechanism, err = zmtp.NewCurveClient(public[:], []byte(secret), public[:]); err != nil {
			h.t.Fatal(err)
		}
	}
	session, err := zmtp.Handshake(conn, &zmtp.Config{SocketType: typ, Mechanism: mechanism, MaxMessage: -1})
	if err != nil {
		h.t.Fatal(name, err)
	}
	return &peer{conn, session}
}

// asks has the peer ask, and the host answer, as many bytes.
func (p *peer) asks(size int) error {
	message := binary.BigEndian.AppendUint64([]byte{2}, uint64(size))
	message = append(message, bytes.Repeat([]byte("q"), size)...)
	if _, err := p.Write(p.Encode(nil, message)); err != nil {
		return err
	}
	in := make([]byte, 0, 2*len(message)+1000)
	for {
		n, err := p.Read(in[len(in):cap(in)])
		if err != nil {
			return err
		}
		in = in[:len(in)+n]
		d, err := p.Decode(in)
		switch {
		case err != nil:
			return err
		case d.Count == 1 && bytes.Equal(d.Messages, message):
			return nil
		case d.Count > 0 || d.Control != 0:
			return fmt.Errorf("%d messages, control %d", d.Count, d.Control)
		}
	}
}

// attack says what to send first, and then again and again.
type attack struct {
	at, as string
	first  func(p *peer) []byte
	again  func(p *peer) []byte
}

func zeros(*peer) []byte { return make([]byte, 256<<10) }

// frame is the head of a frame that announces 4 GB.
func frame(flags byte, body string) func(*peer) []byte {
	return func(*peer) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{flags | 2}, announced), body...)
	}
}

// parts are many small frames of a message that has no end. between stands between each two.
func parts(between string) func(*peer) []byte {
	return func(p *peer) []byte {
		one := append(binary.BigEndian.AppendUint64([]byte{3}, 1000), make([]byte, 1000)...)
		if p.Properties == nil {
			one = append([]byte{0xFF, 0, 0, 0, 0, 0, 0, 3, 0xE9, 1}, make([]byte, 1000)...) // ZMTP 1.0
			return bytes.Repeat(one, 200)
		}
		return p.Encode(nil, bytes.Repeat(append(one, between...), 200))
	}
}

var attacks = map[string]attack{
	"a frame":                  {"tcp", "DEALER", frame(0, ""), zeros},
	"a frame, ipc":             {"ipc", "DEALER", frame(0, ""), zeros},
	"a frame, tls":             {"tls", "DEALER", frame(0, ""), zeros},
	"a frame, CURVE":           {"curve", "DEALER", frame(0, "\x07MESSAGE\x00\x00\x00\x00\x00\x00\xFF\xFF"), zeros},
	"one of several frames":    {"tcp", "DEALER", frame(1, ""), zeros},
	"behind an envelope":       {"tcp", "DEALER", func(p *peer) []byte { return append([]byte{1, 1, 'a', 1, 0}, frame(0, "")(p)...) }, zeros},
	"behind a large envelope":  {"tcp", "DEALER", func(p *peer) []byte { return append(parts("")(p), frame(0, "")(p)...) }, zeros},
	"many parts":               {"tcp", "DEALER", nil, parts("")},
	"many parts, tls":          {"tls", "DEALER", nil, parts("")},
	"many parts, CURVE":        {"curve", "DEALER", nil, parts("")},
	"many parts with PINGs":    {"tcp", "DEALER", nil, parts("\x04\x07\x04PING\x00\x00")},
	"a subscription":           {"xpub", "SUB", frame(4, "\x09SUBSCRIBE"), zeros},
	"a message to a publisher": {"xpub", "SUB", frame(0, "\x01"), zeros},
}

// Whoever sends more than there is memory for loses the peering, with an event; the host lives, the others notice nothing,
// and the memory comes back.
func TestTooMuch(t *testing.T) {
	for _, pump := range []string{"on", "off"} {
		t.Run("pump "+pump, func(t *testing.T) {
			h := startHost(t, room, "VTX_PUMP="+pump)
			good := h.dial("tcp", "DEALER")
			for name, a := range attacks {
				t.Run(name, func(t *testing.T) {
					h.t = t
					before := h.resident()
					p := h.dial(a.at, a.as)
					sent := make(chan int, 1)
					go func() { sent <- p.send(a) }()
					line, all := "", false
					for asked := 0; line == "" && !all; asked++ {
						if err := good.asks(300 + 100_000*(asked%3)); err != nil {
							t.Fatal("another peer:", err)
						}
						select {
						case n := <-sent:
							all = n >= mostSent
							sent <- n
						default:
						}
						line = h.heard(fmt.Sprintf("event %d 12 ", vtx.EventDisconnected))
					}
					p.Close()
					<-sent
					if all || !strings.Contains(line, "more than there is memory for") {
						t.Errorf("all is taken: %v; %q", all, line)
					}
					app.Eventually(t, "the memory is given back", func() bool { return h.resident() < before+40<<20 })
					if err := good.asks(1 << 20); err != nil {
						t.Error("another peer:", err)
					}
				})
			}
			h.t = t
		})
	}
}

// send attacks until the host has had enough, and says after how many bytes that was.
func (p *peer) send(a attack) (sent int) { return p.hold(a, mostSent) }

// hold does so, but stops after so many bytes.
func (p *peer) hold(a attack, most int) (sent int) {
	var b []byte
	if a.first != nil {
		b = a.first(p)
	}
	for sent < most {
		n, err := p.Write(b)
		if sent += n; err != nil {
			break
		}
		b = a.again(p)
	}
	return sent
}

// Those who take what they can and hold it, in large pieces and then in smaller ones, leave the others room for what they
// send, and the host for more of them.
func TestManyWhoHold(t *testing.T) {
	h := startHost(t, room)
	good := h.dial("tcp", "DEALER")
	hold := func(a attack, size int) (holders int) {
		mine := make(map[string]bool)
		for ; holders < 500; holders++ {
			p := h.dial(a.at, a.as)
			mine["tcp://"+p.LocalAddr().String()] = true
			p.hold(a, size)
			if err := good.asks(300); err != nil {
				t.Fatal("another peer:", err)
			}
			refused := fmt.Sprintf("event %d 12 ", vtx.EventDisconnected)
			for line := h.heard(refused); line != ""; line = h.heard(refused) {
				if who, _, _ := strings.Cut(strings.TrimPrefix(line, refused), " "); mine[who] {
					return holders // what came late is of others, before
				}
			}
		}
		t.Error("there is no end of memory")
		return holders
	}
	for _, size := range []int{31 << 20, 15 << 20, 7 << 20} {
		hold(attacks["a frame"], size)
	}
	for range 20 {
		if err := good.asks(1 << 20); err != nil {
			t.Fatal("another peer:", err)
		}
	}
	t.Logf("%d hold 1 MiB", hold(attacks["many parts"], 900<<10))
	for range 500 {
		if err := h.dial("tcp", "DEALER").asks(300); err != nil {
			t.Fatal("a new peer:", err)
		}
	}
}

// What nobody takes waits in libzmq, where its marks bound the messages and not the bytes.
func TestWholeMessagesThatWait(t *testing.T) {
	for name, message := range map[string][]byte{
		"large":            append(binary.BigEndian.AppendUint64([]byte{2}, 8<<20), make([]byte, 8<<20)...),
		"many parts":       append(bytes.Repeat(append(binary.BigEndian.AppendUint64([]byte{3}, 1000), make([]byte, 1000)...), 8000), 0, 0),
		"many small parts": append(bytes.Repeat([]byte{1, 1, 'x'}, 5_500_000), 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			h := startHost(t, room)
			good := h.dial("tcp", "DEALER")
			p := h.dial("idle", "PUSH")
			sent := p.send(attack{again: func(*peer) []byte { return message }})
			if line := h.until(fmt.Sprintf("event %d 12 ", vtx.EventDisconnected)); !strings.Contains(line, "more than there is memory for") {
				t.Error(line)
			}
			t.Logf("%d bytes", sent)
			if err := good.asks(1000); err != nil {
				t.Error("another peer:", err)
			}
		})
	}
}

// The parts of udp's messages are asked for, too.
func TestPartsOverUDP(t *testing.T) {
	h := startHost(t, 140<<20)
	good := h.dial("tcp", "DEALER")
	m := app.NewContext(t)
	v, err := vtx.NewManager(m.P)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Destroy() })
	bad := m.Socket(t, int(vtx.Push))
	if err := v.Connect(bad.P, h.endpoints["udp"]); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("z", 32<<20)
	for line := ""; line == ""; line = h.heard(fmt.Sprintf("event %d 12 ", vtx.EventDisconnected)) {
		bad.Send(large)
		if err := good.asks(1000); err != nil {
			t.Fatal("another peer:", err)
		}
	}
}

// An answer for which there is no memory costs the one who asked for it.
func TestAnswersThatAreTooLarge(t *testing.T) {
	for name, want := range map[string]string{
		"curve": fmt.Sprintf("event %d 12 ", vtx.EventDisconnected), // it cannot be sealed
		"tls":   fmt.Sprintf("event %d 12 ", vtx.EventRefused),      // it cannot be taken from the application
	} {
		t.Run(name, func(t *testing.T) {
			h := startHost(t, room+80<<20)
			good, bad := h.dial("tcp", "DEALER"), h.dial(name, "DEALER")
			go bad.asks(33 << 20)
			if line := h.until(want); !strings.Contains(line, "there is no memory for") {
				t.Error(line)
			}
			if err := good.asks(1000); err != nil {
				t.Error("another peer:", err)
			}
		})
	}
}
