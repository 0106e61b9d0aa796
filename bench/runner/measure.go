package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A bench runs the programs.
type bench struct {
	programs string // the directory they are in
	work     string // one for sockets and certificates
	seconds  float64
	paths    int // how many have been given away
}

// No process outlives its measurement by more than this.
const patience = 30 * time.Second

// The queues of two ends hold two thousand messages. Where those are large, the system hands out that memory for the
// first time, for seconds, and a short window would measure little else.
const (
	longFrom = MiB // bytes of a message
	longer   = 4   // times the seconds of other sizes
)

// sample measures one side once.
func (b *bench) sample(ctx context.Context, c *benchCase, s side, value int) (sample, error) {
	seconds := b.seconds
	if c.over == "size" && value >= longFrom {
		seconds *= longer
	}
	options := append([]string{fmt.Sprintf("%s=%d", c.over, value), fmt.Sprintf("seconds=%g", seconds)}, c.options...)
	within := patience + time.Duration(seconds*float64(time.Second))
	binder, clients, err := b.run(ctx, within, s, c.test, max(c.clients, 1), options)
	if err != nil {
		return sample{}, err
	}
	figures := combine(binder, clients)
	if c.loss {
		half := append(options, fmt.Sprintf("rate=%.0f", figures["rate"]/2))
		binder, clients, err := b.run(ctx, within, s, "loss", 1, half)
		if err != nil {
			return sample{}, err
		}
		figures["half"] = binder.figures["rate"] // what it really was
		figures["share"] = clients[0].figures["messages"] / binder.figures["messages"]
	}
	for _, m := range c.metrics {
		if _, ok := figures[m.name]; !ok {
			return sample{}, fmt.Errorf("%s was not reported", m.name)
		}
	}
	return sample{Side: s.name, Value: value, Figures: figures, Histogram: clients[0].histogram}, nil
}

// combine makes one report of those of both ends: the slowest client's, what only the binding end can tell, and the CPU
// time of both for each message that arrived. The binding end's own count would not do: what it puts into its queues
// during its window is not what leaves them.
func combine(binder report, clients []report) map[string]float64 {
	figures := maps.Clone(binder.figures)
	maps.Copy(figures, clients[0].figures)
	for _, c := range clients[1:] {
		figures["rate"] = min(figures["rate"], c.figures["rate"])
	}
	mine, ok := binder.figures["cpu"]
	if ok && len(clients) == 1 && figures["rate"] > 0 {
		figures["cpu"] += mine * binder.figures["rate"] / figures["rate"]
	} else {
		delete(figures, "cpu")
	}
	return figures
}

// run starts the end that binds and then those that connect, and returns what each reported.
func (b *bench) run(ctx context.Context, within time.Duration, s side, test string, clients int, options []string) (report, []report, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	endpoint := s.endpoint
	if strings.Contains(endpoint, "%s") {
		b.paths++
		endpoint = fmt.Sprintf(endpoint, filepath.Join(b.work, fmt.Sprint(b.paths)))
	}
	for _, o := range s.options {
		options = append(options, strings.ReplaceAll(o, "%s", b.work))
	}
	binding := options
	if clients > 1 {
		binding = append(binding, fmt.Sprintf("count=%d", clients))
	}
	binder, err := b.start(ctx, s.bind, test, "bind", endpoint, binding)
	if err != nil {
		return report{}, nil, err
	}
	defer binder.end()
	endpoint, err = readEndpoint(binder.out)
	if err != nil {
		return report{}, nil, binder.failure(err)
	}
	connected := make([]*process, clients)
	for i := range connected {
		if connected[i], err = b.start(ctx, s.connect, test, "connect", endpoint, options); err != nil {
			return report{}, nil, err
		}
		defer connected[i].end()
	}
	reports := make([]report, clients)
	for i, p := range connected {
		if reports[i], err = readReport(p.out); err != nil {
			return report{}, nil, p.failure(err)
		}
	}
	told, err := readReport(binder.out)
	if err != nil {
		return report{}, nil, binder.failure(err)
	}
	// Those that connect end by themselves, and well
	for _, p := range connected {
		if err := p.cmd.Wait(); err != nil {
			return report{}, nil, p.failure(err)
		}
	}
	return told, reports, nil
}

// A process is a program that runs.
type process struct {
	ctx    context.Context // ends when it has taken too long
	cmd    *exec.Cmd
	out    *bufio.Reader
	errors bytes.Buffer
}

func (b *bench) start(ctx context.Context, program []string, test, end, endpoint string, options []string) (*process, error) {
	words := append(append([]string{}, program[1:]...), test, end, endpoint)
	p := &process{ctx: ctx, cmd: exec.CommandContext(ctx, filepath.Join(b.programs, program[0]), append(words, options...)...)}
	p.cmd.Stderr = &p.errors
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// end kills what still runs, which has reported or failed, and waits for it. May be called twice.
func (p *process) end() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// failure says which program failed, and what it said.
func (p *process) failure(err error) error {
	p.end()
	if p.ctx.Err() != nil {
		err = p.ctx.Err()
	}
	words := append([]string{filepath.Base(p.cmd.Path)}, p.cmd.Args[1:]...)
	return fmt.Errorf("%s: %w %s", strings.Join(words, " "), err, strings.TrimSpace(p.errors.String()))
}
