package listen

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/palisade-security/palisade/proxy/engine"
)

// side is a server of net/http, and the listener it takes its connections from.
type side struct {
	http  *http.Server
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newSide(o *Options, addr net.Addr, h http.Handler, facts func(net.Conn) *engine.Conn) *side {
	s := &side{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
	s.close = sync.OnceFunc(func() { close(s.done) })
	s.http = &http.Server{
		Handler:                      h,
		DisableGeneralOptionsHandler: true, // every request is recorded, "OPTIONS *" too
		ReadHeaderTimeout:            o.Header,
		IdleTimeout:                  o.Idle,
		MaxHeaderBytes:               o.HeaderBytes,
		ErrorLog:                     slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
		Protocols:                    new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          128,
			MaxReadFrameSize:              16 << 10, // the least there is: each connection holds a frame
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   10 * time.Second,
			WriteByteTimeout:              o.Idle,
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return engine.WithConn(ctx, facts(c))
		},
	}
	return s
}

// push hands a connection over, or closes it if the server has ended.
func (s *side) push(c net.Conn) {
	select {
	case s.conns <- c:
	case <-s.done:
		_ = c.Close()
	}
}

// Accept returns the next connection that was pushed.
func (s *side) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Connections stay.
func (s *side) Close() error { s.close(); return nil }

// Addr returns the address of the socket.
func (s *side) Addr() net.Addr { return s.addr }

// shutdown lets requests in flight finish until ctx ends, then cuts them.
func (s *side) shutdown(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // closing what is given up has nothing to tell
	}
}
