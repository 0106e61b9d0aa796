package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
	Load   string `json:"load"` // of the last minute, before the run
}

type versions struct {
	VTX    string `json:"vtx"`
	Commit string `json:"commit"`
	Libzmq string `json:"libzmq"`
	Go     string `json:"go"`
}

func thisMachine() machine {
	m := machine{
		CPU: fact("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Memory: fact("/proc/meminfo", "MemTotal"),
		Kernel: firstWord("/proc/sys/kernel/osrelease"), Load: firstWord("/proc/loadavg"),
	}
	var kib float64
	if n, _ := fmt.Sscanf(m.Memory, "%f kB", &kib); n == 1 {
		m.Memory = fmt.Sprintf("%.1f GiB", kib/(1<<20))
	}
	return m
}

// theseVersions asks the programs, and git where this is a clone.
func theseVersions(programs string) (versions, error) {
	out, err := exec.Command(filepath.Join(programs, "vtxperf"), "versions").Output()
	v := versions{VTX: after(string(out), "libvtx"), Libzmq: after(string(out), "libzmq"), Go: runtime.Version()}
	v.Commit = "not in git"
	if out, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output(); err == nil {
		v.Commit = strings.TrimSpace(string(out))
	}
	return v, err
}

// after is the rest of the line that starts with a name.
func after(text, name string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(strings.TrimLeft(rest, " \t:"))
		}
	}
	return "unknown"
}

func fact(file, name string) string {
	text, _ := os.ReadFile(file)
	return after(string(text), name)
}

func firstWord(file string) string {
	text, _ := os.ReadFile(file)
	word, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	return word
}
