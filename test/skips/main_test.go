package main

import (
	"strings"
	"testing"
)

const agreed = `
# a comment
drivers/udp Test(A|B)/x.*   # why
step two hosts
`

func readAgreed(t *testing.T) skipList {
	t.Helper()
	list, err := readList(strings.NewReader(agreed))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestList(t *testing.T) {
	list := readAgreed(t)
	for _, c := range []struct {
		where, name string
		allowed     bool
	}{
		{"example.org/m/drivers/udp", "TestA/x1/deep", true},
		{"drivers/udp", "TestB/x", true},
		{"example.org/m/drivers/udp", "TestA", false},
		{"example.org/m/drivers/udp", "TestC/x", false},
		{"example.org/m/otherdrivers/udp2", "TestA/x", false},
		{"step", "two hosts", true},
		{"step", "two", false},
	} {
		if got := list.allows(c.where, c.name); got != c.allowed {
			t.Errorf("%s %s: %v, want %v", c.where, c.name, got, c.allowed)
		}
	}
	if _, err := readList(strings.NewReader("only-a-place\n")); err == nil {
		t.Error("a line without a test's name was read")
	}
}

func TestReport(t *testing.T) {
	run := `{"Action":"start","Package":"m/drivers/udp"}
{"Action":"output","Package":"m/drivers/udp","Test":"TestA/x","Output":"=== RUN   TestA/x\n"}
{"Action":"output","Package":"m/drivers/udp","Test":"TestA/x","Output":"    a_test.go:1: no such device\n"}
{"Action":"output","Package":"m/drivers/udp","Test":"TestA/x","Output":"--- SKIP: TestA/x (0.00s)\n"}
{"Action":"skip","Package":"m/drivers/udp","Test":"TestA/x"}
{"Action":"output","Package":"m/drivers/udp","Test":"TestGood","Output":"chatter\n"}
{"Action":"pass","Package":"m/drivers/udp","Test":"TestGood"}
{"Action":"output","Package":"m/drivers/udp","Output":"PASS\n"}
{"Action":"output","Package":"m/drivers/udp","Output":"ok  \tm/drivers/udp\t0.1s\n"}
{"Action":"skip","Package":"m/empty"}
`
	show := func(run string) (string, report) {
		var out strings.Builder
		r := report{out: &out, list: readAgreed(t), output: make(map[test][]string)}
		if err := r.read(strings.NewReader(run)); err != nil {
			t.Fatal(err)
		}
		r.out = nil
		return out.String(), r
	}
	const want = "skipped: m/drivers/udp TestA/x: a_test.go:1: no such device\nok  \tm/drivers/udp\t0.1s\n"
	if got, r := show(run); got != want || r.failed || r.refused != 0 {
		t.Errorf("%q, failed %v, refused %d; want %q", got, r.failed, r.refused, want)
	}
	got, r := show(strings.ReplaceAll(run, "TestA/x", "TestOther"))
	if r.refused != 1 || !strings.Contains(got, "SKIPPED, not in the list: m/drivers/udp TestOther") {
		t.Errorf("a skip that is not in the list: refused %d, %q", r.refused, got)
	}
	got, r = show(`{"Action":"output","Package":"m","Test":"TestBad","Output":"    b_test.go:2: wrong\n"}
{"Action":"fail","Package":"m","Test":"TestBad"}
{"ImportPath":"m/broken","Action":"build-output","Output":"syntax error\n"}
{"ImportPath":"m/broken","Action":"build-fail"}
`)
	if !r.failed || !strings.Contains(got, "wrong") || !strings.Contains(got, "syntax error") {
		t.Errorf("failures: %v, %q", r.failed, got)
	}
}
