package ipc

import (
	"fmt"
	"net"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libvtx/libvtx/drivers/internal/sockets"
	"github.com/libvtx/libvtx/vtx"
)

// The options that stand for ZMQ_IPC_FILTER_UID, _GID and _PID, which libzmq does not let anybody read back.
const (
	optUID = "ipc.filter_uid"
	optGID = "ipc.filter_gid"
	optPID = "ipc.filter_pid"
)

var optionSpecs = []vtx.OptionSpec{{Name: optUID, Check: checkIDs}, {Name: optGID, Check: checkIDs}, {Name: optPID, Check: checkIDs}}

func checkIDs(value string) error {
	_, err := parseIDs(value)
	return err
}

func parseIDs(value string) ([]uint32, error) {
	var list []uint32
	for part := range strings.SplitSeq(value, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(part), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is not a comma-separated list of numbers", sockets.Shorten(value))
		}
		list = append(list, uint32(n))
	}
	return list, nil
}

// filter lists who may connect; all lists empty means everybody. As in libzmq a peer needs to be in one of them.
type filter struct{ uids, gids, pids []uint32 }

func newFilter(cfg *vtx.Config) (*filter, error) {
	f := new(filter)
	for name, list := range map[string]*[]uint32{optUID: &f.uids, optGID: &f.gids, optPID: &f.pids} {
		value, given := cfg.Options.Named[name]
		if !given {
			continue
		}
		var err error
		if *list, err = parseIDs(value); err != nil {
			return nil, fmt.Errorf("endpoint %s: option %s: %w: %w", cfg.Endpoint, name, err, vtx.ErrInvalid)
		}
	}
	return f, nil
}

// admit refuses a peer that is in no list. The kernel says who it is: the process that connected, whoever
// may have got the connection from it since.
func (f *filter) admit(c *net.UnixConn) error {
	if len(f.uids)+len(f.gids)+len(f.pids) == 0 {
		return nil
	}
	peer, err := credentials(c)
	if err != nil {
		return err
	}
	if f.admits(peer, groupsOf) {
		return nil
	}
	return fmt.Errorf("user %d, group %d, process %d is in none of the ipc.filter_… lists: %w",
		peer.Uid, peer.Gid, peer.Pid, syscall.EACCES)
}

func credentials(c *net.UnixConn) (peer *unix.Ucred, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	err = sockets.Control(raw, func(fd int) (err error) {
		peer, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		return err
	})
	return peer, err
}

// ZAPAddress is what a ZAP handler is told of where the peer is, as libzmq tells it.
func (c *conn) ZAPAddress() string {
	peer, err := credentials(c.UnixConn)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("localhost:%d:%d:%d", peer.Uid, peer.Gid, peer.Pid)
}

func (f *filter) admits(peer *unix.Ucred, groups func(uid uint32) []string) bool {
	if slices.Contains(f.uids, peer.Uid) || slices.Contains(f.gids, peer.Gid) || slices.Contains(f.pids, uint32(peer.Pid)) {
		return true
	}
	if len(f.gids) == 0 {
		return false
	}
	for _, g := range groups(peer.Uid) {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil && slices.Contains(f.gids, uint32(n)) {
			return true
		}
	}
	return false
}

// groupsOf are the groups that the system's list gives the user, which libzmq looks at too.
func groupsOf(uid uint32) []string {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return nil
	}
	groups, _ := u.GroupIds()
	return groups
}
