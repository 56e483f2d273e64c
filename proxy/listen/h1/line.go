package h1

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/field"
)

const (
	lingerBytes = 256 << 10              // read at most from a client that may still be sending, so that it sees the answer
	lingerTime  = 500 * time.Millisecond // and at most so long
)

// line holds the deadlines of a connection. They are set on the socket only when they move far enough, since each
// setting costs a timer. All of it but Switch may be called at any time.
type line struct {
	c *conn

	mu          sync.Mutex
	read, write time.Time // in force
	barred      bool      // the body of this call cannot be read any more
}

// reset begins another call.
func (l *line) reset() {
	l.mu.Lock()
	l.barred = false
	l.mu.Unlock()
}

// ReadBy implements engine.Line.
func (l *line) ReadBy(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.barred {
		l.barred = !t.After(time.Now())
		l.setRead(t)
	}
}

// readBy sets the read deadline, unless the one in force is earlier by slack at most.
func (l *line) readBy(t time.Time, slack time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slack > 0 && !l.read.After(t) && t.Sub(l.read) <= slack {
		return
	}
	l.setRead(t)
}

// setRead fails only on a closed connection, which the next read finds out.
func (l *line) setRead(t time.Time) {
	l.read = t
	_ = l.c.nc.SetReadDeadline(t)
}

// WriteWithin implements engine.Line.
func (l *line) WriteWithin(d time.Duration) {
	t := time.Now().Add(d)
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.Sub(l.write) > d/8 || l.write.After(t) {
		l.write = t
		_ = l.c.nc.SetWriteDeadline(t) // see setRead
	}
}

// Switch implements engine.Line.
func (l *line) Switch(h field.List) (net.Conn, error) {
	c := l.c
	c.watch.stop()
	if err := c.waits(); err != nil {
		return nil, err
	}
	if err := c.answer.switching(h); err != nil {
		return nil, err
	}
	if err := c.nc.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	c.answer.switched = true
	c.server.open.Remove(c)
	return c.nc, nil
}

// waits returns ErrEarly if the client has sent more than the request, as far as that has arrived.
func (c *conn) waits() error {
	if c.r < c.w || c.body.rest.Load() != 0 {
		return engine.ErrEarly
	}
	c.r, c.w = 0, 0
	c.line.readBy(past(), 0)
	n, err := c.nc.Read(c.buf) // what TLS has read and not given out
	c.w = n
	switch {
	case n > 0:
		return engine.ErrEarly
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	}
	return nil
}

// past is a deadline that has passed.
func past() time.Time { return time.Unix(1, 0) }

// linger says that no more follows, and reads on for a moment: a reset would take the answer away from a client that
// is still sending.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	end := time.Now().Add(lingerTime)
	c.line.readBy(end, 0)
	if n, _ := io.CopyN(io.Discard, c.nc, lingerBytes); n < lingerBytes { // how it ends does not matter
		return
	}
	wait := time.NewTimer(time.Until(end)) // it sends more than anybody reads: until it has looked at the answer
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-c.ctx.Done():
	}
}

// switching writes the head that lets the connection change its protocol.
func (a *answer) switching(h field.List) error {
	a.borrow()
	defer a.free()
	b := appendStatus(*a.out, false, http.StatusSwitchingProtocols)
	for _, f := range h {
		b = appendField(b, f.Name, f.Value)
	}
	*a.out = append(b, "\r\n"...)
	return a.Flush()
}
