// Package upstream carries requests to services and their answers back: a lean pool of HTTP/1.1 connections,
// and connections of HTTP/2 that exchanges share, for gRPC above all. It speaks to declared services on
// behalf of the data path; it follows no redirects, keeps no cookies, knows no proxies, and so is not a general
// HTTP client.
package upstream

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"

	"github.com/palisade-security/palisade/proxy/field"
)

// Request is what is sent to a service. It must not be changed while Do runs.
type Request struct {
	Method string
	Target string // path and query, or "*"; sent byte for byte
	Host   string // value of the Host field

	// Header is sent in its order. Fields that belong to the connection are left out and written by the
	// transport where needed: Host, Content-Length, Transfer-Encoding, Expect, Connection, Keep-Alive,
	// Proxy-Connection, HTTP2-Settings, Upgrade; Trailer unless trailers follow; TE unless it says "trailers".
	Header field.List

	Body   io.Reader // nil: none
	Length int64     // bytes of Body; -1 unknown (sent chunked), 0 none

	// Trailer, if set, is called once Body has ended; its fields follow a chunked body. Fields that have no
	// place in a trailer (RFC 9110, section 6.5.1) are left out.
	Trailer func() field.List

	// ExpectContinue asks the service first (RFC 9110, section 10.1.1) and sends Body after its 100, after one
	// second, or not at all if a final answer comes before.
	ExpectContinue bool

	// Rewind makes the next Read of Body begin again. Nil, or a false result: impossible. A body that can be
	// rewound is held in memory, so that its Read never waits for anyone.
	Rewind func() bool

	// AtHand, if set, returns how many bytes Body still has if all of them can be read without waiting for anyone, -1 if
	// not. A small body that is at hand is sent over HTTP/2 together with the head.
	AtHand func() int

	// Interrupt makes a waiting Read of Body return soon. If it is set, Body is no longer in use once Do has
	// returned an error or the answer's Body is closed. Without it, a Read that waits then may still end later.
	Interrupt func()

	// Informational is called with each interim answer (1xx) but 100 and 101, before Do returns.
	Informational func(status int, h field.List)

	HeaderTimeout time.Duration // from the end of the request to the answer's head; 0: Options.Header
}

// Response is a service's final answer. Its Body must be closed.
type Response struct {
	Status int // 200 to 999, or 101 from Upgrade

	// Header is what the service sent, without the fields of the connection: Connection and what it names,
	// Keep-Alive, Proxy-Connection, Transfer-Encoding, TE, and Upgrade except with 101.
	Header field.List

	// Body is never nil. Read hands over bytes as they come. A body cut short ends with io.ErrUnexpectedEOF.
	// Read and Close belong to one goroutine at a time; cancelling Do's context ends both from outside.
	Body   io.ReadCloser
	Length int64 // bytes of Body; -1 unknown, 0 none (as after HEAD, whatever Content-Length says)

	Trailer  func() field.List // never nil; valid once Body has returned io.EOF
	Reused   bool              // the connection had carried a request before
	Attempts int               // 1 and upwards
	Address  string            // host:port, or path of the socket, that was reached
}

// Transport sends requests. It is safe for concurrent use. Do returns once the answer's head is there, while
// Body may still be on its way in either direction; ctx bounds the exchange until the answer's Body has ended
// or is closed. Errors wrap exactly one of the sentinels of this package, or context.Canceled.
type Transport interface {
	Do(ctx context.Context, r *Request) (*Response, error)
}

// Options describe one service and the bounds of talking to it. Zero values take the default named at each.
type Options struct {
	Address string // host:port, or unix:///path of a socket

	// DialContext makes plain connections; network is "tcp" with host:port, or "unix" with a path. TLS runs on top.
	// A connection that is no syscall.Conn is used once, as nobody could tell whether it is silent. Nil: the
	// operating system's.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// TLS is nil for plain connections. Its ALPN protocols are replaced. Sessions are resumed only if it has
	// VerifyConnection, the one check that runs again then (crypto/tls), and only with the certificate they
	// began with; a cache of sessions must not serve several identities.
	TLS   *tls.Config
	Trust *Trust // tells when connections over TLS must not be used any more; nil: never

	MaxIdle  int // connections kept over HTTP/1.1; 64
	MaxConns int // connections in use at once; 512

	Dial   time.Duration // connect and handshake, and the wait for a free connection; 2s
	Idle   time.Duration // how long an unused connection is kept; 60s
	Header time.Duration // from the end of the request to the answer's head; 30s
	Pause  time.Duration // longest time without a byte of a body in either direction; 30s, negative: no bound

	MaxHeaderBytes int // of an answer's head; 64 KiB
	Retries        int // of requests that are safe to repeat; 1, at most 3, negative: none
}

const (
	defaultMaxIdle   = 64
	defaultMaxConns  = 512
	defaultDial      = 2 * time.Second
	defaultIdle      = 60 * time.Second
	defaultHeader    = 30 * time.Second
	defaultPause     = 30 * time.Second
	defaultHeadBytes = 64 << 10
	defaultRetries   = 1
	mostRetries      = 3
)

// resolved returns o with defaults in place of zero values.
func (o Options) resolved() Options {
	o.MaxIdle = or(o.MaxIdle, defaultMaxIdle)
	o.MaxConns = or(o.MaxConns, defaultMaxConns)
	o.Dial = or(o.Dial, defaultDial)
	o.Idle = or(o.Idle, defaultIdle)
	o.Header = or(o.Header, defaultHeader)
	if o.Pause == 0 {
		o.Pause = defaultPause
	}
	o.MaxHeaderBytes = or(o.MaxHeaderBytes, defaultHeadBytes)
	if o.Retries == 0 {
		o.Retries = defaultRetries
	}
	o.Retries = min(max(o.Retries, 0), mostRetries)
	return o
}

func or[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}
