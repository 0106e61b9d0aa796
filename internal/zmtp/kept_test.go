package zmtp

import (
	"bytes"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// told is a peer's READY of some properties that fill size bytes, at least.
func told(properties, size int) []byte {
	list := []Property{asDealer, {identityProperty, []byte("somebody")}}
	for i := len(list); i < properties; i++ {
		name := strconv.FormatInt(int64(i), 36)
		list = append(list, Property{name, bytes.Repeat([]byte("v"), max(size/properties-len(name)-5, 0))})
	}
	return ready(list...)
}

// A peer that tells more than anybody has a use for is not heard out.
func TestTooManyProperties(t *testing.T) {
	for count, want := range map[int]error{maxProperties: nil, maxProperties + 1: ErrProtocol, 8125: ErrProtocol} {
		stream := &script{in: join(greeting3(3, 1, "NULL", 0), told(count, 0))}
		_, err := Handshake(stream, &Config{SocketType: "ROUTER", Mechanism: NewNull(true, nil)})
		if !errors.Is(err, want) || want != nil && !strings.Contains(err.Error(), "64 properties") {
			t.Errorf("%d properties: %v", count, err)
		}
	}
	_, err := Handshake(&script{in: greeting3(3, 1, "NULL", 0)}, &Config{
		SocketType: "ROUTER", Mechanism: NewNull(false, nil), Metadata: make(Metadata, maxProperties),
	})
	if err == nil || !strings.Contains(err.Error(), "properties") {
		t.Error("of our own:", err)
	}
}

// What a handshake leaves behind costs no more than twice its bytes, whatever it is made of and whatever came behind it.
func TestMemoryOfAHandshake(t *testing.T) {
	const (
		peers = 1000
		fixed = 1 << 10 // a session without any
	)
	for name, c := range map[string]struct{ properties, size, behind int }{
		"few":                {3, 200, 0},
		"few, and a message": {3, 200, 60_000},
		"one large":          {3, 65_000, 0},
		"many":               {maxProperties, 65_000, 0},
		"many small":         {maxProperties, 0, 0},
	} {
		in := join(greeting3(3, 1, "NULL", 0), told(c.properties, c.size), appendFrame(nil, 0, make([]byte, c.behind)))
		kept := make([]*Session, peers)
		before := heap()
		for i := range kept {
			s, err := Handshake(&script{in: bytes.Clone(in)}, &Config{SocketType: "ROUTER", Mechanism: NewNull(true, nil), MaxMessage: -1})
			if err != nil {
				t.Fatal(name, err)
			}
			s.Rest()
			kept[i] = s
		}
		each := (heap() - before) / peers
		told := len(kept[0].Properties)
		if t.Logf("%s: %d bytes told, %d kept", name, told, each); each > fixed+2*told {
			t.Errorf("%s: a peer that told %d bytes costs %d", name, told, each)
		}
		runtime.KeepAlive(kept)
	}
}

// heap is how much memory is in use, in bytes.
func heap() int {
	var m runtime.MemStats
	for range 2 { // what pools let go, they keep through one collection
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
