package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A report is what a program prints once it has measured.
type report struct {
	figures   map[string]float64
	histogram []bucket
}

// A bucket is where it begins, in microseconds, and how many round trips are in it.
type bucket [2]float64

// readEndpoint reads the line that a program which binds prints first.
func readEndpoint(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	words := strings.Fields(line)
	if err != nil || len(words) != 2 || words[0] != "endpoint" {
		return "", fmt.Errorf("no endpoint: %q", line)
	}
	return words[1], nil
}

// readReport reads lines of a name, a figure and anything, up to an empty one.
func readReport(r *bufio.Reader) (report, error) {
	rep := report{figures: map[string]float64{}}
	for {
		line, err := r.ReadString('\n')
		words := strings.Fields(line)
		switch {
		case err == nil && len(words) == 0:
			return rep, nil
		case err == io.EOF:
			return rep, fmt.Errorf("the report has no end: %w", io.ErrUnexpectedEOF)
		case err != nil:
			return rep, err
		case len(words) < 2:
			return rep, fmt.Errorf("no figure: %q", line)
		}
		figure, err := strconv.ParseFloat(words[1], 64)
		if err != nil {
			return rep, fmt.Errorf("no figure: %q", line)
		}
		if words[0] != "from" {
			rep.figures[words[0]] = figure
			continue
		}
		if len(words) < 4 {
			return rep, fmt.Errorf("no bucket: %q", line)
		}
		count, err := strconv.ParseFloat(words[3], 64)
		if err != nil {
			return rep, fmt.Errorf("no bucket: %q", line)
		}
		rep.histogram = append(rep.histogram, bucket{figure, count})
	}
}
