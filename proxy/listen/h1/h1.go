// Package h1 is the front for HTTP/1.0 and HTTP/1.1 (RFC 9112): it reads requests from connections, hands them
// to the engine and writes the answers. It takes only what every server reads alike, and refuses the rest in the
// place where all refusals are made. It knows no routes, no TLS handshakes and no HTTP/2, and decides nothing
// about requests that can be read in one way only.
package h1

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/palisade-security/palisade/internal/drain"
	"github.com/palisade-security/palisade/internal/httpdate"
	"github.com/palisade-security/palisade/proxy/engine"
)

// Options describe what the connections of one listener have in common.
type Options struct {
	Handler     engine.Handler
	HeaderBytes int           // of a head, request line included
	Header      time.Duration // until a connection's first head is complete, or a later one that has begun
	Idle        time.Duration // between requests; a connection may be closed an eighth earlier

	// Unspoken is told of a connection that ends without one request: it said nothing in time, or no complete head. It must not
	// block. Nil: nobody is told.
	Unspoken func(ctx context.Context, remote net.Addr)
}

// Server serves connections.
type Server struct {
	o     Options
	outs  sync.Pool // of *[]byte of outSize: what is to be written
	reads sync.Pool // of *[]byte of readSize: heads that are too long for a connection's own room
	date  httpdate.Cache
	open  drain.Set[*conn] // but those that switched protocols
}

// New returns a server. Drain ends it.
func New(o Options) *Server {
	s := &Server{o: o}
	s.outs.New = func() any { b := make([]byte, 0, outSize); return &b }
	s.reads.New = func() any { b := make([]byte, readSize); return &b }
	return s
}

// Take serves c, which is its own from now on, until either side ends it. The values of ctx are those of its
// requests; the end of ctx is not looked at.
func (s *Server) Take(ctx context.Context, c net.Conn, facts *engine.Conn) {
	k := newConn(s, c, facts)
	k.ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.open.Add(k)
	go k.serve()
}

// Drain ends connections between two requests at once and all others with their next answer, waits for that
// until ctx ends, and then cuts them. No connection may be taken any more.
func (s *Server) Drain(ctx context.Context) { s.open.Drain(ctx, (*conn).endIdle, (*conn).cut) }
