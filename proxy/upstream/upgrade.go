package upstream

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// Upgrade sends r, which must have no body, and asks to switch to the protocol that its Upgrade field names
// (RFC 9110, section 7.8). After 101 it returns the answer, whose Header keeps Upgrade, and the connection, to
// be closed by the caller: it carries no deadlines, ends with ctx, and counts neither as idle nor as in use. With
// any other answer the connection is nil, and the answer is a plain one whose Body must be closed.
func (p *Pool) Upgrade(ctx context.Context, r *Request) (*Response, io.ReadWriteCloser, error) {
	protocol := r.Header.Get("Upgrade")
	if r.hasBody() || !isUpgrade(protocol) {
		return nil, nil, unsendable("upgrade")
	}
	w, err := newWire(&p.wires, r, protocol)
	if err != nil {
		return nil, nil, err
	}
	defer w.free(&p.wires)
	x, _, err := p.begin(ctx, r, true)
	if err != nil {
		return nil, nil, err
	}
	x.response.Attempts = 1
	if err = x.conn.line.watch(); err == nil {
		_, err = x.conn.Write(w.bytes)
	}
	if err == nil {
		err = x.await(protocol)
	}
	if err == nil && x.response.Status == 101 {
		err = x.conn.SetDeadline(time.Time{})
	}
	if err != nil {
		x.finish(false)
		return nil, nil, x.fault(err)
	}
	if x.response.Status != 101 {
		return &x.response, nil, nil
	}
	t := &tunnel{conn: x.conn, pool: p, stop: x.conn.line.stop}
	p.tunnels.Add(1)
	t.conn.reader.pause = 0
	x.response.Body = io.NopCloser(noBody{})
	x.conn = nil
	p.leave()
	return &x.response, t, nil
}

// isUpgrade reports whether s is one protocol: a name, with or without version.
func isUpgrade(s string) bool {
	for i := range len(s) {
		if !isTokenOctet(s[i]) && (s[i] != '/' || i == 0) {
			return false
		}
	}
	return s != ""
}

type noBody struct{}

func (noBody) Read([]byte) (int, error) { return 0, io.EOF }

// tunnel is a connection that speaks another protocol now. Read and Write may run at the same time.
type tunnel struct {
	conn   *conn
	pool   *Pool
	stop   func() bool
	closed atomic.Bool
}

func (t *tunnel) Read(p []byte) (int, error) {
	if t.conn.reader.buffered() > 0 {
		return t.conn.reader.copyOut(p)
	}
	return t.conn.Read(p)
}

func (t *tunnel) Write(p []byte) (int, error) { return t.conn.Write(p) }

// SetDeadline sets the deadline of reads and writes to come.
func (t *tunnel) SetDeadline(at time.Time) error { return t.conn.SetDeadline(at) }

// CloseWrite tells the service that nothing more will come.
func (t *tunnel) CloseWrite() error {
	c := t.conn.line.Conn
	if t.conn.secure {
		c = t.conn.Conn
	}
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (t *tunnel) Close() error {
	if !t.closed.Swap(true) {
		t.pool.tunnels.Add(-1)
	}
	if t.stop != nil {
		t.stop()
	}
	return t.conn.Close()
}
