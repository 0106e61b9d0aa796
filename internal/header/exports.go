package main

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// export is one Go function that C can call.
type export struct {
	name      string // vtxgo_bind
	comment   string // the header's text for the public function
	prototype string // of the public function; "" if it is for the shim alone
	public    string // the public function's name
	cgo       string // the C prototype that cgo gives the export
}

//go:embed vtx.h.in
var template string

// prototypeLine finds the C prototype in a comment: the one indented block, a function named vtx_.
var prototypeLine = regexp.MustCompile(`(?m)^\t(.*\b(vtx_\w+) \(.*\);)$`)

// cTypes are the C types of the parameter types that exports use.
var cTypes = map[string]string{
	"unsafe.Pointer":  "void *",
	"*unsafe.Pointer": "void **",
	"*C.char":         "char *",
	"**C.char":        "char **",
	"C.int":           "int",
	"*C.int":          "int *",
	"C.size_t":        "size_t",
	"C.uintptr_t":     "uintptr_t",
	"*C.uintptr_t":    "uintptr_t *",
}

// readExports finds the exports of a Go package, in the order of the source.
func readExports(dir string) ([]export, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var exports []export
	for _, path := range paths {
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || !isExport(fn) {
				continue
			}
			e, err := readExport(fn)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, fn.Name.Name, err)
			}
			exports = append(exports, e)
		}
	}
	return exports, nil
}

func isExport(fn *ast.FuncDecl) bool {
	if fn.Doc == nil {
		return false
	}
	for _, line := range fn.Doc.List {
		if line.Text == "//export "+fn.Name.Name {
			return true
		}
	}
	return false
}

func readExport(fn *ast.FuncDecl) (export, error) {
	e := export{name: fn.Name.Name}
	var params []string
	for _, field := range fn.Type.Params.List {
		c, ok := cTypes[typeText(field.Type)]
		if !ok {
			return e, fmt.Errorf("no C type is known for parameters of type %s", typeText(field.Type))
		}
		for _, name := range field.Names {
			params = append(params, c+" "+name.Name)
		}
	}
	if len(params) == 0 {
		params = []string{"void"}
	}
	e.cgo = fmt.Sprintf("int %s (%s);", e.name, strings.Join(params, ", "))

	text := fn.Doc.Text()
	found := prototypeLine.FindStringSubmatchIndex(text)
	if found == nil {
		return e, nil
	}
	e.comment = strings.TrimSpace(text[:found[0]])
	e.prototype = text[found[2]:found[3]]
	e.public = text[found[4]:found[5]]
	if e.comment == "" {
		return e, fmt.Errorf("the comment has no text before the prototype")
	}
	if want := "vtxgo_" + strings.TrimPrefix(e.public, "vtx_"); want != e.name {
		return e, fmt.Errorf("the prototype is of %s, which wants an export %s", e.public, want)
	}
	return e, nil
}

// typeText writes a parameter's type back as it stands in the source.
func typeText(expr ast.Expr) string {
	switch t := expr.(type) {
	case *ast.StarExpr:
		return "*" + typeText(t.X)
	case *ast.SelectorExpr:
		return typeText(t.X) + "." + t.Sel.Name
	case *ast.Ident:
		return t.Name
	}
	return "?"
}

// splitPrototype parts the return type from the rest, which goes on a line of its own.
var splitPrototype = regexp.MustCompile(`^(.*?)(vtx_\w+ \(.*)$`)

// headerText puts the exports' comments and prototypes, and the drivers, into the template.
func headerText(exports []export) ([]byte, error) {
	var functions strings.Builder
	for _, e := range exports {
		if e.prototype == "" {
			continue
		}
		for line := range strings.SplitSeq(e.comment, "\n") {
			fmt.Fprintf(&functions, "//  %s\n", line)
		}
		parts := splitPrototype.FindStringSubmatch(e.prototype)
		fmt.Fprintf(&functions, "%s\n    %s\n\n", strings.TrimSpace(parts[1]), parts[2])
	}
	text := template
	for place, part := range map[string]string{
		"@FUNCTIONS@": functions.String(), "@DRIVERS@": driverNames(), "@LOADERS@": driverLoaders(),
	} {
		if !strings.Contains(text, place) {
			return nil, fmt.Errorf("vtx.h.in has no place for %s", place)
		}
		text = strings.Replace(text, place, part, 1)
	}
	return []byte(text), nil
}
