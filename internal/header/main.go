// Command header makes include/vtx.h from the comments of the exports in capi, and from the header
// the lists of exported symbols and, from the drivers there are, their names in C. With -check it writes nothing and fails if a file is stale.
//
// The header that results is parsed by a C front end together with shim.c, czmq2.c and zthread.c and with the
// prototypes that cgo will give the exports. So a prototype in a comment that is not what the shim
// defines, and a public function without its export, fail here and not in somebody's program.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	check := flag.Bool("check", false, "fail if a file is stale, write nothing")
	root := flag.String("root", ".", "the top of the source tree")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "header:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	exports, err := readExports(filepath.Join(root, "capi"))
	if err != nil {
		return err
	}
	header, err := headerText(exports)
	if err != nil {
		return err
	}
	// First, since the C side includes it
	stale, err := update(root, "capi/drivers.inc", driverTable(), check)
	if err != nil {
		return err
	}
	symbols, err := checkC(root, header, exports)
	if err != nil {
		return err
	}
	for _, file := range []struct {
		path string
		text []byte
	}{
		{"include/vtx.h", header},
		{"capi/symbols.txt", symbolList(symbols)},
		{"capi/libvtx.map", versionScript(symbols)},
	} {
		n, err := update(root, file.path, file.text, check)
		if err != nil {
			return err
		}
		stale += n
	}
	if stale > 0 {
		return fmt.Errorf("%d files are stale: go run ./internal/header, then look at the difference", stale)
	}
	return nil
}

// update makes a file what it should be. With check it only tells: it returns how many files are stale, 0 or 1.
func update(root, name string, text []byte, check bool) (stale int, err error) {
	path := filepath.Join(root, name)
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, text) {
		return 0, nil
	}
	if check {
		fmt.Fprintf(os.Stderr, "%s is stale\n", name)
		return 1, nil
	}
	return 0, os.WriteFile(path, text, 0o644)
}
