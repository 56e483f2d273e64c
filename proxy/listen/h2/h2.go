// Package h2 is the front for HTTP/2 (RFC 9113) between services. It reads frames and fields with golang.org/x/net/http2,
// hands requests to the engine and writes what the streams of a connection answer at once. Package listen uses it where
// clients have proven who they are, or are the sidecar's own service; strangers at the edge meet net/http's server.
package h2

import (
	"context"
	"net"
	"sync"
	"time"

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

	mu       sync.Mutex
	draining bool
	open     map[*conn]struct{}
	none     chan struct{} // nil until someone waits; closed once no connection is open
}

// New returns a server. Drain ends it.
func New(o Options) *Server { return &Server{o: o, open: make(map[*conn]struct{})} }

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
	s.mu.Lock()
	s.open[c] = struct{}{}
	draining := s.draining
	s.mu.Unlock()
	if draining {
		c.leave()
	}
	go c.serve()
}

// forget leaves c to itself.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if len(s.open) == 0 && s.none != nil {
		close(s.none)
		s.none = nil
	}
}

// Drain tells clients to send no more requests, waits for those in flight until ctx ends, and then cuts them.
func (s *Server) Drain(ctx context.Context) {
	none := make(chan struct{})
	s.mu.Lock()
	s.draining = true
	if len(s.open) == 0 {
		close(none)
	} else {
		s.none = none
	}
	s.mu.Unlock()
	s.each((*conn).leave)
	select {
	case <-none:
	case <-ctx.Done():
		s.each((*conn).cut)
		<-none
	}
}

func (s *Server) each(f func(*conn)) {
	s.mu.Lock()
	all := make([]*conn, 0, len(s.open))
	for c := range s.open {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}
