package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// writePage writes ratios and plots in Markdown, as a page that shows them where the directory is looked at. Cases
// that go through the same values share a table.
func (r *results) writePage(w io.Writer, cases []benchCase, plots []string) {
	fmt.Fprint(w, "# VTX beside libzmq and the bare kernel\n\n")
	fmt.Fprint(w, "Written by `./build.sh bench`, with [all figures](results.txt), also [for programs](results.json).\n\n")
	r.writeRun(w)
	fmt.Fprint(w, "\nRatios of VTX to the other: medians of the rounds' own, and the least and the most of them. ")
	fmt.Fprint(w, "Of times and memory, less is better.\n")
	for i := range r.Cases {
		c := &r.Cases[i]
		if i == 0 || c.Over != r.Cases[i-1].Over || !slices.Equal(c.Values, r.Cases[i-1].Values) {
			fmt.Fprintf(w, "\n| %s |", map[string]string{"size": "bytes of a message", "count": "peers"}[c.Over])
			for _, v := range c.Values {
				fmt.Fprintf(w, " %s |", valueText(c.Over, v))
			}
			fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("---|", len(c.Values)))
		}
		for j, m := range cases[i].metrics {
			for _, s := range append(slices.Clone(c.Sides[1:]), "") {
				if c.hasGoal(m.name, s) || j == 0 && s != "" {
					c.writeRow(w, m, s)
				}
			}
		}
	}
	fmt.Fprint(w, "\n**Bold**: as good as its goal, or better; *slanted*: not.\n")
	for _, p := range plots {
		fmt.Fprintf(w, "\n![%s](%s)\n", strings.TrimSuffix(p, ".svg"), p)
	}
}

func (r *caseResult) writeRow(w io.Writer, m metric, against string) {
	if against == "" {
		fmt.Fprintf(w, "| %s: %s |", r.Title, m.title)
	} else {
		fmt.Fprintf(w, "| %s: %s, to %s |", r.Title, m.title, against)
	}
	for _, v := range r.Values {
		c := r.find(m.name, v, against)
		if c == nil {
			fmt.Fprint(w, " |")
			continue
		}
		mark := ""
		switch {
		case c.Goal == "":
		case c.Met:
			mark = "**"
		default:
			mark = "*"
		}
		fmt.Fprintf(w, " %s%s%s (%s–%s) |", mark, short(c.Ratio), mark, short(c.Least), short(c.Most))
	}
	fmt.Fprintln(w)
}
