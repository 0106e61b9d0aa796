// Package readme holds the pages against the code: what they list is what there is.
package readme

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	_ "github.com/libvtx/libvtx/drivers/all"
	"github.com/libvtx/libvtx/vtx"
)

const root = "../.."

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pages are the tree's own, by their path below the root.
func pages(t *testing.T) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "build" || d.Name() == ".git" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			list = append(list, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

var link = regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	found := 0
	for _, name := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(page(t, name), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d links were found", found)
	}
}

// Tables, code and links cannot be broken; everything else is wrapped at 100 columns.
func TestPagesAreWrapped(t *testing.T) {
	for _, name := range pages(t) {
		if strings.HasPrefix(name, "bench/results/") {
			continue // made by the runner, which does not break lines
		}
		fenced := false
		for i, line := range strings.Split(page(t, name), "\n") {
			if strings.HasPrefix(line, "```") {
				fenced = !fenced
			}
			if fenced || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "![") || strings.HasPrefix(line, "    ") || !strings.Contains(strings.TrimSpace(line), " ") {
				continue
			}
			if n := len([]rune(line)); n > 100 {
				t.Errorf("%s:%d has %d columns", name, i+1, n)
			}
		}
	}
}

func TestStatisticsAreListed(t *testing.T) {
	text := page(t, "docs/statistics.md")
	stats, err := json.Marshal(vtx.Stats{})
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]any
	if err := json.Unmarshal(stats, &names); err != nil {
		t.Fatal(err)
	}
	if len(names) != reflect.TypeFor[vtx.Stats]().NumField() {
		t.Fatalf("not every field shows: %v", names)
	}
	for name := range names {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/statistics.md says nothing of %s", name)
		}
	}
}

// The names of errno that the table in capi gives, as it stands in its source.
var errno = regexp.MustCompile(`\{vtx\.Err\w+, (?:syscall\.)?(\w+)\}`)

func TestErrorsAreListed(t *testing.T) {
	text := page(t, "docs/errors.md")
	rows := errno.FindAllStringSubmatch(page(t, "capi/errno.go"), -1)
	if len(rows) < 8 {
		t.Fatalf("capi/errno.go has another form than this test knows: %d rows", len(rows))
	}
	for _, row := range rows {
		if name := strings.ToUpper(row[1]); !strings.Contains(text, "| "+name+" ") && !strings.Contains(text, "| "+name+",") {
			t.Errorf("docs/errors.md says nothing of %s", name)
		}
	}
}

var (
	firstCell  = regexp.MustCompile(`(?m)^\| (` + "`" + `[^|]*)\|`)
	optionName = regexp.MustCompile("`([a-z_+.]+)`")
)

func TestOptionsAreListed(t *testing.T) {
	listed := map[string]bool{}
	for _, cell := range firstCell.FindAllStringSubmatch(page(t, "docs/options.md"), -1) {
		for _, m := range optionName.FindAllStringSubmatch(cell[1], -1) {
			listed[m[1]] = true
		}
	}
	for _, name := range vtx.OptionNames() {
		family, _, _ := strings.Cut(name, ".")
		if !listed[name] {
			t.Errorf("docs/options.md says nothing of %s", name)
		}
		if _, err := os.Stat(filepath.Join(root, "drivers", family)); err == nil {
			if !strings.Contains(page(t, "drivers/"+family+"/README.md"), "`"+name+"`") {
				t.Errorf("drivers/%s/README.md says nothing of %s", family, name)
			}
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("docs/options.md names %s, which nobody has", name)
	}
}
