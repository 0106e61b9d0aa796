package vtx

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"runtime"
	"testing"
	"time"
)

// script is a conn whose peer says something and then nothing.
type script struct {
	net.Conn
	said *bytes.Reader
}

func (s script) Read(b []byte) (int, error)       { return s.said.Read(b) }
func (s script) Write(b []byte) (int, error)      { return len(b), nil }
func (s script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }
func (s script) SetDeadline(time.Time) error      { return nil }
func (s script) SetWriteDeadline(time.Time) error { return nil }
func (s script) SetReadDeadline(time.Time) error  { return nil }
func (s script) Close() error                     { return nil }

// A peer costs at most twice what it told of itself, in one large property or in as many as there may be.
func TestMemoryOfAPeer(t *testing.T) {
	const peers = 1000
	var idle int // a peer that tells what it has to
	for _, c := range []struct{ properties, size int }{{0, 0}, {1, 65_000}, {62, 65_000}, {62, 0}} {
		ready := "\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x04name"
		for i := range c.properties {
			value := make([]byte, max(c.size/c.properties-10, 0))
			ready += "\x03X-" + string(rune('A'+i%26)) + string(binary.BigEndian.AppendUint32(nil, uint32(len(value)))) + string(value)
		}
		greeting := make([]byte, 64)
		copy(greeting, "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01NULL")
		in := append(binary.BigEndian.AppendUint64(append(greeting, 6), uint64(len(ready))), ready...)
		cfg := &Config{Type: Router, Options: &Options{MaxMsgSize: -1}}
		kept := make([]Link, peers)
		before := heap()
		for i := range kept {
			link, err := newStreamLink(context.Background(), script{said: bytes.NewReader(bytes.Clone(in))}, cfg, true)
			if err != nil {
				t.Fatal(err)
			}
			link.(*connLink).conn = nil // what it has read is this test's
			kept[i] = link
		}
		each := (heap() - before) / peers
		t.Logf("%d properties, %d bytes: %d", c.properties, len(ready), each)
		if idle == 0 {
			idle = each
		} else if each > idle+2*len(ready) {
			t.Errorf("a peer that told %d bytes costs %d, one that told nothing %d", len(ready), each, idle)
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
