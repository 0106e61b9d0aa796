// Package vtx is the engine: it joins libzmq sockets of the application to peers over transports that
// libzmq does not have. Manager is the way in; driver.go is the contract with the transports.
package vtx

import "unsafe"

// Manager joins the sockets of one libzmq context to VTX endpoints.
type Manager struct{}

// NewManager makes a manager for the libzmq context ctx.
func NewManager(ctx unsafe.Pointer) (*Manager, error) { return nil, ErrNotSupported }

// Destroy closes every socket the manager knows of and made, within LINGER.
func (m *Manager) Destroy() error { return ErrNotSupported }

// Socket makes a libzmq socket of the manager's context.
func (m *Manager) Socket(t SocketType) (unsafe.Pointer, error) { return nil, ErrNotSupported }

// Bind, Unbind, Connect and Disconnect work on any socket of the context.
func (m *Manager) Bind(socket unsafe.Pointer, endpoint string) error       { return ErrNotSupported }
func (m *Manager) Unbind(socket unsafe.Pointer, endpoint string) error     { return ErrNotSupported }
func (m *Manager) Connect(socket unsafe.Pointer, endpoint string) error    { return ErrNotSupported }
func (m *Manager) Disconnect(socket unsafe.Pointer, endpoint string) error { return ErrNotSupported }

// Close closes a socket, whoever made it, after flushing within its LINGER.
func (m *Manager) Close(socket unsafe.Pointer) error { return ErrNotSupported }

// Register makes the built-in driver answer to scheme.
func (m *Manager) Register(scheme, driver string) error { return ErrNotSupported }

// SetOption sets a VTX option for one socket, or with a nil socket for the manager.
func (m *Manager) SetOption(socket unsafe.Pointer, name, value string) error { return ErrNotSupported }

// Meta answers vtx_getmeta.
func (m *Manager) Meta(socket unsafe.Pointer, name string) (string, error) {
	return "", ErrNotSupported
}

// Monitor sends the socket's events to a PAIR bound at an inproc endpoint; events 0 stops it.
func (m *Manager) Monitor(socket unsafe.Pointer, endpoint string, events int) error {
	return ErrNotSupported
}

// CloseContext flushes and ends every manager's sockets on a libzmq context that is about to be
// terminated, each within its LINGER; the managers remain, and can only be destroyed.
func CloseContext(ctx unsafe.Pointer) {}

// CloseAll does the same for every context, at process exit.
func CloseAll() {}
