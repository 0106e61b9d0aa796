package main

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/drivers/sasl/passwd"
)

// do runs the program with an input, and returns what it writes.
func do(t *testing.T, input string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	dir := t.TempDir()
	open := func(name string) *os.File {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	in, out, notes := open("in"), open("out"), open("notes")
	if _, err := in.WriteString(input); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	was := [3]*os.File{os.Stdin, os.Stdout, os.Stderr}
	os.Stdin, os.Stdout, os.Stderr = in, out, notes
	defer func() { os.Stdin, os.Stdout, os.Stderr = was[0], was[1], was[2] }()
	err = run(args)
	text := func(f *os.File) string {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return text(out), text(notes), err
}

// The file has one count: -i changes it, users are made with it, and who has another one is named.
func TestIterations(t *testing.T) {
	name := filepath.Join(t.TempDir(), "vtx.passwd")
	count := func() int {
		t.Helper()
		f, _, err := read(name)
		if err != nil {
			t.Fatal(err)
		}
		return f.Iterations()
	}
	for _, step := range []struct {
		args  string
		count int
		notes string
	}{
		{"-i 5000 add alice", 5000, ""},
		{"add bob", 5000, ""},
		{"-i 4096 add carol", 4096, `["alice" "bob"]`},
		{"list", 4096, `["alice" "bob"]`},
		{"add alice", 4096, `["bob"]`},
		{"remove bob", 4096, ""},
		{"list", 4096, ""},
	} {
		_, notes, err := do(t, "pencil\n", append([]string{"-f", name}, strings.Fields(step.args)...)...)
		if err != nil || count() != step.count || step.notes == "" && notes != "" || !strings.Contains(notes, step.notes) {
			t.Errorf("%s: %v, %d iterations, %q", step.args, err, count(), notes)
		}
	}
	if out, _, _ := do(t, "", "-f", name, "list"); out != "alice\ncarol\n" {
		t.Errorf("listed %q", out)
	}
	for _, bad := range []string{"0", "-1", "4095", "2000001", "many"} {
		if _, _, err := do(t, "pencil\n", "-f", name, "-i", bad, "add", "dave"); err == nil || count() != 4096 {
			t.Errorf("-i %s: %v, %d iterations", bad, err, count())
		}
	}
}

func owner(t *testing.T, name string) (uid, gid uint32, mode os.FileMode) {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	s := info.Sys().(*syscall.Stat_t)
	return s.Uid, s.Gid, info.Mode()
}

// Whoever changes the file, it stays its owner's, its group's, and as readable as it was; also through a link. Nothing
// else is left in the directory.
func TestOwnerIsKept(t *testing.T) {
	dir := t.TempDir()
	name, link := filepath.Join(dir, "vtx.passwd"), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	if _, _, err := do(t, "pencil\n", "-f", link, "-i", "4096", "add", "alice"); err != nil { // where there is none yet
		t.Fatal(err)
	}
	if _, _, mode := owner(t, name); mode != 0o600 {
		t.Errorf("a new file has mode %v", mode)
	}
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	if os.Geteuid() == 0 {
		uid, gid = 12345, 23456
	}
	if err := os.Chown(name, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-f", name, "add", "bob"}, {"-f", link, "add", "carol"}, {"-f", link, "remove", "bob"}} {
		if _, _, err := do(t, "pencil\n", args...); err != nil {
			t.Error(err)
		}
		if u, g, mode := owner(t, name); u != uid || g != gid || mode != 0o640 {
			t.Errorf("after %v: user %d, group %d, mode %v", args, u, g, mode)
		}
	}
	if _, _, mode := owner(t, link); mode&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("in the directory are %v, %v", entries, err)
	}
	if os.Geteuid() == 0 {
		testSomebodyElse(t, dir, name)
	}
}

// testSomebodyElse: who may not keep the owner changes nothing.
func testSomebodyElse(t *testing.T, dir, name string) {
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setfsuid(54321); err != nil {
		t.Fatal(err)
	}
	err := change(name, false, func(f *passwd.File) error { f.Remove("alice"); return nil })
	if back := unix.Setfsuid(0); back != nil {
		panic(back)
	}
	if err == nil || !strings.Contains(err.Error(), "cannot be kept") {
		t.Errorf("somebody else: %v", err)
	}
	if out, _, _ := do(t, "", "-f", name, "list"); out != "alice\ncarol\n" {
		t.Errorf("listed %q", out)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("in the directory are %v, %v", entries, err)
	}
}
