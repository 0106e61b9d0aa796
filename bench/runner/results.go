package main

import (
	"fmt"
	"slices"
)

// Results is one run, as results.json has it.
type results struct {
	Machine  machine      `json:"machine"`
	Versions versions     `json:"versions"`
	Command  string       `json:"command"`
	Started  string       `json:"started"`
	Minutes  float64      `json:"minutes"`
	Rounds   int          `json:"rounds"`
	Seconds  float64      `json:"seconds"`
	Failures []string     `json:"failures"`
	Cases    []caseResult `json:"cases"` // last: see write
}

// A caseResult has the samples of one case, and what follows from them.
type caseResult struct {
	Name        string       `json:"name"`
	Title       string       `json:"title"`
	Over        string       `json:"over"`
	Values      []int        `json:"values"`
	Sides       []string     `json:"sides"`
	Comparisons []comparison `json:"comparisons"`
	Samples     []sample     `json:"samples"`
}

// A sample is what one side reported in one round.
type sample struct {
	Side      string             `json:"side"`
	Value     int                `json:"value"`
	Round     int                `json:"round"`
	Figures   map[string]float64 `json:"figures"`
	Histogram []bucket           `json:"histogram,omitempty"`
}

// A comparison holds our side against another: the ratio is the median of the rounds' own ratios, and lies between
// least and most. Against nothing, it is our figure itself.
type comparison struct {
	Metric  string  `json:"metric"`
	Value   int     `json:"value"`
	Against string  `json:"against,omitempty"`
	Ours    float64 `json:"ours"`
	Theirs  float64 `json:"theirs,omitempty"`
	Ratio   float64 `json:"ratio"`
	Least   float64 `json:"least"`
	Most    float64 `json:"most"`
	Rounds  int     `json:"rounds"`
	Goal    string  `json:"goal,omitempty"`
	Met     bool    `json:"met,omitempty"`
}

// middle is the median.
func middle(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	n := len(list)
	if n == 0 {
		return 0
	}
	return (list[(n-1)/2] + list[n/2]) / 2
}

// byRound has the figures of a side at a value, by round.
func (r *caseResult) byRound(side, metric string, value int) map[int]float64 {
	figures := map[int]float64{}
	for _, s := range r.Samples {
		if f, ok := s.Figures[metric]; ok && s.Side == side && s.Value == value {
			figures[s.Round] = f
		}
	}
	return figures
}

// figures has them without the rounds.
func (r *caseResult) figures(side, metric string, value int) []float64 {
	var list []float64
	for _, f := range r.byRound(side, metric, value) {
		list = append(list, f)
	}
	return slices.Sorted(slices.Values(list))
}

// compare is false if there is no round to compare.
func (r *caseResult) compare(metric string, value int, against string) (comparison, bool) {
	ours := r.byRound(r.Sides[0], metric, value)
	theirs := r.byRound(against, metric, value)
	var ratios []float64
	for round, figure := range ours {
		switch other, ok := theirs[round]; {
		case against == "":
			ratios = append(ratios, figure)
		case ok && other != 0:
			ratios = append(ratios, figure/other)
		}
	}
	if len(ratios) == 0 {
		return comparison{}, false
	}
	return comparison{
		Metric: metric, Value: value, Against: against,
		Ours: middle(r.figures(r.Sides[0], metric, value)), Theirs: middle(r.figures(against, metric, value)),
		Ratio: middle(ratios), Least: slices.Min(ratios), Most: slices.Max(ratios), Rounds: len(ratios),
	}, true
}

// judge writes the goal beside a comparison that has one.
func (c *comparison) judge(goals []goal) {
	for _, g := range goals {
		if g.metric != c.Metric || g.against != c.Against || c.Value < g.from || c.Value > g.to {
			continue
		}
		switch {
		case g.atLeast != 0:
			c.Goal, c.Met = fmt.Sprintf("≥ %g", g.atLeast), c.Ratio >= g.atLeast
		case g.atMost != 0:
			c.Goal, c.Met = fmt.Sprintf("≤ %g", g.atMost), c.Ratio <= g.atMost
		}
	}
}

// conclude compares our side with each other one at each value, and with the goals.
func (r *caseResult) conclude(c *benchCase) {
	for _, m := range c.metrics {
		for _, value := range c.values {
			for _, against := range append(r.Sides[1:], "") {
				if cmp, ok := r.compare(m.name, value, against); ok {
					cmp.judge(c.goals)
					if against != "" || cmp.Goal != "" {
						r.Comparisons = append(r.Comparisons, cmp)
					}
				}
			}
		}
	}
}

// find is nil if there is no such comparison.
func (r *caseResult) find(metric string, value int, against string) *comparison {
	for i := range r.Comparisons {
		if c := &r.Comparisons[i]; c.Metric == metric && c.Value == value && c.Against == against {
			return c
		}
	}
	return nil
}

func (r *caseResult) hasGoal(metric, against string) bool {
	return slices.ContainsFunc(r.Comparisons, func(c comparison) bool {
		return c.Metric == metric && c.Against == against && c.Goal != ""
	})
}

// goals counts those that were met and missed.
func (r *results) goals() (met, missed int) {
	for _, c := range r.Cases {
		for _, cmp := range c.Comparisons {
			switch {
			case cmp.Goal == "":
			case cmp.Met:
				met++
			default:
				missed++
			}
		}
	}
	return met, missed
}
