package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Ours, libzmq's and the limit
var colours = []color.Color{
	color.RGBA{R: 0x14, G: 0x5d, B: 0xc8, A: 0xff},
	color.RGBA{R: 0xd9, G: 0x6a, B: 0x0b, A: 0xff},
	color.RGBA{R: 0x77, G: 0x77, B: 0x77, A: 0xff},
	color.RGBA{R: 0x1a, G: 0x8a, B: 0x4c, A: 0xff},
}

// plot writes one picture of all ratios, and one for each case, and returns the files' names.
func (r *results) plot(dir string, chosen []benchCase) ([]string, error) {
	var files []string
	write := func(name string, p *plot.Plot, err error) error {
		if err == nil && p != nil {
			files = append(files, name+".svg")
			err = save(p, filepath.Join(dir, name+".svg"))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	p, err := r.plotRatios(chosen)
	if err := write("ratios", p, err); err != nil {
		return nil, err
	}
	for i := range r.Cases {
		c := &r.Cases[i]
		var p *plot.Plot
		var err error
		switch {
		case len(c.Samples) == 0:
		case chosen[i].test == "latency":
			p, err = c.plotHistogram()
		case len(c.Values) > 1:
			p, err = c.plotMedians(chosen[i].metrics[0])
		}
		if err := write(c.Name, p, err); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func save(p *plot.Plot, file string) error {
	c := vgsvg.New(17*vg.Centimeter, 10*vg.Centimeter)
	margin := 3 * vg.Millimeter
	p.Draw(draw.Crop(draw.New(c), margin, -margin, margin, -margin))
	var text bytes.Buffer
	if _, err := c.WriteTo(&text); err != nil {
		return err
	}
	// Whoever looks may not have that font
	svg := bytes.ReplaceAll(text.Bytes(), []byte("Liberation Sans"), []byte("Liberation Sans,Arial,sans-serif"))
	return os.WriteFile(file, svg, 0o666)
}

// newPlot has a logarithmic scale below.
func newPlot(title, x, y string) *plot.Plot {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding, p.X.Label.Padding, p.Y.Label.Padding = 2*vg.Millimeter, vg.Millimeter, vg.Millimeter
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, decades{}
	p.Legend.Top = true
	p.Legend.Padding = vg.Millimeter
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{Y: 0xdd}, color.Gray{Y: 0xee}
	p.Add(grid)
	return p
}

// A curveLine is a line through medians, with bars from least to most.
type curveLine []struct{ x, median, least, most float64 }

func (c curveLine) Len() int                    { return len(c) }
func (c curveLine) XY(i int) (float64, float64) { return c[i].x, c[i].median }
func (c curveLine) YError(i int) (float64, float64) {
	return c[i].median - c[i].least, c[i].most - c[i].median
}

// add draws the side number i; dashed is for a limit.
func add(p *plot.Plot, name string, i int, dashed bool, c curveLine) error {
	if len(c) == 0 {
		return nil
	}
	line, points, err := plotter.NewLinePoints(c)
	if err != nil {
		return err
	}
	bars, err := plotter.NewYErrorBars(c)
	if err != nil {
		return err
	}
	line.Color, points.Color, bars.Color = colours[i%4], colours[i%4], colours[i%4]
	line.Width, points.Radius = vg.Points(1.6), vg.Points(2.2)
	points.Shape = draw.CircleGlyph{}
	if dashed {
		line.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
	}
	p.Add(bars, line, points)
	p.Legend.Add(name, line, points)
	return nil
}

// plotMedians is nil where there is nothing to be seen.
func (r *caseResult) plotMedians(m metric) (*plot.Plot, error) {
	p := newPlot(r.Title, map[string]string{"size": "bytes of a message", "count": "peers"}[r.Over], m.title)
	lines := 0
	for i, side := range r.Sides {
		var c curveLine
		for _, value := range r.Values {
			if list := r.figures(side, m.name, value); len(list) > 0 && list[0] > 0 {
				c = append(c, struct{ x, median, least, most float64 }{float64(value), middle(list), list[0], list[len(list)-1]})
			}
		}
		if err := add(p, side, i, i == 2, c); err != nil {
			return nil, err
		}
		lines += len(c)
	}
	if lines == 0 {
		return nil, nil
	}
	if p.Y.Max > 20*p.Y.Min {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades{}
	} else {
		fromZero(p)
	}
	p.X.Tick.Marker = valueTicks(r.Values, r.Over)
	return p, nil
}

// fromZero shows all of the y axis, and leaves room for the legend.
func fromZero(p *plot.Plot) {
	p.Y.Min, p.Y.Max = 0, p.Y.Max*1.25
	p.Y.Tick.Marker = evenly{}
}

// histogram sums up those of all rounds.
func (r *caseResult) histogram(side string, value int) []bucket {
	counts := map[float64]float64{}
	for _, s := range r.Samples {
		if s.Side == side && s.Value == value {
			for _, b := range s.Histogram {
				counts[b[0]] += b[1]
			}
		}
	}
	var list []bucket
	for from, count := range counts {
		list = append(list, bucket{from, count})
	}
	slices.SortFunc(list, func(a, b bucket) int { return int(math.Copysign(1, a[0]-b[0])) })
	return list
}

// Buckets are a quarter of a doubling wide, as in bench/measure.c
var bucketWidth = math.Pow(2, 0.25)

// plotHistogram too.
func (r *caseResult) plotHistogram() (*plot.Plot, error) {
	p := newPlot(fmt.Sprintf("%s, %s", r.Title, valueText(r.Over, r.Values[0])), "µs of a round trip", "% of the round trips")
	lines := 0
	for i, side := range r.Sides {
		var xy plotter.XYs
		sum, end := 0.0, 0.0
		list := r.histogram(side, r.Values[0])
		for _, b := range list {
			sum += b[1]
		}
		for _, b := range list {
			if b[1] < sum/1000 {
				continue // too few to be seen
			}
			if end > 0 && b[0] > end*1.01 {
				xy = append(xy, plotter.XY{X: end, Y: 0})
			}
			xy = append(xy, plotter.XY{X: b[0], Y: 100 * b[1] / sum})
			end = b[0] * bucketWidth
		}
		if len(xy) == 0 {
			continue
		}
		line, err := plotter.NewLine(append(append(plotter.XYs{{X: xy[0].X, Y: 0}}, xy...), plotter.XY{X: end, Y: 0}))
		if err != nil {
			return nil, err
		}
		line.StepStyle, line.Color, line.Width = plotter.PostStep, colours[i%4], vg.Points(1.6)
		p.Add(line)
		p.Legend.Add(side, line)
		lines++
	}
	if lines == 0 {
		return nil, nil
	}
	fromZero(p)
	return p, nil
}

// plotRatios has our messages a second, divided by libzmq's, of each transport. It is nil if there are none.
func (r *results) plotRatios(chosen []benchCase) (*plot.Plot, error) {
	p := newPlot("PUSH to PULL: messages/s of VTX / messages/s of libzmq", "bytes of a message", "ratio, above 1: VTX is faster")
	p.X.Tick.Marker = valueTicks(oneWay, "size")
	lines := 0
	for i := range r.Cases {
		c := &r.Cases[i]
		if chosen[i].test != "throughput" || len(c.Values) < 2 {
			continue
		}
		against := c.Sides[1]
		var line curveLine
		for _, value := range c.Values {
			if cmp := c.find("rate", value, against); cmp != nil {
				line = append(line, struct{ x, median, least, most float64 }{float64(value), cmp.Ratio, cmp.Least, cmp.Most})
			}
		}
		if len(line) == 0 || against == bareUDP.name {
			continue
		}
		if err := add(p, c.Sides[0]+" / "+against, lines, false, line); err != nil {
			return nil, err
		}
		lines++
	}
	if lines == 0 {
		return nil, nil
	}
	one := plotter.NewFunction(func(float64) float64 { return 1 })
	one.Color, one.Width = color.Black, vg.Points(0.7)
	p.Add(one)
	fromZero(p)
	return p, nil
}

// Decades marks the powers of ten, and others where there are fewer than two.
type decades struct{}

func (decades) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	few := math.Log10(high/low) < 2.2
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for m := 1.0; m < 10; m++ {
			x := m * math.Pow(10, e)
			if x < low*0.999 || x > high*1.001 {
				continue
			}
			t := plot.Tick{Value: x}
			if m == 1 || few && (m == 2 || m == 5) {
				t.Label = plain(x)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// Evenly marks from four to ten round numbers.
type evenly struct{}

func (evenly) Ticks(low, high float64) []plot.Tick {
	step := math.Pow(10, math.Floor(math.Log10(high-low)))
	for _, part := range []float64{0.1, 0.2, 0.5} {
		if (high-low)/(step*part) <= 10 {
			step *= part
			break
		}
	}
	var ticks []plot.Tick
	for i := math.Ceil(low / step); i*step <= high; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: plain(i * step)})
	}
	return ticks
}

func plain(x float64) string {
	switch {
	case x >= 1e6:
		return fmt.Sprintf("%g M", x/1e6)
	case x >= 1e4:
		return fmt.Sprintf("%g k", x/1e3)
	default:
		return strconv.FormatFloat(x, 'g', 4, 64)
	}
}

func valueTicks(values []int, over string) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for _, v := range values {
		ticks = append(ticks, plot.Tick{Value: float64(v), Label: valueText(over, v)})
	}
	return ticks
}
