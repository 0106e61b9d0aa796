// Package interop holds nothing but tests: sockets joined by VTX talk to peers that nobody here wrote, over tcp and
// ipc as those libraries speak it, and go on talking to them while others attack. It is a module of its own, so
// that who uses VTX does not get the peers' dependencies.
package interop
