// Package hostile attacks a program that uses libvtx.so, with legitimate peers beside the attackers who must not notice:
// see README.md.
package hostile

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	share     = flag.Float64("share", 0.01, "how much of each attack: 1 is all of it")
	seed      = flag.Uint64("seed", 0, "what the attacks' chance begins with; 0: a new one, which is printed")
	scheme    = flag.String("scheme", "", "only this one")
	reference = flag.Bool("reference", false, "libzmq takes VTX's place at the victim, where it can")
	patient   = flag.Duration("patience", 60*time.Second, "how long anything may take before it is said to hang")
)

// The two programs in C, as built.
var hostProgram, mallocShim string

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	fmt.Printf("hostile: -seed %d -share %g\n", *seed, *share)
	dir, err := os.MkdirTemp("", "vtx-hostile-")
	if err == nil {
		err = build(dir)
	}
	status := 1
	if err != nil {
		fmt.Println(err)
	} else {
		status = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(status)
}

func build(dir string) error {
	lib, err := filepath.Abs("../../build")
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(lib, "libvtx.so")); err != nil {
		return fmt.Errorf("%w: run ./build.sh so", err)
	}
	hostProgram, mallocShim = filepath.Join(dir, "host"), filepath.Join(dir, "malloc.so")
	const flags = "-std=gnu99 -O1 -g -Wall -Wextra -Wshadow -Werror"
	for _, args := range []string{
		flags + " -I../../include -o " + hostProgram + " host.c -L" + lib + " -lvtx -lzmq -Wl,-rpath," + lib,
		flags + " -shared -fPIC -o " + mallocShim + " malloc.c -ldl",
	} {
		if out, err := exec.Command("gcc", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("gcc %s: %w\n%s", args, err, out)
		}
	}
	return nil
}

// portion is the share of a number that is now asked for, at least one.
func portion(all int) int { return max(1, int(float64(all)**share)) }

// chance is a source of it for one part of a test: the same for the same seed.
func chance(t testing.TB, part int) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(t.Name()))
	return rand.New(rand.NewPCG(*seed^h.Sum64(), uint64(part)))
}

// during calls f every so often until stop is called, which waits for it.
func during(pause time.Duration, f func()) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(pause):
				f()
			}
		}
	}()
	return func() { close(end); <-ended }
}
