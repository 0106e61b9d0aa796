package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"

	"modernc.org/cc/v4"
)

// units are the C files of capi, and together they define every public function.
var units = []string{"shim.c", "czmq2.c"}

// inShim are the public functions that have no export: they are the thread's and the library's own.
var inShim = map[string]bool{"vtx_error": true, "vtx_version": true}

// checkC parses the C side against the header and the exports, and gives the names of all public
// symbols, sorted.
func checkC(root string, header []byte, exports []export) ([]string, error) {
	// The header may be newer than the file in the tree, and cgo's header exists in no tree
	dir, err := os.MkdirTemp("", "vtx-header-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "vtx.h"), header, 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "_cgo_export.h"), cgoHeader(exports), 0o644); err != nil {
		return nil, err
	}

	config, err := cc.NewConfig(runtime.GOOS, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	include := filepath.Join(root, "include")
	config.IncludePaths = append([]string{"@", dir, include}, config.HostIncludePaths...)
	config.SysIncludePaths = append(config.HostIncludePaths, config.HostSysIncludePaths...)

	symbols := make(map[string]bool)
	defined := make(map[string]bool)
	for _, unit := range units {
		path := filepath.Join(root, "capi", unit)
		ast, err := cc.Translate(config, []cc.Source{
			{Name: "<predefined>", Value: config.Predefined},
			{Name: "<builtin>", Value: cc.Builtin},
			{Name: path},
		})
		if err != nil {
			return nil, err
		}
		for name, nodes := range ast.Scope.Nodes {
			if !strings.HasPrefix(name, "vtx_") {
				continue
			}
			public, here, err := lookAt(nodes, path)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			symbols[name] = symbols[name] || public
			defined[name] = defined[name] || here
		}
	}

	exported := make(map[string]bool)
	for _, e := range exports {
		exported[e.name] = true
	}
	var names []string
	for name, public := range symbols {
		if !public {
			continue
		}
		if !defined[name] {
			return nil, fmt.Errorf("%s is in a header, and neither of %v defines it", name, units)
		}
		if wantsExport(name) && !exported["vtxgo_"+strings.TrimPrefix(name, "vtx_")] {
			return nil, fmt.Errorf("%s has no export in capi", name)
		}
		names = append(names, name)
	}
	for _, e := range exports {
		if e.public != "" && !defined[e.public] {
			return nil, fmt.Errorf("%s stands for %s, which is not defined", e.name, e.public)
		}
	}
	sort.Strings(names)
	return names, nil
}

// wantsExport tells whether Go stands behind a public symbol: not behind the layer for czmq 2 and
// the names of drivers, which are C.
func wantsExport(name string) bool {
	for _, prefix := range []string{"vtx_zctx_", "vtx_zthread_", "vtx_zsocket_"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return !inShim[name] && !strings.HasSuffix(name, "_driver")
}

// lookAt takes all declarations of one name in one unit: is it declared in a public header, is it
// defined in the unit, and do these agree?
func lookAt(nodes []cc.Node, unit string) (public, defined bool, err error) {
	var first *cc.Declarator
	for _, node := range nodes {
		d, ok := node.(*cc.Declarator)
		if !ok || d.IsTypename() || d.IsStatic() {
			continue
		}
		if first == nil {
			first = d
		}
		if !d.Type().IsCompatible(first.Type()) {
			return false, false, fmt.Errorf("%v: %s here, and %s at %v", d.Position(), d.Type(), first.Type(), first.Position())
		}
		switch filepath.Base(d.Position().Filename) {
		case "vtx.h", "vtx_czmq.h":
			public = true
		case filepath.Base(unit):
			defined = defined || d.IsFuncDef()
		}
	}
	return public, defined, nil
}

// cgoHeader is what cgo's _cgo_export.h says of the exports.
func cgoHeader(exports []export) []byte {
	var text bytes.Buffer
	text.WriteString("#include <stddef.h>\n#include <stdint.h>\n")
	for _, e := range exports {
		fmt.Fprintf(&text, "extern %s\n", e.cgo)
	}
	return text.Bytes()
}

func symbolList(symbols []string) []byte {
	return []byte(strings.Join(symbols, "\n") + "\n")
}

func versionScript(symbols []string) []byte {
	var text bytes.Buffer
	text.WriteString("/* Made by internal/header: do not edit. */\n{\n    global:\n")
	for _, symbol := range symbols {
		fmt.Fprintf(&text, "        %s;\n", symbol)
	}
	text.WriteString("    local:\n        *;\n};\n")
	return text.Bytes()
}
