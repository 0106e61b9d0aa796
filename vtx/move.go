package vtx

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// How bytes are moved to and from a descriptor: at once, and without a signal.

// maxMove bounds one call, in bytes: it is not interrupted.
const maxMove = 1 << 20

// writeNow writes what the socket takes at once of p and then q, up to maxMove; full: no less than that. It does not
// tell the Go scheduler that it is in a system call: it does not wait there. No SIGPIPE: it would end the application.
func writeNow(fd int, p, q []byte) (n int, full bool, err error) {
	return moveNow(unix.SYS_SENDMSG, fd, p, q, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// readNow reads what is there into p and then q, as writeNow writes.
func readNow(fd int, p, q []byte) (n int, full bool, err error) {
	return moveNow(unix.SYS_RECVMSG, fd, p, q, unix.MSG_DONTWAIT)
}

func moveNow(call uintptr, fd int, p, q []byte, flags uintptr) (n int, full bool, err error) {
	p = p[:min(len(p), maxMove)]
	q = q[:min(len(q), maxMove-len(p))]
	var pieces [2]unix.Iovec
	count := 0
	for _, b := range [2][]byte{p, q} {
		if len(b) > 0 {
			pieces[count].Base = unsafe.SliceData(b)
			pieces[count].SetLen(len(b))
			count++
		}
	}
	msg := unix.Msghdr{Iov: &pieces[0]}
	msg.SetIovlen(count)
	for {
		moved, _, e := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&msg)), flags)
		switch e {
		case 0:
			return int(moved), int(moved) == len(p)+len(q), nil
		case unix.EINTR:
		default:
			return 0, false, e
		}
	}
}
