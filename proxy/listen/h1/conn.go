package h1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/field"
)

const (
	ownSize  = 1 << 10 // room for reading that a connection always has; most heads fit
	readSize = 4 << 10 // and what it borrows for longer ones
)

// state is what a drain asks of a connection.
type state = int32

const (
	fresh state = iota // no byte of a request yet
	busy               // a request has begun
	idle               // between two requests
	gone               // ended by a drain
)

// conn is one connection. A goroutine of its own reads and serves its requests one after the other; others touch
// only what is said to be safe.
type conn struct {
	server *Server
	nc     net.Conn
	facts  *engine.Conn
	ctx    context.Context //nolint:containedctx // the connection's scope, which its requests share
	cancel context.CancelFunc
	state  atomic.Int32

	own    [ownSize]byte
	lent   *[]byte // what was borrowed for a long head
	buf    []byte  // own, or lent, or larger
	r, w   int     // what was read and not taken is buf[r:w]
	scan   scanner
	call   engine.Call
	body   body
	answer answer
	watch  watch
	line   line
}

func newConn(s *Server, nc net.Conn, facts *engine.Conn) *conn {
	c := &conn{server: s, nc: nc, facts: facts, scan: scanner{limit: s.o.HeaderBytes}}
	c.buf = c.own[:]
	c.body.c, c.answer.c, c.watch.c, c.line.c = c, c, c, c
	return c
}

// serve serves the connection to its end.
func (c *conn) serve() {
	defer c.close()
	defer func() {
		if p := recover(); p != nil { // the values may quote the request, the stack does not
			slog.ErrorContext(c.ctx, "serving a connection failed", "kind", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			c.cut()
		}
	}()
	c.line.readBy(time.Now().Add(c.server.o.Header), 0)
	for c.next() {
	}
}

// close ends a connection that is served no more.
func (c *conn) close() {
	c.watch.stop()
	c.cancel()
	_ = c.nc.Close() // nobody is left to be told
	c.giveBack()
	c.server.open.Remove(c)
}

// cut ends the connection without a word, so that nobody takes for whole what is not. It may be called at any time.
func (c *conn) cut() {
	c.cancel()
	under := c.nc
	if secure, ok := under.(interface{ NetConn() net.Conn }); ok {
		under = secure.NetConn() // a goodbye of TLS would say that all has been said
	} else if socket, ok := under.(interface{ SetLinger(sec int) error }); ok {
		_ = socket.SetLinger(0) // a proper end would be that of an answer without a length (RFC 9112, section 8); a reset is not
	}
	_ = under.Close()
}

// endIdle closes the connection if it is between two requests. It may be called at any time.
func (c *conn) endIdle() {
	if c.state.CompareAndSwap(idle, gone) {
		_ = c.nc.Close()
	}
}

// next serves one request and reports whether another may follow.
func (c *conn) next() bool {
	n, why, err := c.readHead()
	if err != nil {
		return false
	}
	c.answer.reset()
	c.line.reset()
	if why != nil {
		c.refused(why)
	} else {
		c.understood(n)
	}
	if c.call.Length == 0 && why == nil {
		c.watch.begin()
	}
	whole := c.server.o.Handler.Serve(c.ctx, &c.call)
	if c.answer.switched {
		return false
	}
	whole = whole && c.answer.end()
	c.watch.stop()
	if !whole {
		c.answer.free()
		c.cut()
		return false
	}
	return c.again(why != nil)
}

// again makes the connection ready for another request, or ends it so that the client can read the answer.
func (c *conn) again(refused bool) bool {
	closing := c.answer.close || c.watch.over || c.server.open.Draining()
	if !closing && !c.body.drain() {
		closing = true
	}
	if closing {
		if refused || c.r < c.w || c.body.rest.Load() != 0 {
			c.linger()
		}
		return false
	}
	clear(c.call.Header)
	c.call = engine.Call{Header: c.call.Header[:0]}
	if cap(c.call.Header) > mostSpans {
		c.call.Header = nil
	}
	if c.r == c.w {
		c.giveBack()
	}
	c.state.Store(idle)
	if c.server.open.Draining() {
		c.endIdle() // the drain may have looked before
	}
	return true
}

// readHead reads until a head is complete and returns its length in what was read, or why it is refused. An error
// means that there is none.
func (c *conn) readHead() (int, *canon.Refusal, error) {
	c.scan.reset()
	first := c.state.Load() == fresh
	begun := false
	for {
		if c.r < c.w {
			if !begun && !c.begin() {
				return 0, nil, net.ErrClosed
			}
			if n, why := c.scan.scan(c.buf[c.r:c.w]); n > 0 || why != nil {
				return n, why, nil
			}
			if !begun && !first {
				c.line.readBy(time.Now().Add(c.server.o.Header), 0)
			}
			begun = true
		} else if !first {
			c.line.readBy(time.Now().Add(c.server.o.Idle), c.server.o.Idle/8)
		}
		if err := c.fill(); err != nil {
			if tell := c.server.o.Unspoken; tell != nil && first && NoRequest(err, begun) {
				tell(c.ctx, c.nc.RemoteAddr())
			}
			return 0, nil, err
		}
	}
}

// NoRequest tells of the end of a connection whether its client, which has said something or not, meant no HTTP. Who leaves
// without a word, or is closed by us, says nothing about it.
func NoRequest(err error, begun bool) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || begun && errors.Is(err, io.EOF)
}

// begin notes that a request has begun. It returns false if a drain was faster.
func (c *conn) begin() bool {
	return c.state.CompareAndSwap(idle, busy) || c.state.CompareAndSwap(fresh, busy)
}

// fill reads more, into a larger buffer if need be.
func (c *conn) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.buf) {
		c.grow()
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil // an error beside bytes comes again without them
	}
	return err
}

// grow makes room behind what was read and not taken.
func (c *conn) grow() {
	rest := c.buf[c.r:c.w]
	if len(rest) == len(c.buf) {
		if c.lent == nil {
			c.lent, _ = c.server.reads.Get().(*[]byte)
			c.buf = *c.lent
		} else {
			c.buf = make([]byte, 2*len(c.buf)) // a head's limit bounds it
		}
	}
	c.r, c.w = 0, copy(c.buf, rest)
}

// giveBack returns to the connection's own room. Nothing may be left to be taken.
func (c *conn) giveBack() {
	if c.lent != nil {
		c.server.reads.Put(c.lent)
		c.lent = nil
	}
	c.buf, c.r, c.w = c.own[:], 0, 0
}

// understood makes a call of the head that was scanned, which is n bytes long.
func (c *conn) understood(n int) {
	h := &c.scan.head
	text := string(c.buf[c.r : c.r+n]) // the one copy: everything the call says lies in it
	c.r += n
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	k := &c.call
	k.Conn, k.Answer, k.Line, k.Refused = c.facts, &c.answer, &c.line, nil
	k.Method, k.Target, k.Host, k.Proto = h.method.of(text), h.target.of(text), h.authority, "HTTP/1.1"
	if h.old {
		k.Proto = "HTTP/1.0"
	}
	for _, l := range h.fields {
		f := field.Field{Name: text[l.from:l.colon], Value: trim(text[l.colon+1 : l.to])}
		if l.colon-l.from == len("Host") && strings.EqualFold(f.Name, "Host") {
			if h.authority == "" {
				k.Host = f.Value
			}
			continue
		}
		k.Header = append(k.Header, f)
	}
	k.Body, k.Length = &c.body, h.length
	if h.chunked {
		k.Length = -1
	}
	c.body.begin(h)
	if k.Length == 0 {
		k.Body = nil
	}
}

// trim cuts white space off both ends of a field value (RFC 9110, section 5.5).
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// refused makes a call of a request whose bytes can be read in two ways.
func (c *conn) refused(why *canon.Refusal) {
	c.body.begin(&head{})
	c.call = engine.Call{Conn: c.facts, Refused: why, Method: "GET", Proto: "HTTP/1.1", Answer: &c.answer, Line: &c.line, Header: c.call.Header[:0]}
	if c.scan.head.bare {
		c.call.Method = "HEAD"
	}
	c.answer.close = true
}
