package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"modernc.org/cc/v4"
)

// units are the C files of capi, and together they define every public function.
var units = []string{"shim.c", "czmq2.c", "zthread.c"}

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

	// The header by itself: where a declaration and a definition differ, the front end takes the
	// definition for both
	declared, err := functions(config, cc.Source{Name: "vtx.c", Value: "#include \"vtx.h\"\n"}, false)
	if err != nil {
		return nil, err
	}
	defined := make(map[string]string)
	for _, unit := range units {
		found, err := functions(config, cc.Source{Name: filepath.Join(root, "capi", unit)}, true)
		if err != nil {
			return nil, err
		}
		maps.Copy(defined, found)
	}
	exported := make(map[string]bool)
	for _, e := range exports {
		exported[e.name] = true
	}

	names := slices.Sorted(maps.Keys(declared))
	for _, name := range names {
		if defined[name] == "" {
			return nil, fmt.Errorf("%s is in a header, and neither of %v defines it", name, units)
		}
		if declared[name] != defined[name] {
			return nil, fmt.Errorf("%s is declared as %s and defined as %s", name, declared[name], defined[name])
		}
		if wantsExport(name) && !exported["vtxgo_"+strings.TrimPrefix(name, "vtx_")] {
			return nil, fmt.Errorf("%s has no export in capi: it wants vtxgo_%s", name, strings.TrimPrefix(name, "vtx_"))
		}
	}
	return names, nil
}

// functions gives the type of each function named vtx_ that a source declares, or defines, for other
// units to call.
func functions(config *cc.Config, source cc.Source, definitions bool) (map[string]string, error) {
	ast, err := cc.Translate(config, []cc.Source{
		{Name: "<predefined>", Value: config.Predefined},
		{Name: "<builtin>", Value: cc.Builtin},
		source,
	})
	if err != nil {
		return nil, err
	}
	found := make(map[string]string)
	for name, nodes := range ast.Scope.Nodes {
		for _, node := range nodes {
			d, ok := node.(*cc.Declarator)
			if !ok || !strings.HasPrefix(name, "vtx_") || d.IsTypename() || d.IsStatic() {
				continue
			}
			if d.IsFuncDef() || !definitions {
				found[name] = signature(d.Type())
			}
		}
	}
	return found, nil
}

// signature spells a function's type out, also where a typedef names the whole of it. Where zctx_t is
// complete the front end calls it by its tag.
func signature(t cc.Type) string {
	f, ok := t.(*cc.FunctionType)
	if !ok {
		return t.String()
	}
	var params []string
	for _, p := range f.Parameters() {
		params = append(params, p.Type().String())
	}
	if f.IsVariadic() {
		params = append(params, "...")
	}
	text := f.Result().String() + " (" + strings.Join(params, ", ") + ")"
	return strings.ReplaceAll(text, "struct _vtx_zctx_t", "zctx_t")
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
