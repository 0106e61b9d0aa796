package main

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestMiddle(t *testing.T) {
	for _, x := range []struct {
		list []float64
		want float64
	}{
		{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1}, 5}, {[]float64{5, 100, 1}, 5}, {[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := middle(x.list); !near(got, x.want) {
			t.Errorf("middle of %v: %v, not %v", x.list, got, x.want)
		}
	}
}

// twoSides has figures of "ours" and "theirs" at 100 in rounds 1, 2, …; 0 is a measurement that failed.
func twoSides(ours, theirs []float64) *caseResult {
	r := &caseResult{Sides: []string{"ours", "theirs"}, Values: []int{100}, Over: "size"}
	for side, figures := range map[string][]float64{"ours": ours, "theirs": theirs} {
		for i, f := range figures {
			if f != 0 {
				r.Samples = append(r.Samples, sample{Side: side, Value: 100, Round: i + 1, Figures: map[string]float64{"rate": f}})
			}
		}
	}
	return r
}

// The median of the ratios is not the ratio of the medians.
func TestRatiosArePaired(t *testing.T) {
	c, ok := twoSides([]float64{10, 20, 90}, []float64{10, 40, 30}).compare("rate", 100, "theirs")
	if !ok || !near(c.Ratio, 1) || !near(c.Least, 0.5) || !near(c.Most, 3) || c.Rounds != 3 || !near(c.Ours, 20) || !near(c.Theirs, 30) {
		t.Errorf("%+v", c)
	}
}

func TestRoundsThatLackOneSide(t *testing.T) {
	c, ok := twoSides([]float64{10, 0, 90}, []float64{0, 40, 30}).compare("rate", 100, "theirs")
	if !ok || c.Rounds != 1 || !near(c.Ratio, 3) {
		t.Errorf("%+v", c)
	}
	if c, ok := twoSides([]float64{10}, nil).compare("rate", 100, "theirs"); ok {
		t.Errorf("compared with nothing: %+v", c)
	}
}

func TestGoals(t *testing.T) {
	theirs := side{name: "theirs"}
	for _, x := range []struct {
		name      string
		goal      goal
		ours      float64
		says      string
		met       bool
		metMissed [2]int
	}{
		{"reached exactly", atLeast(1.5, "rate", theirs, 10, 1000), 15, "≥ 1.5", true, [2]int{1, 0}},
		{"below", atLeast(1.5, "rate", theirs, 10, 1000), 14.9, "≥ 1.5", false, [2]int{0, 1}},
		{"at most", atMost(1.1, "rate", theirs, 100, 100), 11, "≤ 1.1", true, [2]int{1, 0}},
		{"above", atMost(1.1, "rate", theirs, 100, 100), 11.2, "≤ 1.1", false, [2]int{0, 1}},
		{"of itself", atMost(64, "rate", side{}, 1, 100), 65, "≤ 64", false, [2]int{0, 1}},
		{"of other values", atLeast(1.5, "rate", theirs, 101, 1000), 1, "", false, [2]int{0, 0}},
		{"of another side", atLeast(1.5, "rate", side{name: "third"}, 1, 1000), 1, "", false, [2]int{0, 0}},
		{"of another metric", atLeast(1.5, "cpu", theirs, 1, 1000), 1, "", false, [2]int{0, 0}},
	} {
		r := twoSides([]float64{x.ours}, []float64{10})
		r.conclude(&benchCase{metrics: []metric{messages}, values: r.Values, goals: []goal{x.goal}})
		c := r.find("rate", 100, x.goal.against)
		if c == nil {
			c = r.find("rate", 100, "theirs")
		}
		if c.Goal != x.says || c.Met != x.met {
			t.Errorf("%s: %+v", x.name, c)
		}
		if met, missed := (&results{Cases: []caseResult{*r}}).goals(); [2]int{met, missed} != x.metMissed {
			t.Errorf("%s: %d met, %d missed", x.name, met, missed)
		}
	}
}

func TestReadReport(t *testing.T) {
	text := "endpoint  tcp://127.0.0.1:5\nrate  1234.5 messages/s\np99.9   7.1 us\nfrom  8.0 us  12  ###\nfrom  9.5 us  3  \n\n"
	r := bufio.NewReader(strings.NewReader(text + text))
	for range 2 {
		if e, err := readEndpoint(r); err != nil || e != "tcp://127.0.0.1:5" {
			t.Fatal(e, err)
		}
		got, err := readReport(r)
		want := report{map[string]float64{"rate": 1234.5, "p99.9": 7.1}, []bucket{{8, 12}, {9.5, 3}}}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatal(got, err)
		}
	}
}

func TestReportThatIsNone(t *testing.T) {
	for _, text := range []string{"", "rate 1\n", "rate\n\n", "rate fast\n\n", "from 8.0 us\n\n", "from 8.0 us many\n\n"} {
		if got, err := readReport(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
	if e, err := readEndpoint(bufio.NewReader(strings.NewReader("rate 1\n"))); err == nil {
		t.Error(e)
	}
}

func TestCombine(t *testing.T) {
	of := func(rate, cpu float64) report { return report{figures: map[string]float64{"rate": rate, "cpu": cpu}} }
	// A sender that queued twice what arrived, at 1 µs each: 2 µs for each that arrived, and 3 there
	if got := combine(of(200, 1), []report{of(100, 3)}); !near(got["cpu"], 5) || !near(got["rate"], 100) {
		t.Error(got)
	}
	if got := combine(of(9, 1), []report{of(5, 1), of(4, 1), of(6, 1)}); !near(got["rate"], 4) {
		t.Error(got)
	}
	if got := combine(report{figures: map[string]float64{"each": 30}}, []report{{}}); !near(got["each"], 30) {
		t.Error(got)
	}
}

func TestChoose(t *testing.T) {
	names := func(words ...string) string {
		list, err := choose(words)
		if err != nil {
			return err.Error()
		}
		var names []string
		for _, c := range list {
			names = append(names, c.name)
		}
		return strings.Join(names, " ")
	}
	if got := names("tcp-latency"); got != "tcp-latency" {
		t.Error(got)
	}
	if got := names("udp", "tls-handshakes"); got != "udp-throughput udp-latency udp-fanout tls-handshakes" {
		t.Error(got)
	}
	if got := names(); len(strings.Fields(got)) != len(cases) {
		t.Error(got)
	}
	if got := names("udp", "tpc"); !strings.Contains(got, `no case "tpc"`) {
		t.Error(got)
	}
}

func TestOverrule(t *testing.T) {
	list := []benchCase{{over: "size", values: oneWay}, {over: "size", most: 512}, {over: "count", values: []int{1}}}
	if err := overrule(list, "100 1000", ""); err != nil {
		t.Fatal(err)
	}
	if got := [][]int{list[0].values, list[1].values, list[2].values}; !reflect.DeepEqual(got, [][]int{{100, 1000}, {100}, {1}}) {
		t.Error(got)
	}
	if err := overrule(list, "", "none"); err == nil {
		t.Error("a count that is no number")
	}
}

// A goal that no comparison can have would never be missed.
func TestEveryGoalIsJudged(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases {
		if seen[c.name] {
			t.Errorf("%s is there twice", c.name)
		}
		seen[c.name] = true
		for _, g := range c.goals {
			r := &caseResult{Values: c.values}
			for _, s := range c.sides {
				r.Sides = append(r.Sides, s.name)
				for _, v := range c.values {
					r.Samples = append(r.Samples, sample{Side: s.name, Value: v, Figures: map[string]float64{g.metric: 1}})
				}
			}
			r.conclude(&c)
			if !r.hasGoal(g.metric, g.against) {
				t.Errorf("%s: %+v", c.name, g)
			}
		}
	}
}

// invented has samples of every case; of those that fails names, none.
func invented(fails string) *results {
	r := &results{Rounds: 3, Machine: machine{CPU: "none"}}
	for _, c := range cases {
		result := caseResult{Name: c.name, Title: c.title, Over: c.over, Values: c.values}
		for i, s := range c.sides {
			result.Sides = append(result.Sides, s.name)
			for _, v := range c.values {
				for round := 1; round <= 3 && c.name != fails; round++ {
					figures := map[string]float64{}
					for _, m := range c.metrics {
						figures[m.name] = float64(1e9*round) / float64(v*(i+1))
					}
					result.Samples = append(result.Samples, sample{s.name, v, round, figures, []bucket{{8, 10}, {9.5, 5}, {16, 1}}})
				}
			}
		}
		result.conclude(&c)
		r.Cases = append(r.Cases, result)
	}
	return r
}

func TestFiles(t *testing.T) {
	for _, fails := range []string{"", "tcp-latency", "tcp-throughput"} {
		dir, r := t.TempDir(), invented(fails)
		r.Failures = []string{"it said },{\"name\" and so on"}
		if err := r.write(dir, cases); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "results.json"))
		if err != nil {
			t.Fatal(err)
		}
		var back results
		if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(&back, r) {
			t.Errorf("results.json: %v", err)
		}
		page, err := os.ReadFile(filepath.Join(dir, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		plots, err := filepath.Glob(filepath.Join(dir, "*.svg"))
		if want := len(cases); err != nil || fails == "" && len(plots) != want || fails != "" && len(plots) != want-1 {
			t.Errorf("%d plots: %v, %v", len(plots), plots, err)
		}
		for _, p := range plots {
			svg, err := os.ReadFile(p)
			if err != nil || len(svg) > 100_000 || xml.Unmarshal(svg, new(struct{})) != nil {
				t.Errorf("%s: %d bytes, %v", p, len(svg), err)
			}
			if !strings.Contains(string(page), filepath.Base(p)) {
				t.Errorf("the page lacks %s", p)
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 0.0064: "0.0064", 0.994: "0.99", 0.9989: "0.9989", 1: "1", 24.45: "24.45", 999.6: "1,000", 1234567: "1,234,567", 123: "123",
	} {
		if got := number(x); got != want {
			t.Errorf("%v: %s, not %s", x, got, want)
		}
	}
}
