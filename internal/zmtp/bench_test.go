package zmtp

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkDecode: the time of one operation is that of one frame.
func BenchmarkDecode(b *testing.B) {
	for _, size := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := session(V31, "DEALER", 1<<20)
			one := batch([]string{strings.Repeat("x", size)})
			in := []byte(strings.Repeat(string(one), 64<<10/len(one)+1))
			frames := len(in) / len(one)
			b.SetBytes(int64(len(one)))
			b.ReportAllocs()
			for done := 0; done < b.N; done += frames {
				if d, err := s.Decode(in); err != nil || d.Used != len(in) {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) { benchmarkSealed(b, true) }
func BenchmarkOpen(b *testing.B) { benchmarkSealed(b, false) }

// benchmarkSealed encodes and decodes; the time is only that of one of them.
func benchmarkSealed(b *testing.B, seal bool) {
	for _, size := range []int{100, 1000, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f, o := sealedPair(b, "DEALER", "DEALER", -1)
			one := batch([]string{strings.Repeat("x", size)})
			in := []byte(strings.Repeat(string(one), 64<<10/len(one)+1))
			count := len(in) / len(one)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var wire []byte
			if seal {
				for done := 0; done < b.N; done += count {
					wire = f.Encode(wire[:0], in)
				}
				return
			}
			wire = f.Encode(nil, in)
			for done := 0; done < b.N; done += count {
				o.sealer.(*curveBox).received = 1 // the same boxes again
				if d, err := o.Decode(wire); err != nil || d.Count != count {
					b.Fatal(err)
				}
			}
		})
	}
}
