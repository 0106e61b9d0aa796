// Runner measures VTX beside libzmq and the bare kernel, and writes tables and plots: ./build.sh bench -help
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func usage() {
	out := flag.CommandLine.Output()
	fmt.Fprint(out, `usage: ./build.sh bench [FLAG...] [CASE...]

Measures VTX beside stock libzmq and the bare kernel, one after the other in each round. Writes results.txt, results.json
and plots: into bench/results, or into build/bench/results if it is not all cases.

A CASE is a name below, or a word of it: "tcp", "latency". Without any, all run.

`)
	for _, c := range cases {
		sides := make([]string, len(c.sides))
		for i, s := range c.sides {
			sides[i] = s.name
		}
		fmt.Fprintf(out, "  %-17s %s: %s\n", c.name, c.title, strings.Join(sides, ", "))
	}
	fmt.Fprint(out, "\nThe environment has the defaults: BENCH_ROUNDS for -rounds and so on.\n\n")
	flag.PrintDefaults()
}

// setting is the default of a flag: what the environment says, or else value.
func setting(name, value string) string {
	if e, ok := os.LookupEnv("BENCH_" + name); ok {
		return e
	}
	return value
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var a arguments
	flag.Usage = usage
	flag.StringVar(&a.rounds, "rounds", setting("ROUNDS", "7"), "how often each is measured")
	flag.StringVar(&a.seconds, "seconds", setting("SECONDS", "1"), "how long a measurement counts")
	flag.StringVar(&a.sizes, "sizes", setting("SIZES", ""), "bytes of a message, such as \"10 1000\", instead of each case's own")
	flag.StringVar(&a.counts, "counts", setting("COUNTS", ""), "SUBs and peerings, instead of each case's own")
	flag.StringVar(&a.lock, "lock", setting("LOCK", ""), "file to lock while something is measured, where others measure too")
	flag.StringVar(&a.out, "out", setting("OUT", ""), "directory to write into")
	flag.StringVar(&a.from, "from", "", "measure nothing: write the tables and plots of this results.json again")
	strict := flag.String("strict", setting("STRICT", "0"), "1: fail if a goal is missed")
	flag.Parse()
	a.names = flag.Args()

	missed, err := run(ctx, a)
	switch {
	case ctx.Err() != nil:
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	case missed > 0 && *strict == "1":
		os.Exit(1)
	}
}

// The arguments of the command line, as they stand there.
type arguments struct {
	rounds, seconds, sizes, counts, lock, out, from string
	names                                           []string
}

// directory is where the results go.
func (a *arguments) directory() string {
	switch {
	case a.out != "":
		return a.out
	case a.from != "":
		return filepath.Dir(a.from)
	case len(a.names) > 0 || a.sizes != "" || a.counts != "":
		return "build/bench/results"
	default:
		return "bench/results"
	}
}

// command is what repeats this run.
func command() string {
	var words []string
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "BENCH_") && !strings.HasPrefix(e, "BENCH_LOCK=") && !strings.HasPrefix(e, "BENCH_OUT=") {
			words = append(words, e)
		}
	}
	slices.Sort(words)
	words = append(words, "./build.sh bench")
	return strings.Join(append(words, os.Args[1:]...), " ")
}

// run does everything, and returns how many goals were missed.
func run(ctx context.Context, a arguments) (missed int, err error) {
	var r *results
	var chosen []benchCase
	if a.from != "" {
		r, chosen, err = reread(a.from)
	} else {
		r, chosen, err = measure(ctx, a)
	}
	if err != nil {
		return 0, err
	}
	if err := r.write(a.directory(), chosen); err != nil {
		return 0, err
	}
	r.writeText(os.Stdout, chosen)
	fmt.Printf("\nWritten to %s\n", a.directory())
	if len(r.Failures) > 0 {
		return 0, fmt.Errorf("%d measurements failed", len(r.Failures))
	}
	_, missed = r.goals()
	return missed, nil
}

// measure makes new results.
func measure(ctx context.Context, a arguments) (*results, []benchCase, error) {
	chosen, err := choose(a.names)
	if err != nil {
		return nil, nil, err
	}
	if err := overrule(chosen, a.sizes, a.counts); err != nil {
		return nil, nil, err
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	b := &bench{programs: filepath.Dir(executable)}
	r := &results{Machine: thisMachine(), Started: time.Now().UTC().Format("2006-01-02 15:04 MST"), Command: command()}
	if r.Rounds, err = strconv.Atoi(a.rounds); err != nil || r.Rounds < 1 {
		return nil, nil, fmt.Errorf("rounds: %q is no number above 0", a.rounds)
	}
	if r.Seconds, err = strconv.ParseFloat(a.seconds, 64); err != nil || r.Seconds < 0.01 || r.Seconds > 60 {
		return nil, nil, fmt.Errorf("seconds: %q is no number from 0.01 to 60", a.seconds)
	}
	b.seconds = r.Seconds
	if r.Versions, err = theseVersions(b.programs); err != nil {
		return nil, nil, fmt.Errorf("vtxperf versions: %w", err)
	}
	if b.work, err = os.MkdirTemp("", "vtx-bench."); err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(b.work)
	if err := exec.CommandContext(ctx, filepath.Join(b.programs, "baretls"), "certs", b.work).Run(); err != nil {
		return nil, nil, fmt.Errorf("baretls certs: %w", err)
	}
	return r, chosen, r.measure(ctx, b, a.lock, chosen)
}

// reread takes the samples of an earlier run.
func reread(file string) (*results, []benchCase, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	r := new(results)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	var chosen []benchCase
	for i := range r.Cases {
		result := &r.Cases[i]
		list, err := choose([]string{result.Name})
		if err != nil {
			return nil, nil, err
		}
		list[0].values, result.Comparisons = result.Values, nil
		result.conclude(&list[0])
		chosen = append(chosen, list[0])
	}
	return r, chosen, nil
}

// choose returns the cases that have one of the names, or a word of it; or all.
func choose(names []string) ([]benchCase, error) {
	var chosen []benchCase
	used := map[string]bool{}
	for _, c := range cases {
		take := len(names) == 0
		for _, name := range names {
			if name == c.name || slices.Contains(strings.Split(c.name, "-"), name) {
				take, used[name] = true, true
			}
		}
		if take {
			chosen = append(chosen, c)
		}
	}
	for _, name := range names {
		if !used[name] {
			return nil, fmt.Errorf("there is no case %q: ./build.sh bench -help", name)
		}
	}
	return chosen, nil
}

// overrule replaces the values that the cases go through.
func overrule(chosen []benchCase, sizes, counts string) error {
	for over, list := range map[string]string{"size": sizes, "count": counts} {
		var values []int
		for _, word := range strings.Fields(list) {
			n, err := strconv.Atoi(word)
			if err != nil || n < 1 {
				return fmt.Errorf("%q is no %s", word, over)
			}
			values = append(values, n)
		}
		for i := range chosen {
			c := &chosen[i]
			if values != nil && c.over == over {
				c.values = slices.DeleteFunc(slices.Clone(values), func(n int) bool { return c.most > 0 && n > c.most })
			}
		}
	}
	return nil
}

// measure goes through all cases in each round. What fails is noted, and the rest goes on.
func (r *results) measure(ctx context.Context, b *bench, lock string, chosen []benchCase) error {
	for _, c := range chosen {
		result := caseResult{Name: c.name, Title: c.title, Over: c.over, Values: c.values}
		for _, s := range c.sides {
			result.Sides = append(result.Sides, s.name)
		}
		r.Cases = append(r.Cases, result)
	}
	start, turn := time.Now(), turn{name: lock}
	for round := 1; round <= r.Rounds; round++ {
		for i := range chosen {
			if err := turn.take(ctx); err != nil {
				return fmt.Errorf("%s: %w", lock, err)
			}
			r.measureCase(ctx, b, round, &chosen[i], &r.Cases[i])
			turn.release()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			fmt.Fprintf(os.Stderr, "round %d of %d, %s: %.0f s\n", round, r.Rounds, chosen[i].name, time.Since(start).Seconds())
		}
	}
	r.Minutes = time.Since(start).Minutes()
	for i := range chosen {
		r.Cases[i].conclude(&chosen[i])
	}
	return nil
}

func (r *results) measureCase(ctx context.Context, b *bench, round int, c *benchCase, result *caseResult) {
	// What goes first finds the machine as another left it: every second round the other way
	order := slices.Clone(c.sides)
	if round%2 == 0 {
		slices.Reverse(order)
	}
	for _, value := range c.values {
		for _, s := range order {
			got, err := b.sample(ctx, c, s, value)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				text := fmt.Sprintf("round %d, %s, %s, %d: %v", round, c.name, s.name, value, err)
				fmt.Fprintln(os.Stderr, text)
				r.Failures = append(r.Failures, text)
				continue
			}
			got.Round = round
			result.Samples = append(result.Samples, got)
		}
	}
}

// write puts the files into a directory.
func (r *results) write(dir string, chosen []benchCase) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// A line for each sample and comparison, whose strings are ours
	head, tail, _ := bytes.Cut(text, []byte(`"cases":`))
	text = slices.Concat(head, []byte("\n\"cases\":"), bytes.ReplaceAll(tail, []byte(`},{"`), []byte("},\n{\"")), []byte("\n"))
	if err := os.WriteFile(filepath.Join(dir, "results.json"), text, 0o666); err != nil {
		return err
	}
	plots, err := r.plot(dir, chosen)
	if err != nil {
		return err
	}
	var table, page bytes.Buffer
	r.writeText(&table, chosen)
	r.writePage(&page, chosen, plots)
	if err := os.WriteFile(filepath.Join(dir, "results.txt"), table.Bytes(), 0o666); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), page.Bytes(), 0o666)
}
