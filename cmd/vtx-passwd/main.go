// Command vtx-passwd keeps the file that a server of sasl:// knows its users by.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/libvtx/libvtx/drivers/sasl/passwd"
)

const usage = `usage: vtx-passwd [-f FILE] [-i ITERATIONS] add USER
       vtx-passwd [-f FILE] remove USER
       vtx-passwd [-f FILE] list [USER]

Keeps the file of SCRAM verifiers that sasl.verifiers names. add makes it if it is not there, and
gives a user who is in it a new password. The password is asked for, or is the first line of the
input where that is no terminal; it is not stored. list fails if the user is not there.
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vtx-passwd:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("vtx-passwd", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage, "\n")
		flags.PrintDefaults()
	}
	name := flags.String("f", "vtx.passwd", "the `file`")
	iterations := flags.Int("i", passwd.DefaultIterations, "how long a client, and who steals the file, computes for one password")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return errors.New("see vtx-passwd -h")
	}
	verb, user := flags.Arg(0), flags.Arg(1)
	if flags.NArg() > 2 || verb != "list" && flags.NArg() != 2 {
		return errors.New("see vtx-passwd -h")
	}
	switch verb {
	case "add":
		return add(*name, user, *iterations)
	case "remove":
		return change(*name, false, func(f *passwd.File) error {
			if !f.Remove(user) {
				return fmt.Errorf("%s: there is no user %q", *name, user)
			}
			return nil
		})
	case "list":
		return list(*name, user)
	}
	return errors.New("see vtx-passwd -h")
}

func add(name, user string, iterations int) error {
	if _, err := passwd.PrepareName(user); err != nil {
		return err
	}
	password, err := readPassword(user)
	if err != nil {
		return err
	}
	return change(name, true, func(f *passwd.File) error { return f.Set(user, password, iterations) })
}

func list(name, user string) error {
	f, err := read(name)
	if err != nil {
		return err
	}
	found := user == ""
	for _, u := range f.Users() {
		if user == "" || u == user {
			fmt.Println(u)
			found = true
		}
	}
	if !found {
		return fmt.Errorf("%s: there is no user %q", name, user)
	}
	return nil
}

func read(name string) (*passwd.File, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f, err := passwd.Parse(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// change replaces the file in one step, while nobody else changes it. A server reads the old one or the new one.
func change(name string, create bool, do func(*passwd.File) error) error {
	name, err := filepath.EvalSymlinks(name)
	var bare *fs.PathError
	if create && errors.As(err, &bare) && errors.Is(err, fs.ErrNotExist) {
		name, err = bare.Path, nil
	}
	if err != nil {
		return err
	}
	unlock, err := lock(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer unlock()
	mode := fs.FileMode(0o600)
	f, err := read(name)
	switch info, statErr := os.Stat(name); {
	case err == nil && statErr == nil:
		mode = info.Mode().Perm()
	case create && errors.Is(err, fs.ErrNotExist):
		f = passwd.New()
	default:
		return errors.Join(err, statErr)
	}
	if err := do(f); err != nil {
		return err
	}
	return replace(name, mode, f.Bytes())
}

// lock keeps other runs out of a directory's files.
func lock(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(d.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return func() { d.Close() }, nil
}

func replace(name string, mode fs.FileMode, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".vtx-passwd-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // if it is still there
	_, err = io.Copy(tmp, bytes.NewReader(content))
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

// readPassword asks for the password twice, or reads it from an input that is no terminal.
func readPassword(user string) (string, error) {
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		line, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", errors.New("the input has no password in its first line")
		}
		return line, nil
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(os.Stderr, prompt)
		b, err := term.ReadPassword(in)
		fmt.Fprintln(os.Stderr)
		return string(b), err
	}
	first, err := ask(fmt.Sprintf("Password for %s: ", user))
	if err != nil {
		return "", err
	}
	second, err := ask("Again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two are not the same")
	}
	return first, nil
}
