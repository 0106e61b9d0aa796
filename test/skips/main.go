// Skips reads what "go test -json" prints, shows people what "go test" would, with every skipped test and its reason, and
// fails where a test was skipped that the committed list does not name: a skip that nobody has agreed to is a test that
// nobody runs.
//
//	go test -json ./... | go run ./test/skips test/skips/allowed.txt
//	go run ./test/skips test/skips/allowed.txt step NAME     a step of build.sh that was skipped
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: skips LIST [step NAME]")
	}
	file, err := os.Open(os.Args[1])
	if err != nil {
		fail("%v", err)
	}
	list, err := readList(file)
	if err != nil {
		fail("%s: %v", os.Args[1], err)
	}
	if len(os.Args) == 4 && os.Args[2] == "step" {
		if !list.allows("step", os.Args[3]) {
			fail("the step %q was skipped, which %s does not allow", os.Args[3], os.Args[1])
		}
		return
	}
	r := report{out: os.Stdout, list: list, output: make(map[test][]string)}
	if err := r.read(os.Stdin); err != nil {
		fail("%v", err)
	}
	if r.refused > 0 {
		fail("%d skipped tests that %s does not allow", r.refused, os.Args[1])
	}
	if r.failed {
		os.Exit(1)
	}
}

func fail(format string, a ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", a...)
	os.Exit(1)
}

// skipList says what may be skipped: regular expressions for a package's path, or "step", and for a test's whole name.
type skipList []struct{ where, name *regexp.Regexp }

// readList reads lines of "WHERE NAME"; # begins a comment.
func readList(r io.Reader) (skipList, error) {
	var list skipList
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		where, name, found := strings.Cut(strings.TrimSpace(line), " ")
		if where == "" {
			continue
		}
		if !found {
			return nil, fmt.Errorf("%q: no test is named", line)
		}
		w, err := regexp.Compile(`^(.*/)?(` + where + `)$`)
		if err != nil {
			return nil, err
		}
		n, err := regexp.Compile(`^(` + strings.TrimSpace(name) + `)$`)
		if err != nil {
			return nil, err
		}
		list = append(list, struct{ where, name *regexp.Regexp }{w, n})
	}
	return list, lines.Err()
}

func (list skipList) allows(where, name string) bool {
	for _, l := range list {
		if l.where.MatchString(where) && l.name.MatchString(name) {
			return true
		}
	}
	return false
}

type test struct{ pkg, name string }

// report shows a run of "go test -json".
type report struct {
	out     io.Writer
	list    skipList
	output  map[test][]string // of tests that have not ended
	refused int
	failed  bool
}

// event is a line of "go doc test2json", or of "go help buildjson".
type event struct {
	Action, Package, ImportPath, Test, Output string
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(r.out, line) // the go command's own word
		return
	}
	t := test{cmp.Or(e.Package, e.ImportPath), e.Test}
	switch e.Action {
	case "output", "build-output":
		if e.Test == "" {
			if e.Output != "PASS\n" {
				fmt.Fprint(r.out, e.Output)
			}
			return
		}
		r.output[t] = append(r.output[t], e.Output)
	case "pass":
		delete(r.output, t)
	case "fail", "build-fail":
		r.failed = true
		fmt.Fprint(r.out, strings.Join(r.output[t], ""))
		delete(r.output, t)
	case "skip":
		r.skipped(t)
		delete(r.output, t)
	}
}

func (r *report) skipped(t test) {
	if t.name == "" {
		return // a package without tests
	}
	verdict := "skipped"
	if !r.list.allows(t.pkg, t.name) {
		verdict = "SKIPPED, not in the list"
		r.refused++
	}
	fmt.Fprintf(r.out, "%s: %s %s: %s\n", verdict, t.pkg, t.name, reason(r.output[t]))
}

// reason is what a test said before it was skipped, without the frame that go test puts around it.
func reason(output []string) string {
	var words []string
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			words = append(words, line)
		}
	}
	return cmp.Or(strings.Join(words, " "), "(no reason)")
}
