package scale

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// A crowd is a process of peers: this test's program again, told by its environment what they are. It obeys lines:
//
//	come N       N more of them connect, and say a word          → ok
//	insist N     the same; whoever is turned away tries again    → ok
//	receive N    each has received N messages more               → ok
//
// and ends with its standard input.
type crowd struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// crowdRole in the environment is "TYPE ENDPOINT".
const crowdRole = "VTX_SCALE_CROWD"

// dialers is how many of a crowd connect at a time.
const dialers = 64

func startCrowd(t testing.TB, typ, endpoint string) *crowd {
	t.Helper()
	c := &crowd{t: t, cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), crowdRole+"="+typ+" "+endpoint)
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		c.in, err = c.cmd.StdinPipe()
	}
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	t.Cleanup(c.leave)
	return c
}

// tell gives an order and waits until it is carried out.
func (c *crowd) tell(order string) {
	c.t.Helper()
	c.order(order)
	c.done()
}

func (c *crowd) order(order string) { fmt.Fprintln(c.in, order) }

func (c *crowd) done() {
	c.t.Helper()
	if answer, err := c.out.ReadString('\n'); err != nil || answer != "ok\n" {
		c.t.Fatalf("the crowd answers %q: %v", answer, err)
	}
}

// leave ends the crowd, all at once.
func (c *crowd) leave() {
	c.in.Close()
	c.cmd.Wait()
}

func crowdMain(role string) error {
	typ, endpoint, _ := strings.Cut(role, " ")
	var all members
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		order, n := "", 0
		_, err := fmt.Sscan(orders.Text(), &order, &n)
		if err != nil {
			return err
		}
		switch order {
		case "come", "insist":
			err = all.add(n, typ, endpoint, order == "insist")
		case "receive":
			err = all.receive(n)
		default:
			err = fmt.Errorf("no such order: %s", order)
		}
		if err != nil {
			return err
		}
		fmt.Println("ok")
	}
	return nil
}

// members are the peers of a crowd.
type members struct {
	mu    sync.Mutex
	peers []*peer
}

// add has n more peers connect, and say a word: the one that a subscriber subscribes to everything with.
func (m *members) add(n int, typ, endpoint string, insist bool) error {
	todo := make(chan string, n)
	for i := range n {
		todo <- fmt.Sprint(typ, "-", len(m.peers)+i)
	}
	close(todo)
	return together(dialers, func(int) error {
		for id := range todo {
			p, err := dial(endpoint, typ, id)
			for err != nil && insist {
				p, err = dial(endpoint, typ, id)
			}
			if err == nil {
				err = p.send("\x01")
			}
			if err != nil {
				return err
			}
			m.mu.Lock()
			m.peers = append(m.peers, p)
			m.mu.Unlock()
		}
		return nil
	})
}

// receive has every peer receive n messages.
func (m *members) receive(n int) error {
	return together(len(m.peers), func(i int) error {
		for range n {
			if _, err := m.peers[i].recv(); err != nil {
				return err
			}
		}
		return nil
	})
}

// together runs n of f at the same time and gives one of their errors.
func together(n int, f func(i int) error) error {
	failed := make(chan error, n)
	for i := range n {
		go func() { failed <- f(i) }()
	}
	var err error
	for range n {
		err = cmp.Or(err, <-failed)
	}
	return err
}
