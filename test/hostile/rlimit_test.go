package hostile

import "golang.org/x/sys/unix"

func prlimit(pid, resource int, value uint64) error {
	var l unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &l); err != nil {
		return err
	}
	l.Cur = value
	return unix.Prlimit(pid, resource, &l, nil)
}
