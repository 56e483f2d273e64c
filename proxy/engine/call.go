package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/canon"
	"github.com/palisade-security/palisade/proxy/field"
)

// Handler serves requests, whichever version of HTTP brought them. The engine is one.
type Handler interface {
	// Serve answers c and reports whether the answer is whole. If it is not, the connection, or the stream in
	// HTTP/2, must be cut, so that a client never takes a cut answer for a whole one. Ctx ends when the client is
	// gone. Nothing of c may be used after Serve has returned, but for its strings.
	Serve(ctx context.Context, c *Call) (whole bool)
}

// HandlerFunc is a function that is a Handler.
type HandlerFunc func(ctx context.Context, c *Call) bool

// Serve calls f.
func (f HandlerFunc) Serve(ctx context.Context, c *Call) bool { return f(ctx, c) }

// Conn is what the requests of one connection have in common, worked out once.
type Conn struct {
	Listener string          // name of the listener that accepted it
	Peer     netip.Addr      // the address that connected, without zone, IPv4 as such
	TLS      proxy.TLS       // zero: in the clear
	Workload *proxy.Workload // the service that connected, proven; nil: none
	Client   *Client         // counts for all connections of the address; nil: nobody counts

	text string // Peer as recorded
}

// NewConn describes a connection from remote, an address and a port; what cannot be parsed is the zero address.
// State is what the handshake settled, nil if there was none.
func NewConn(listener, remote string, state *tls.ConnectionState) *Conn {
	c := &Conn{Listener: listener}
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		c.Peer = ap.Addr().Unmap().WithZone("")
	}
	c.text = c.Peer.String()
	if state != nil {
		c.TLS = handshake(state)
	}
	return c
}

// Secure reports whether the connection is encrypted.
func (c *Conn) Secure() bool { return c.TLS.Version != "" }

// Call is one request as a front read it, and the way to answer it.
type Call struct {
	Conn   *Conn
	Method string
	Target string // as on the wire (RFC 9112, section 3.2), or :path
	Host   string // the Host field or what the target names instead, or :authority
	Proto  string // "HTTP/1.0", "HTTP/1.1" or "HTTP/2.0"

	// Header is what the client sent, without Host. Names are as they were sent, or canonical. It must not be changed.
	Header field.List

	Length int64     // bytes of Body; -1 unknown, 0 none
	Body   io.Reader // nil only if there is none; may have a method AtHand, see upstream.Request

	// Refused tells why the bytes of the request cannot be read in one way only. Then nothing else of the
	// request is known, but that Method is HEAD if the answer must have no content.
	Refused *canon.Refusal

	Answer Answer
	Line   Line
}

// Answer takes the answer to a call: Begin, then Write and Flush as often as needed, then perhaps Trailer. One
// goroutine at a time may use it.
type Answer interface {
	// Begin takes the head. Length is what Write will get, -1 if that is unknown. Date, Content-Length and the
	// framing are the front's to write; a Content-Length in h counts only where the answer has no content. A
	// Connection field with the value "close" ends the connection after the answer.
	Begin(status int, h field.List, length int64)

	// Write takes the next bytes of the content. Where the answer has none (RFC 9110, section 6.4.1) they go
	// nowhere. It may hold bytes back until Flush or the end.
	Write(p []byte) (int, error)

	Flush() error

	// Trailer takes the fields that follow the content, where the framing has room for them.
	Trailer(h field.List)
}

// Line is what a call came over: the connection, or the stream in HTTP/2.
type Line interface {
	// ReadBy makes reads of the body fail after t, one that waits too. After a time in the past, the body of this
	// call cannot be read any more. It may be called at any time.
	ReadBy(t time.Time)

	// WriteWithin gives the client the time d, or an eighth less, from now to take what is written next.
	WriteWithin(d time.Duration)

	// Switch answers 101 with the fields h and hands over the connection, which carries no deadlines. The caller
	// closes it. ErrEarly: nothing was sent, and the call can still be answered otherwise.
	Switch(h field.List) (net.Conn, error)
}

// ErrEarly is returned when the client did not wait for a switch of protocols: what it sent would be read as one
// protocol here and as another behind.
var ErrEarly = errors.New("the client sent more before the protocol was switched")
