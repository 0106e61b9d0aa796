package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// The committed header and lists are those that the source gives.
func TestFresh(t *testing.T) {
	if err := run(root, true); err != nil {
		t.Fatal(err)
	}
}

// copyTree makes a tree with the files that the generator reads, to be broken in one place.
func copyTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, pattern := range []string{"capi/*", "include/*"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(dir, strings.TrimPrefix(path, root))
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// Each way in which comments, exports, shim and headers can drift apart is noticed.
func TestDrift(t *testing.T) {
	for _, drift := range []struct {
		name, file, old, new string
		complaint            string
	}{
		{"a prototype that the shim does not have", "capi/exports.go",
			"int vtx_unbind (vtx_t *self, void *socket, const char *endpoint);",
			"int vtx_unbind (vtx_t *self, void *socket, char *endpoint, int flags);", "vtx_unbind"},
		{"a function without an export", "capi/exports.go", "//export vtxgo_unbind\n", "", "vtxgo_unbind"},
		{"an export without its function", "capi/shim.c", "\nvtx_unbind (", "\nvtx_unbound (", "vtx_unbind"},
		{"a prototype for another export", "capi/exports.go",
			"int vtx_unbind (vtx_t", "int vtx_unbound (vtx_t", "vtx_unbound"},
		{"a function of another type", "capi/exports.go",
			"int vtx_unbind (vtx_t *self, void *socket, const char *endpoint);",
			"long vtx_unbind (vtx_t *self, void *socket, const char *endpoint);", "vtx_unbind"},
		{"a const that is not there", "capi/exports.go",
			"int vtx_unbind (vtx_t *self, void *socket, const char *endpoint);",
			"int vtx_unbind (vtx_t *self, void *socket, char *endpoint);", "vtx_unbind"},
		{"a driver that is not there", "capi/drivers.inc", "vtx_udp_driver", "vtx_dup_driver", "vtx_udp_driver"},
		{"other words", "capi/exports.go", "// Stop accepting peers", "// Stop taking peers", "stale"},
		{"a czmq 2 function that is not there", "include/vtx_czmq.h",
			"void *\n    zctx_underlying (zctx_t *self);", "int\n    zctx_underlying (zctx_t *self);", "zctx_underlying"},
	} {
		t.Run(drift.name, func(t *testing.T) {
			dir := copyTree(t)
			path := filepath.Join(dir, drift.file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			broken := strings.Replace(string(text), drift.old, drift.new, 1)
			if broken == string(text) {
				t.Fatalf("%q is not in %s", drift.old, drift.file)
			}
			if err := os.WriteFile(path, []byte(broken), 0o644); err != nil {
				t.Fatal(err)
			}
			err = run(dir, true)
			if err == nil || !strings.Contains(err.Error(), drift.complaint) {
				t.Errorf("got %v, want an error about %s", err, drift.complaint)
			}
		})
	}
}
