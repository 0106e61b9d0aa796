package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// writeText writes the tables that people read.
func (r *results) writeText(w io.Writer, cases []benchCase) {
	r.writeRun(w)
	fmt.Fprint(w, `
The sides take turns, every second round in the other order. Each figure is the median of the rounds; each ratio is the
median of the rounds' own ratios, with the least and the most of them. Two processes, over loopback.
`)
	for i := range r.Cases {
		for _, m := range cases[i].metrics {
			r.Cases[i].writeMetric(w, m)
		}
	}
	met, missed := r.goals()
	fmt.Fprintf(w, "\nGoals: %d met, %d missed\n", met, missed)
	for _, c := range r.Cases {
		for _, cmp := range c.Comparisons {
			if cmp.Goal != "" && !cmp.Met {
				at := valueText(c.Over, cmp.Value)
				fmt.Fprintf(w, "missed  %s, %s at %s: %s, not %s\n", c.Title, metricAgainst(cmp), at, short(cmp.Ratio), cmp.Goal)
			}
		}
	}
	for _, f := range r.Failures {
		fmt.Fprintf(w, "failed  %s\n", f)
	}
}

func metricAgainst(c comparison) string {
	if c.Against == "" {
		return c.Metric
	}
	return c.Metric + " to " + c.Against + "'s"
}

// writeRun says what was run where.
func (r *results) writeRun(w io.Writer) {
	m, v := r.Machine, r.Versions
	fmt.Fprintf(w, "%s, %d cores, %s of memory, Linux %s.\n", m.CPU, m.Cores, m.Memory, m.Kernel)
	fmt.Fprintf(w, "VTX %s (%s), libzmq %s, %s.\n", v.VTX, v.Commit, v.Libzmq, v.Go)
	fmt.Fprintf(w, "%s: `%s`, %d rounds of %g s (%g s from 1 MiB on), %.0f minutes; load before: %s.\n",
		r.Started, r.Command, r.Rounds, r.Seconds, longer*r.Seconds, r.Minutes, m.Load)
}

// writeMetric writes a row for each value: each side's median, then ours beside each of the others, then a goal for
// ours alone. Columns for goals are there where there are goals.
func (r *caseResult) writeMetric(w io.Writer, m metric) {
	fmt.Fprintf(w, "\n%s: %s\n", r.Title, m.title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	others := append(slices.Clone(r.Sides[1:]), "")
	head := append([]string{map[string]string{"size": "bytes", "count": "count"}[r.Over]}, r.Sides...)
	for _, s := range others {
		if s != "" {
			head = append(head, "to "+s, "(min–max)")
		}
		if r.hasGoal(m.name, s) {
			head = append(head, "goal")
		}
	}
	fmt.Fprintln(t, strings.Join(head, "\t")+"\t")
	for _, value := range r.Values {
		row := []string{strconv.Itoa(value)}
		for _, s := range r.Sides {
			row = append(row, "-")
			if list := r.figures(s, m.name, value); len(list) > 0 {
				row[len(row)-1] = number(middle(list))
			}
		}
		for _, s := range others {
			c := r.find(m.name, value, s)
			if c == nil {
				c = &comparison{}
			}
			switch {
			case s == "":
			case c.Rounds == 0:
				row = append(row, "-", "")
			default:
				row = append(row, short(c.Ratio), fmt.Sprintf("(%s–%s)", short(c.Least), short(c.Most)))
			}
			if r.hasGoal(m.name, s) {
				row = append(row, c.verdict())
			}
		}
		fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
	}
	t.Flush()
}

func (c *comparison) verdict() string {
	switch {
	case c.Goal == "":
		return ""
	case c.Met:
		return c.Goal + " met"
	default:
		return c.Goal + " MISSED"
	}
}

// number has three digits at least, and commas.
func number(x float64) string {
	if x != math.Trunc(x) && math.Abs(x) < 100 {
		return short(x)
	}
	digits := strconv.FormatFloat(x, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// short has two decimals, or what it takes to see anything.
func short(x float64) string {
	switch {
	case x != 0 && math.Abs(x) < 0.01, x > 0.99 && x < 1 && math.Abs(x-1) < 0.005:
		return strconv.FormatFloat(x, 'f', 4, 64)
	case math.Abs(x) >= 1000:
		return number(x)
	default:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
}

// valueText says what a value is.
func valueText(over string, value int) string {
	switch {
	case over != "size":
		return number(float64(value))
	case value%MiB == 0:
		return fmt.Sprintf("%d MiB", value/MiB)
	case value%1024 == 0:
		return fmt.Sprintf("%d KiB", value/1024)
	case value%kB == 0:
		return fmt.Sprintf("%d kB", value/kB)
	default:
		return fmt.Sprintf("%d B", value)
	}
}
