package vtx

// RegisterDriver makes a driver known to every manager of the process, from an init function or main.
// It panics if the driver is incomplete or its scheme is taken: that is a mistake in the program.
func RegisterDriver(d Driver) {}
