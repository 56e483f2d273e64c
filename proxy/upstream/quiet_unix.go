//go:build unix

package upstream

import "syscall"

// watch prepares quiet.
func (c *conn) watch() {
	s, ok := c.line.Conn.(syscall.Conn)
	if !ok {
		return
	}
	file, err := s.SyscallConn()
	if err != nil {
		return
	}
	c.file = file
	c.probe = func(fd uintptr) bool {
		var one [1]byte
		_, err := syscall.Read(int(fd), one[:])
		c.silent = err == syscall.EAGAIN
		return true
	}
}

// quiet reports whether the socket is open with nothing to read, without waiting. A byte that it does read is
// lost, which does no harm: the connection is then given up.
func (c *conn) quiet() bool {
	if c.file == nil {
		return false
	}
	c.silent = false
	return c.file.Read(c.probe) == nil && c.silent
}
