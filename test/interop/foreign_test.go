package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/libvtx/libvtx/vtx"
)

// foreign is a library of another language. All tests share one child, which is started when it is first needed.
type foreign struct {
	*shared
	title string
	// without says why the library has no such thing.
	without func(what string) string
	// prepare gives the command of the child, or why there is none.
	prepare func() ([]string, error)
}

type shared struct {
	once sync.Once
	c    *child
	err  error
}

func (f foreign) name() string { return f.title }

func (f foreign) child() (*child, error) {
	f.once.Do(func() {
		command, err := f.prepare()
		if err == nil {
			f.c, err = startChild(f, command...)
		}
		f.err = err
	})
	return f.c, f.err
}

func (f foreign) lacks(what string) string {
	if _, err := f.child(); err != nil {
		return err.Error()
	}
	return f.without(what)
}

func (f foreign) open(t testing.TB, typ vtx.SocketType, o options) socket {
	t.Helper()
	c, err := f.child()
	if err != nil {
		t.Skipf("%s: %v", f.title, err)
	}
	return c.open(t, typ, o)
}

// stop ends the child, if there is one, and says what there is not.
func (f foreign) stop() error {
	f.once.Do(func() {})
	if f.err != nil {
		fmt.Printf("skipped %s: %v\n", f.title, f.err)
	}
	if f.c == nil {
		return nil
	}
	return f.c.kill()
}

// pyzmq is Debian's python3-zmq, or whichever python3 has one.
var pyzmq = withAuthenticator{foreign{
	shared:  new(shared),
	title:   "pyzmq",
	without: func(string) string { return "" },
	prepare: func() ([]string, error) {
		for _, python := range []string{"python3", "/usr/bin/python3"} {
			if exec.Command(python, "-c", "import zmq").Run() == nil {
				return []string{python, "peer.py"}, nil
			}
		}
		return nil, errors.New("no python3 here has pyzmq (Debian's package python3-zmq)")
	},
}}

// withAuthenticator is a foreign library that has a ZAP handler.
type withAuthenticator struct{ foreign }

func (f withAuthenticator) authenticate(t testing.TB, l guestList) {
	t.Helper()
	c, err := f.child()
	if err != nil {
		t.Skipf("%s: %v", f.title, err)
	}
	c.authenticate(t, l)
}

const jeromqJar = "/usr/share/java/jeromq.jar"

// jeromq is Debian's libjeromq-java, a Java implementation of libzmq 3's protocol.
var jeromq = foreign{
	shared: new(shared),
	title:  "jeromq",
	without: func(what string) string {
		switch what {
		case "routing_id", "reconnect_ivl", "sndhwm", "rcvhwm", "xpub_verbose":
			return ""
		case "ipc":
			return "its ipc is tcp on a port made of the path"
		case longIDs:
			return "its thread dies of " + longIDs
		case upstream:
			return "its XSUB sends only subscriptions"
		case answers:
			return "ZMTP 2.0 has no heartbeats"
		}
		if _, isOption := optionNumbers[what]; isOption {
			return "version 0.3 has no such option: " + what
		}
		return ""
	},
	prepare: func() ([]string, error) {
		if _, err := os.Stat(jeromqJar); err != nil {
			return nil, errors.New("there is no JeroMQ here (Debian's package libjeromq-java)")
		}
		source, err := filepath.Abs("Peer.java")
		if err != nil {
			return nil, err
		}
		modules, err := exec.Command("java", "--list-modules").Output()
		if err != nil || !strings.Contains(string(modules), "jdk.compiler") {
			return nil, errors.New("there is no Java here that runs sources (Debian's package default-jdk-headless)")
		}
		return []string{"java", "-Xshare:auto", "-cp", jeromqJar, source}, nil
	},
}
