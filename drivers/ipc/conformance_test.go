package ipc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/libvtx/libvtx/drivers/ipc"
	"github.com/libvtx/libvtx/vtx"
	"github.com/libvtx/libvtx/vtx/drivertest"
)

func init() { vtx.RegisterStream(&ipc.Driver{}) }

var serial atomic.Int64

// Once with paths and once with abstract names.
func TestConformance(t *testing.T) {
	conform(t, func(t testing.TB) string {
		dir, err := os.MkdirTemp("", "ipc")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return "ipc://" + filepath.Join(dir, "s")
	})
}

func TestConformanceAbstract(t *testing.T) {
	conform(t, func(testing.TB) string {
		return fmt.Sprintf("ipc://@vtx-conformance-%d-%d", os.Getpid(), serial.Add(1))
	})
}

func conform(t *testing.T, bind func(testing.TB) string) {
	bad := func(connect bool, err error, endpoints ...string) (list []drivertest.BadEndpoint) {
		for _, e := range endpoints {
			list = append(list, drivertest.BadEndpoint{Endpoint: e, Connect: connect, Err: err})
		}
		return list
	}
	long := "ipc:///tmp/" + strings.Repeat("x", 103)
	list := bad(false, vtx.ErrInvalid, "ipc://", "ipc://@", "ipc:/tmp/x", "ipc://@x?nonesuch=1", "ipc://@x?filter_uid=root", "", "ipc:///tmp/x\x01")
	list = append(list, bad(false, syscall.ENAMETOOLONG, long)...)
	list = append(list, bad(false, syscall.ENOENT, "ipc:///nonesuch/directory/s")...)
	list = append(list, bad(false, syscall.EADDRINUSE, "ipc:///dev/null")...)
	list = append(list, bad(true, vtx.ErrInvalid, "ipc://", "ipc://@", "ipc://*", "ipc:/tmp/x", "ipc://@x?colour=red")...)
	list = append(list, bad(true, syscall.ENAMETOOLONG, long)...)
	list = append(list, bad(true, vtx.ErrNotSupported, "ipc://@x?ipc.filter_pid=1")...)
	drivertest.Run(t, drivertest.Fixture{
		Bind:       bind,
		Reliable:   true,
		Types:      true,
		RoutingIDs: true,
		Bad:        list,
	})
}
