package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
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
	renewal  uint64    // of the certificate it was made with

	file   syscall.RawConn
	probe  func(fd uintptr) bool // built once, so that a check does not allocate
	silent bool                  // the probe's result
}

// dialer connects to one service.
type dialer struct {
	network, address string
	connect          func(ctx context.Context, network, address string) (net.Conn, error)
	tls              *tls.Config // nil: plain
	trust            *Trust
	sessions         atomic.Pointer[sessionConfig]
	timeout          time.Duration
	buffers          *sync.Pool
}

func newDialer(o Options, protocols ...string) *dialer {
	d := &dialer{network: "tcp", address: o.Address, connect: o.DialContext, trust: o.Trust, timeout: o.Dial, buffers: new(sync.Pool)}
	if path, ok := strings.CutPrefix(o.Address, "unix://"); ok {
		d.network, d.address = "unix", path
	}
	if d.connect == nil {
		system := new(net.Dialer)
		system.SetMultipathTCP(false) // MPTCP sockets pass sockmap and sk_lookup by
		d.connect = system.DialContext
	}
	if o.TLS == nil {
		return d
	}
	d.tls = o.TLS.Clone()
	d.tls.NextProtos = protocols
	if d.tls.VerifyConnection == nil {
		d.tls.ClientSessionCache = nil
	}
	if d.tls.ServerName == "" {
		if host, _, err := net.SplitHostPort(o.Address); err == nil {
			d.tls.ServerName = host
		}
	}
	return d
}

// dial connects and shakes hands. Errors wrap ErrDial, ErrTimeout or context.Canceled.
func (d *dialer) dial(ctx context.Context) (*conn, error) {
	bounded, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	raw, err := d.plain(ctx, bounded)
	if err != nil {
		return nil, err
	}
	c := &conn{line: line{Conn: raw}, address: raw.RemoteAddr().String(), renewal: d.trust.renewal()}
	c.Conn = &c.line
	if d.tls != nil {
		watched := d.trust.guard(raw)
		c.line.Conn = watched
		t, err := d.secure(ctx, bounded, &c.line, watched, c.renewal)
		if err != nil {
			return nil, err
		}
		c.Conn, c.secure = t, true
	}
	c.reader.src, c.reader.shared = c.Conn, d.buffers
	c.watch()
	return c, nil
}

// plain connects. Bounded is ctx with the time for it.
func (d *dialer) plain(ctx, bounded context.Context) (net.Conn, error) {
	raw, err := d.connect(bounded, d.network, d.address)
	if err != nil {
		return nil, dialError(ctx, "connecting to service", err)
	}
	return raw, nil
}

// secure shakes hands over c, which is bottom or lies on it.
func (d *dialer) secure(ctx, bounded context.Context, c, bottom net.Conn, renewal uint64) (*tls.Conn, error) {
	t := tls.Client(c, d.config(renewal))
	checks := d.trust.begun()
	err := t.HandshakeContext(bounded)
	if err == nil {
		err = d.trust.admit(bottom, t, d, checks)
	}
	if err != nil {
		_ = bottom.Close()
		return nil, dialError(ctx, "securing connection to service", err)
	}
	return t, nil
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
