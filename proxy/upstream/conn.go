package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// conn is a connection to the service. It belongs to the pool's idle list or to one exchange.
type conn struct {
	net.Conn // TLS over line, or line
	line     line
	secure   bool
	address  string
	reader   reader
	reused   bool
	since    time.Time // idle since

	file   syscall.RawConn
	probe  func(fd uintptr) bool // built once, so that a check does not allocate
	silent bool                  // the probe's result
}

// dialer connects to one service.
type dialer struct {
	address string
	tls     *tls.Config
	timeout time.Duration
	net     net.Dialer
	buffers *sync.Pool
}

func newDialer(o Options, protocols ...string) *dialer {
	d := &dialer{address: o.Address, timeout: o.Dial, buffers: new(sync.Pool)}
	d.net.SetMultipathTCP(false) // MPTCP sockets pass sockmap and sk_lookup by
	if o.TLS != nil {
		d.tls = o.TLS.Clone()
		d.tls.NextProtos = protocols
		if d.tls.ServerName == "" {
			if host, _, err := net.SplitHostPort(o.Address); err == nil {
				d.tls.ServerName = host
			}
		}
	}
	return d
}

// dial connects and shakes hands. Errors wrap ErrDial, ErrTimeout or context.Canceled.
func (d *dialer) dial(ctx context.Context) (*conn, error) {
	bounded, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	raw, err := d.net.DialContext(bounded, "tcp", d.address)
	if err != nil {
		return nil, dialError(ctx, "connecting to service", err)
	}
	c := &conn{line: line{Conn: raw}, address: raw.RemoteAddr().String()}
	c.Conn = &c.line
	if d.tls != nil {
		t := tls.Client(&c.line, d.tls)
		if err := t.HandshakeContext(bounded); err != nil {
			_ = raw.Close()
			return nil, dialError(ctx, "securing connection to service", err)
		}
		c.Conn, c.secure = t, true
	}
	c.reader.src, c.reader.shared = c.Conn, d.buffers
	c.watch()
	return c, nil
}

func dialError(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil || isTimeout(err) {
		return classify(ctx, doing, err)
	}
	return fmt.Errorf("%s: %w: %w", doing, ErrDial, err)
}

// usable reports whether an idle connection is open and silent. Anything that came unasked would be taken for
// the answer to the next request (response queue poisoning), so that such a connection is given up.
func (c *conn) usable() bool {
	if c.reader.buffered() > 0 {
		return false
	}
	if !c.quiet() {
		return false
	}
	if !c.secure {
		return true
	}
	// The TLS layer may hold a record that it read together with the last answer, and gives that up without a look
	// at the socket.
	c.line.deaf = true
	var one [1]byte
	n, err := c.Read(one[:])
	c.line.deaf = false
	return n == 0 && isTimeout(err)
}

// close ends an idle connection.
func (c *conn) close() {
	c.reader.release()
	_ = c.Close()
}
