package lab

// Program starts any server that stays in the foreground, and waits until it
// accepts connections on the port.
func (h *Host) Program(port int, name string, args ...string) *Service {
	h.lab.t.Helper()
	Require(h.lab.t, name)
	return h.start(port, name, args...)
}

// File writes a file for a server of the host and returns its path. The folder
// is the host's own, and gone when the test ends.
func (h *Host) File(name, content string) string {
	h.lab.t.Helper()
	return h.file(name, content)
}
