module github.com/libvtx/libvtx/test/interop

go 1.26.0

require (
	github.com/go-zeromq/goczmq/v4 v4.2.2
	github.com/go-zeromq/zmq4 v0.17.0
	github.com/libvtx/libvtx v0.0.0
	github.com/pebbe/zmq4 v1.4.0
)

require (
	github.com/emersion/go-sasl v0.0.0-20241020182733-b788ff22d5a6 // indirect
	github.com/xdg-go/scram v1.4.0 // indirect
	github.com/xdg-go/stringprep v1.0.4 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/libvtx/libvtx => ../..
