//go:build drivertest

package main

// #include <dlfcn.h>
// #include <stdint.h>
// #include <stdlib.h>
import "C"

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/libvtx/libvtx/internal/app"
	"github.com/libvtx/libvtx/vtx"
	"github.com/libvtx/libvtx/vtx/drivertest"
)

// The conformance program, build/vtx-drivertest: this package as a program, with the suite in it. A driver's library
// that needs libvtx.so.1 gets an empty one, and finds its vtx_ functions in the program.

const usage = `usage: vtx-drivertest LIBRARY FUNCTION SCHEME ADDRESS [-v] [-short] [-run REGEXP]

Puts the driver FUNCTION of a shared library through the checks that every driver of
VTX passes, under the name of SCHEME. Each check binds addresses of its own: a %d in
ADDRESS becomes a number, or else one is added; an ADDRESS with a * stays as it is.

  -v      the driver is verbose
  -short  some thousand messages less
  -run    only the checks whose name the expression matches

The suite asks the driver by GETMETA what it cannot do. "" is the usual answer:

  max_body     the largest body of one frame that fits, in bytes; "": any
  reliable     "0": messages may be lost, and a full receiver does not stop its sender
  routing_ids  "1": vtx_peering_open is given the ZMQ_ROUTING_ID of the peer
`

func init() { program = func() { os.Exit(drivertestMain(os.Args[1:])) } }

// drivertestMain runs the program with its arguments and gives its exit status.
func drivertestMain(args []string) int {
	testing.Init()
	flags := flag.NewFlagSet("vtx-drivertest", flag.ContinueOnError)
	flags.Usage = func() { os.Stderr.WriteString(usage) }
	verbose, short := flags.Bool("v", false, ""), flags.Bool("short", false, "")
	match := flags.String("run", "", "")
	if flags.Parse(args) != nil {
		return 2
	}
	if args = flags.Args(); len(args) > 4 { // flags may stand behind too
		if flags.Parse(args[4:]) != nil || flags.NArg() > 0 {
			return 2
		}
		args = args[:4]
	}
	if len(args) != 4 {
		flags.Usage()
		return 2
	}
	function, err := loadFunction(args[0], args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vtx-drivertest:", err)
		return 2
	}
	chosen := "Driver"
	if *match != "" {
		chosen = "Driver/(Facts|" + *match + ")"
	}
	flag.CommandLine.Parse([]string{"-test.v", "-test.timeout=10m",
		"-test.short=" + strconv.FormatBool(*short), "-test.run=" + chosen})
	runSuite(fixtureOf(function, args[2], args[3], *verbose))
	return 0
}

// loadFunction finds a driver. The library is never unloaded: its threads may still be ending.
func loadFunction(library, function string) (C.uintptr_t, error) {
	if !strings.Contains(library, "/") {
		if abs, err := filepath.Abs(library); err == nil {
			if _, err := os.Stat(abs); err == nil {
				library = abs
			}
		}
	}
	path, name := C.CString(library), C.CString(function)
	defer C.free(unsafe.Pointer(path))
	defer C.free(unsafe.Pointer(name))
	handle := C.dlopen(path, C.RTLD_NOW)
	if handle == nil {
		return 0, fmt.Errorf("%s", C.GoString(C.dlerror()))
	}
	address := C.dlsym(handle, name)
	if address == nil {
		return 0, fmt.Errorf("%s", C.GoString(C.dlerror()))
	}
	return C.uintptr_t(uintptr(address)), nil
}

// fixtureOf describes a driver to the suite.
func fixtureOf(function C.uintptr_t, scheme, address string, verbose bool) drivertest.Fixture {
	var serial atomic.Int64
	next := func() string {
		switch {
		case strings.Contains(address, "*"):
			return scheme + "://" + address
		case strings.Contains(address, "%d"):
			return scheme + "://" + strings.Replace(address, "%d", strconv.FormatInt(serial.Add(1), 10), 1)
		}
		return fmt.Sprintf("%s://%s-%d", scheme, address, serial.Add(1))
	}
	return drivertest.Fixture{
		Register: func(m *vtx.Manager) error { return register(m, scheme, function, verbose) },
		Bind:     func(testing.TB) string { return next() },
		Reliable: true,
		Bad: []drivertest.BadEndpoint{
			{Endpoint: scheme + "://", Err: vtx.ErrInvalid},
			{Endpoint: scheme + "://", Connect: true, Err: vtx.ErrInvalid},
			{Endpoint: scheme + ":/x", Err: vtx.ErrInvalid},
			{Endpoint: next() + "?colour=red", Err: vtx.ErrInvalid},
		},
	}
}

// ask completes a fixture with what the driver says of itself.
func ask(t *testing.T, f *drivertest.Fixture) {
	c := app.NewContext(t)
	m, err := vtx.NewManager(c.P)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Destroy()
	if err := f.Register(m); err != nil {
		t.Fatal(err)
	}
	s := c.Socket(t, int(vtx.Dealer))
	if err := m.Bind(s.P, f.Bind(t)); err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]func(string){
		"max_body":    func(v string) { f.MaxBody, err = strconv.Atoi(v) },
		"reliable":    func(v string) { f.Reliable, err = strconv.ParseBool(v) },
		"routing_ids": func(v string) { f.RoutingIDs, err = strconv.ParseBool(v) },
	} {
		value, unknown := m.Meta(s.P, name)
		if unknown == nil && value != "" {
			if set(value); err != nil {
				t.Fatalf("GETMETA %s: the driver says %q", name, value)
			}
		}
	}
}

// runSuite runs the checks, each by its name, tells the verdict and ends the process.
func runSuite(f drivertest.Fixture) {
	testing.Main(
		func(pattern, name string) (bool, error) { return regexp.MatchString(pattern, name) },
		[]testing.InternalTest{{Name: "Driver", F: func(t *testing.T) {
			t.Run("Facts", func(t *testing.T) { ask(t, &f) })
			drivertest.Run(t, f)
			if t.Failed() {
				fmt.Println("The driver does NOT conform.")
			} else {
				fmt.Println("The driver conforms.")
			}
		}}}, nil, nil)
}
