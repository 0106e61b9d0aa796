package zmtp

import (
	"bytes"
	"testing"
)

func TestNullBothEnds(t *testing.T) {
	for name, chunk := range chunks {
		t.Run(name, func(t *testing.T) {
			dial := &Config{SocketType: "DEALER", Identity: []byte("me"), Mechanism: NewNull(false, nil), MaxMessage: -1,
				Metadata: Metadata{{"X-Colour", []byte("red")}}}
			listen := &Config{SocketType: "ROUTER", Mechanism: NewNull(true, nil), MaxMessage: -1}
			d, l, err1, err2 := ends(chunk, dial, listen)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if d.Version != V31 || l.Version != V31 || d.SocketType != "ROUTER" || l.SocketType != "DEALER" ||
				string(l.Identity) != "me" || len(d.Identity) != 0 || string(l.Metadata.Get("x-colour")) != "red" {
				t.Fatalf("%+v\n%+v", d, l)
			}
			if !d.Verbatim() || !l.Verbatim() || l.Final() == nil || d.Final() != nil {
				t.Fatal("verbatim or final")
			}
			b := batch([]string{"a", "", "c"}, []string{string(make([]byte, 300))})
			wire := d.Encode(nil, b)
			got, n, _, rest, err := drain(t, l, wire)
			if err != nil || n != 2 || len(rest) != 0 || !bytes.Equal(got, b) {
				t.Fatal(err, n, len(rest))
			}
		})
	}
}
