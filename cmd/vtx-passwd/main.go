// Command vtx-passwd keeps the file that a server of sasl:// knows its users by.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

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

The file has one number of iterations, which -i changes for those who are given a password from
then on. Whoever still has another one is named in a note on stderr: that he exists can be seen.
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
	iterations := 0 // not given
	flags.Func("i", fmt.Sprintf("how long a client, and who steals the file, computes for one password: a `number` "+
		"(default the file's, %d in a new one)", passwd.DefaultIterations), func(value string) (err error) {
		if iterations, err = strconv.Atoi(value); err != nil {
			return err
		}
		return passwd.New().SetIterations(iterations)
	})
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
		return add(*name, user, iterations)
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
	var file *passwd.File
	err = change(name, true, func(f *passwd.File) error {
		file = f
		if iterations != 0 {
			if err := f.SetIterations(iterations); err != nil {
				return err
			}
		}
		return f.Set(user, password)
	})
	if err == nil {
		note(name, file)
	}
	return err
}

// note names those who can be told from users that do not exist.
func note(name string, f *passwd.File) {
	if list := f.Differing(); len(list) > 0 {
		fmt.Fprintf(os.Stderr, "vtx-passwd: %s: these have other iterations than %d, or another length of salt, so that whoever asks sees that they exist, "+
			"until they are given a new password: %q\n", name, f.Iterations(), list)
	}
}

func list(name, user string) error {
	f, _, err := read(name)
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
	note(name, f)
	return nil
}

// read reads the file, and says what kind of file it was.
func read(name string) (*passwd.File, fs.FileInfo, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	content, err := io.ReadAll(file)
	if err != nil {
		return nil, nil, err
	}
	f, err := passwd.Parse(content)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, info, nil
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
	dir, err := lock(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	f, was, err := read(name)
	if create && errors.Is(err, fs.ErrNotExist) {
		f, err = passwd.New(), nil
	}
	if err == nil {
		err = do(f)
	}
	if err == nil {
		err = replace(name, was, f.Bytes())
	}
	_ = dir.Sync() // or a crash could bring the old one back; not every file system can do it
	return err
}

// lock keeps other runs out of a directory's files, until it is closed.
func lock(dir string) (*os.File, error) {
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
	return d, nil
}

// replace puts content in the file's place. Owner, group and permissions stay what they were; was is nil if there was no
// file. Who may not give the new one to the old one's owner changes nothing: the server could no longer read it.
func replace(name string, was fs.FileInfo, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".vtx-passwd-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // if it is still there
	if was != nil {
		owner := was.Sys().(*syscall.Stat_t)
		// In this order: what is for a group to read must not be readable for another one first.
		if err = errors.Join(tmp.Chown(int(owner.Uid), int(owner.Gid)), tmp.Chmod(was.Mode().Perm())); err != nil {
			err = fmt.Errorf("%s: owner, group and permissions cannot be kept: %w", name, err)
		}
	}
	if err == nil {
		_, err = tmp.Write(content)
	}
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
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
