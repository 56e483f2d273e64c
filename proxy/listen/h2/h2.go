// Package h2 is the front for HTTP/2 (RFC 9113) between services. It reads frames and fields with golang.org/x/net/http2,
// hands requests to the engine and writes what the streams of a connection answer at once. Package listen uses it where
// clients have proven who they are, or are the sidecar's own service; strangers at the edge meet net/http's server.
package h2

import (
	"context"
	"net"
	"time"

	"github.com/palisade-security/palisade/internal/drain"
	"github.com/palisade-security/palisade/internal/httpdate"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/h2io"
)

// Options describe what the connections of one listener have in common.
type Options struct {
	Handler     engine.Handler
	HeaderBytes int           // of a request's field section
	Header      time.Duration // for the preface, and for a frame that has begun
	Idle        time.Duration // without a request; half a minute longer at most
}

// The bounds of a connection.
const (
	mostStreams  = 128       // that are served at once
	mostIdle     = 64        // goroutines that wait for another stream: a new one has to grow its stack first
	streamWindow = 256 << 10 // of a request's content that nobody has read
	connWindow   = 2 << 20   // and of all requests of a connection: room for as many small ones as sidecars send over one

	pingAfter = 30 * time.Second // of silence
	pingWait  = 10 * time.Second
	farewell  = time.Second // for a client to read why its connection ends
)

// Server serves connections.
type Server struct {
	o    Options
	date httpdate.Cache
	open drain.Set[*conn]
}

// New returns a server. Drain ends it.
func New(o Options) *Server { return &Server{o: o} }

// Take serves nc, which is its own from now on, until either side ends it. The values of ctx are those of its
// requests; the end of ctx is not looked at.
func (s *Server) Take(ctx context.Context, nc net.Conn, facts *engine.Conn) {
	c := &conn{server: s, nc: nc, facts: facts, ctx: context.WithoutCancel(ctx), streams: make(map[uint32]*stream), work: make(chan *stream)}
	c.in = h2io.NewInput(h2io.InputOptions{
		Conn: nc, Fields: s.o.HeaderBytes, Rest: min(pingAfter, s.o.Idle), Frame: s.o.Header, Silent: c.silent, SetBy: c.readBy, Empty: c.begun,
	})
	c.out.Init(h2io.OutputOptions{Conn: nc, Lock: &c.mu, Beside: c.served.Go, Room: c.wakeAll, Company: c.company, Failed: c.broke})
	c.out.Patience = s.o.Header
	c.window, c.peerWindow, c.toRead = h2io.InitialWindow, h2io.InitialWindow, connWindow
	if s.open.Add(c) {
		c.leave()
	}
	go c.serve()
}

// Drain tells clients to send no more requests, waits for those in flight until ctx ends, and then cuts them.
func (s *Server) Drain(ctx context.Context) { s.open.Drain(ctx, (*conn).leave, (*conn).cut) }
