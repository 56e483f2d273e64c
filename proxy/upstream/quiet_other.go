//go:build !unix

package upstream

import "time"

func (c *conn) watch() {}

// quiet waits a moment for something to read: there is no way to look at the socket without waiting.
func (c *conn) quiet() bool {
	c.line.short = time.Time{}
	if c.line.Conn.SetReadDeadline(time.Now().Add(50*time.Microsecond)) != nil {
		return false
	}
	var one [1]byte
	n, err := c.line.Conn.Read(one[:])
	return n == 0 && isTimeout(err)
}
