package vtx

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
)

// drivers holds the drivers of the process by scheme.
var drivers struct {
	sync.RWMutex
	byScheme map[string]Driver
}

// RegisterDriver makes a driver known to every manager of the process, from an init function or main.
// It panics if the driver is incomplete or its scheme is taken: that is a mistake in the program.
func RegisterDriver(d Driver) {
	drivers.Lock()
	defer drivers.Unlock()
	scheme := d.Scheme()
	if !validScheme(scheme) {
		panic(fmt.Sprintf("vtx: driver %T: scheme %q is not a scheme", d, scheme))
	}
	if _, taken := drivers.byScheme[scheme]; taken {
		panic(fmt.Sprintf("vtx: driver %T: scheme %q is registered already", d, scheme))
	}
	for _, o := range d.Traits().Options {
		prefix, short, _ := strings.Cut(o.Name, ".")
		if o.Check == nil || short == "" || !slices.Contains(strings.Split(scheme, "+"), prefix) {
			panic(fmt.Sprintf("vtx: driver %T: option %q is incomplete", d, o.Name))
		}
	}
	if drivers.byScheme == nil {
		drivers.byScheme = make(map[string]Driver)
	}
	drivers.byScheme[scheme] = d
}

func driverFor(scheme string) Driver {
	drivers.RLock()
	defer drivers.RUnlock()
	return drivers.byScheme[scheme]
}

// Schemes lists the registered schemes, sorted.
func Schemes() []string {
	drivers.RLock()
	defer drivers.RUnlock()
	var list []string
	for s := range drivers.byScheme {
		list = append(list, s)
	}
	sort.Strings(list)
	return list
}

// traitsAt gives the traits that hold for a listener or dialer of d's.
func traitsAt(d Driver, endpoint any) Traits {
	if v, ok := endpoint.(Variable); ok {
		return v.Traits()
	}
	return d.Traits()
}

// OptionNames lists the VTX options that there are, the engine's and the drivers', by full name.
func OptionNames() []string {
	var list []string
	for _, o := range engineOptions {
		list = append(list, o.Name)
	}
	drivers.RLock()
	defer drivers.RUnlock()
	for _, d := range drivers.byScheme {
		for _, o := range d.Traits().Options {
			list = append(list, o.Name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// optionSpec finds the declaration of a VTX option by its full name.
func optionSpec(name string) (OptionSpec, bool) {
	for _, o := range engineOptions {
		if o.Name == name {
			return o, true
		}
	}
	drivers.RLock()
	defer drivers.RUnlock()
	for _, d := range drivers.byScheme {
		for _, o := range d.Traits().Options {
			if o.Name == name {
				return o, true
			}
		}
	}
	return OptionSpec{}, false
}
