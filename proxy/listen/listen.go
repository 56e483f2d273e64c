// Package listen holds the front's sockets: TLS and redirecting listeners on net/http with bounds on
// connections, slow clients and drains. It decides nothing about requests.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/palisade-security/palisade/proxy/engine"
)

// Options describe one listener. Zero bounds are not allowed; the model fills them.
type Options struct {
	Name         string
	Address      string // host:port
	Handler      http.Handler
	TLS          *tls.Config // nil: plain HTTP, for redirects and the admin listener
	Header       time.Duration
	Idle         time.Duration
	Drain        time.Duration
	HeaderBytes  int
	Connections  int
	PerAddress   int
	PlainStreams bool    // HTTP/2 without TLS, for tests of the front
	Inherit      *Server // takes over this one's socket if it has the same address, so that no client is refused
}

// Server is one bound listener.
type Server struct {
	o    Options
	tcp  *net.TCPListener
	ln   net.Listener // tcp, bounded
	http *http.Server
}

// Bind opens the socket, so that a wrong address is known before anything is replaced.
func Bind(ctx context.Context, o Options) (*Server, error) {
	ln, err := socket(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("binding listener %q: %w", o.Name, err)
	}
	tcp, _ := ln.(*net.TCPListener)
	o.Inherit = nil
	s := &Server{o: o, tcp: tcp, ln: newBounded(ln, o.Connections, o.PerAddress)}
	s.http = &http.Server{
		Handler:           o.Handler,
		ReadHeaderTimeout: o.Header,
		IdleTimeout:       o.Idle,
		MaxHeaderBytes:    o.HeaderBytes,
		TLSConfig:         o.TLS,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
		Protocols:         new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          128,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   10 * time.Second,
			WriteByteTimeout:              o.Idle,
		},
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return engine.WithListener(ctx, o.Name)
		},
	}
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetHTTP2(o.TLS != nil)
	s.http.Protocols.SetUnencryptedHTTP2(o.PlainStreams)
	return s, nil
}

// socket opens the address, or shares the socket that a predecessor has open.
func socket(ctx context.Context, o Options) (net.Listener, error) {
	if o.Inherit != nil && o.Inherit.tcp != nil && o.Inherit.o.Address == o.Address {
		f, err := o.Inherit.tcp.File()
		if err != nil {
			return nil, fmt.Errorf("taking over the socket: %w", err)
		}
		defer f.Close() //nolint:errcheck // FileListener has its own copy
		return net.FileListener(f)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // MPTCP sockets escape eBPF socket maps
	return lc.Listen(ctx, "tcp", o.Address)
}

// Addr returns the bound address.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Run serves until ctx ends, then drains: no new connection, requests in flight finish within the drain time.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() {
		if s.o.TLS != nil {
			failed <- s.http.ServeTLS(s.ln, "", "")
		} else {
			failed <- s.http.Serve(s.ln)
		}
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serving listener %q: %w", s.o.Name, err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Drain)
	defer cancel()
	if err := s.http.Shutdown(drain); err != nil {
		_ = s.http.Close() // what did not finish in time is cut
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving listener %q: %w", s.o.Name, err)
	}
	return nil
}

// Close gives the socket up without having served.
func (s *Server) Close() error { return s.ln.Close() }
