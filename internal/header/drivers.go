package main

import (
	"bytes"
	"fmt"
	"strings"

	_ "github.com/libvtx/libvtx/drivers/all"
	"github.com/libvtx/libvtx/vtx"
)

// The built-in drivers have names in C that come from their schemes: sasl+tls:// is vtx_sasl_tls_driver, and
// vtx_sasl_tls_load registers it. drivers/all is the one list of them.

func cName(scheme string) string { return strings.ReplaceAll(scheme, "+", "_") }

// driverNames declares the functions that stand for the drivers.
func driverNames() string {
	var text strings.Builder
	for _, scheme := range vtx.Schemes() {
		fmt.Fprintf(&text, "zthread_attached_fn vtx_%s_driver;\n", cName(scheme))
	}
	return text.String()
}

// driverLoaders defines what registers each driver under its own name.
func driverLoaders() string {
	var text strings.Builder
	for _, scheme := range vtx.Schemes() {
		fmt.Fprintf(&text, `static inline int
vtx_%[1]s_load (vtx_t *self, int verbose)
{
    return vtx_register_verbose (self, "%[2]s", vtx_%[1]s_driver, verbose);
}

`, cName(scheme), scheme)
	}
	return text.String()
}

// driverTable is the shim's list of drivers.
func driverTable() []byte {
	var text bytes.Buffer
	text.WriteString("//  Made by internal/header: do not edit.\n")
	for _, scheme := range vtx.Schemes() {
		fmt.Fprintf(&text, "BUILT_IN (vtx_%s_driver, \"%s\")\n", cName(scheme), scheme)
	}
	return text.Bytes()
}
