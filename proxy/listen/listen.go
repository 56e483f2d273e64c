// Package listen holds the front's sockets: TLS and redirecting listeners with bounds on connections, slow
// clients and drains. HTTP/1.x is served by package h1, HTTP/2 by
// net/http at the edge and by package h2 between services. It decides nothing about requests.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/listen/h1"
	"github.com/palisade-security/palisade/proxy/listen/h2"
)

// Options describe one listener. Zero bounds are not allowed; the model fills them.
type Options struct {
	Name        string
	Address     string // host:port
	Handler     engine.Handler
	HTTP        http.Handler  // served by net/http in place of Handler, in the clear: for the admin listener, whose clients are friends
	TLS         *tls.Config   // nil: plain HTTP/1.x, for redirects and the admin listener
	Header      time.Duration // for the handshake, and for each request's head
	Idle        time.Duration
	Drain       time.Duration
	HeaderBytes int // of a head over HTTP/1.x, request line included; of a header over HTTP/2
	Connections int
	PerAddress  int
	Inherit     *Server // takes over this one's socket if it has the same address, so that no client is refused

	// Clear takes HTTP/2 with prior knowledge beside HTTP/1.x where there is no TLS: for services that ask their sidecar.
	Clear bool

	// Inside tells that whoever connects has proven to be a service of the fleet, or is the sidecar's own: HTTP/2 is
	// served by package h2, at a third of what net/http's server takes.
	Inside bool

	// Listener is an open socket to serve in place of Address.
	Listener net.Listener

	// Peer says which service has connected, once the handshake is over; state is nil without one. An error closes the
	// connection. Closing conn, the socket below TLS, cuts the peer off; ended is called when it has ended, if it
	// is not nil.
	Peer func(state *tls.ConnectionState, conn io.Closer) (w *proxy.Workload, ended func(), err error)

	// Refused is told of every connection that failed the handshake, that Peer refused or, with Clear, that ended without a request
	// (ErrNoRequest). It must not block. Nil: nobody is told.
	Refused func(ctx context.Context, remote net.Addr, err error)
}

// Server is one bound listener.
type Server struct {
	o      Options
	tcp    *net.TCPListener
	ln     *bounded      // tcp
	retire chan struct{} // closed when a successor accepts
	h1     *h1.Server
	h2     *h2.Server // Options.Inside; nil: side serves HTTP/2
	side   *side      // of HTTP/2, or of Options.HTTP; nil: neither
	known  sync.Map   // of net.Conn to *engine.Conn: connections on their way to side
}

// Bind opens the socket, so that a wrong address is known before anything is replaced.
func Bind(ctx context.Context, o Options) (*Server, error) {
	ln, err := socket(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("binding listener %q: %w", o.Name, err)
	}
	tcp, _ := ln.(*net.TCPListener)
	o.Inherit = nil
	s := &Server{o: o, tcp: tcp, retire: make(chan struct{}), ln: newBounded(ln, o.Connections, o.PerAddress)}
	h1o := h1.Options{Handler: o.Handler, HeaderBytes: o.HeaderBytes, Header: o.Header, Idle: o.Idle}
	if o.Clear {
		h1o.Unspoken = s.unspoken
	}
	s.h1 = h1.New(h1o)
	switch {
	case o.HTTP != nil:
		s.side = newSide(&o, ln.Addr(), o.HTTP, func(c net.Conn) *engine.Conn { return s.facts(c, nil) })
		s.side.http.Protocols.SetHTTP1(true)
	case o.Inside:
		s.h2 = h2.New(h2.Options{Handler: o.Handler, HeaderBytes: o.HeaderBytes, Header: o.Header, Idle: o.Idle})
	case o.TLS != nil:
		s.side = newSide(&o, ln.Addr(), engine.HTTP(o.Handler), s.factsOf)
		s.side.http.TLSConfig = o.TLS.Clone() // which the server changes
		s.side.http.Protocols.SetHTTP2(true)
	case o.Clear:
		s.side = newSide(&o, ln.Addr(), engine.HTTP(o.Handler), s.factsOf)
		s.side.http.Protocols.SetUnencryptedHTTP2(true)
	}
	return s, nil
}

// socket opens the address, or shares the socket that a predecessor has open.
func socket(ctx context.Context, o Options) (net.Listener, error) {
	if o.Listener != nil {
		return o.Listener, nil
	}
	if o.Inherit != nil && o.Inherit.tcp != nil && o.Inherit.o.Address == o.Address {
		f, err := o.Inherit.tcp.File()
		if err != nil {
			return nil, fmt.Errorf("taking over the socket: %w", err)
		}
		defer f.Close() // FileListener has its own copy
		return net.FileListener(f)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // MPTCP sockets escape eBPF socket maps
	return lc.Listen(ctx, "tcp", o.Address)
}

// Addr returns the bound address.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Connections is how many are open.
func (s *Server) Connections() int {
	s.ln.mu.Lock()
	defer s.ln.mu.Unlock()
	return s.ln.open
}

// Run serves until ctx ends, then drains: no new connection, while handshakes and requests in flight finish
// within the drain time.
func (s *Server) Run(ctx context.Context) error {
	var serving sync.WaitGroup
	failed := make(chan error, 2)
	if s.side != nil {
		serving.Go(func() { failed <- s.side.http.Serve(s.side) })
	}
	hands, cut := context.WithCancel(context.WithoutCancel(ctx)) // handshakes outlive ctx until the drain ends
	defer cut()
	accepting, stop := context.WithCancel(ctx)
	defer stop()
	var shaking, accepts sync.WaitGroup
	accepts.Go(func() { failed <- s.accept(accepting, hands, &shaking) })

	var err error
	retired := false
	select {
	case err = <-failed:
	case <-ctx.Done():
	case <-s.retire:
		retired = true
	}
	stop()
	_ = s.ln.Close() // wakes accept
	accepts.Wait()
	if retired {
		s.outlast(ctx)
	}
	s.drain(context.WithoutCancel(ctx), &shaking, cut)
	serving.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving listener %q: %w", s.o.Name, err)
	}
	return nil
}

// drain waits for what has begun, and cuts what does not end in time.
func (s *Server) drain(ctx context.Context, shaking *sync.WaitGroup, cut func()) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Drain)
	defer cancel()
	release := context.AfterFunc(ctx, cut)
	shaking.Wait() // before the servers end, so that they take who has just arrived
	release()
	var ending sync.WaitGroup
	ending.Go(func() { s.h1.Drain(ctx) })
	if s.h2 != nil {
		ending.Go(func() { s.h2.Drain(ctx) })
	}
	if s.side != nil {
		ending.Go(func() { s.side.shutdown(ctx) })
	}
	ending.Wait()
}

// Close gives the socket up without having served.
func (s *Server) Close() error { return s.ln.Close() }
