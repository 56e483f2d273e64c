// Package listen holds the front's sockets: TLS and redirecting listeners on net/http with bounds on
// connections, slow clients and drains, and a guard that looks at the bytes of HTTP/1.x before net/http mends
// them. It decides nothing about requests that can be read in one way only.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options describe one listener. Zero bounds are not allowed; the model fills them.
type Options struct {
	Name        string
	Address     string // host:port
	Handler     http.Handler
	TLS         *tls.Config   // nil: plain HTTP/1.x, for redirects and the admin listener
	Header      time.Duration // for the handshake, and for each request's head
	Idle        time.Duration
	Drain       time.Duration
	HeaderBytes int // of a head over HTTP/1.x, request line included; of a header over HTTP/2
	Connections int
	PerAddress  int
	Inherit     *Server // takes over this one's socket if it has the same address, so that no client is refused
}

// Server is one bound listener.
type Server struct {
	o      Options
	tcp    *net.TCPListener
	ln     *bounded      // tcp
	retire chan struct{} // closed when a successor accepts
	guards guards
	h1     *side
	h2     *side // nil without TLS
}

// Bind opens the socket, so that a wrong address is known before anything is replaced.
func Bind(ctx context.Context, o Options) (*Server, error) {
	ln, err := socket(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("binding listener %q: %w", o.Name, err)
	}
	tcp, _ := ln.(*net.TCPListener)
	o.Inherit = nil
	s := &Server{o: o, tcp: tcp, retire: make(chan struct{}), ln: newBounded(ln, o.Connections, o.PerAddress), guards: guards{limit: o.HeaderBytes, header: o.Header}}
	s.h1 = newSide(&o, ln.Addr(), guarded(o.Handler))
	s.h1.http.Protocols.SetHTTP1(true)
	if o.TLS != nil {
		s.h2 = newSide(&o, ln.Addr(), o.Handler)
		s.h2.http.TLSConfig = o.TLS.Clone() // which the server changes
		s.h2.http.Protocols.SetHTTP2(true)
	}
	return s, nil
}

// socket opens the address, or shares the socket that a predecessor has open.
func socket(ctx context.Context, o Options) (net.Listener, error) {
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

// Run serves until ctx ends, then drains: no new connection, while handshakes and requests in flight finish
// within the drain time.
func (s *Server) Run(ctx context.Context) error {
	var serving sync.WaitGroup
	failed := make(chan error, 3)
	for _, side := range s.sides() {
		serving.Go(func() { failed <- side.http.Serve(side) })
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
	heard := make(chan struct{})
	go func() { s.guards.silent.Wait(); close(heard) }()
	defer func() { <-heard }() // at the latest when all connections are closed
	select {
	case <-heard: // a server that ends drops a first request that it has not begun to serve
	case <-ctx.Done():
	}
	defer context.AfterFunc(ctx, func() { s.guards.cutting.Store(true) })()
	var ending sync.WaitGroup
	for _, side := range s.sides() {
		ending.Go(func() { side.shutdown(ctx) })
	}
	ending.Wait()
}

func (s *Server) sides() []*side {
	if s.h2 == nil {
		return []*side{s.h1}
	}
	return []*side{s.h1, s.h2}
}

// Close gives the socket up without having served.
func (s *Server) Close() error { return s.ln.Close() }
