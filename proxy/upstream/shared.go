package upstream

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
)

// errOneEach is why a connection over TLS carries one exchange at a time.
var errOneEach = malformed("not HTTP/2")

// shared carries requests over HTTP/2 as far as they do well to share a connection, and the others, one to a connection,
// over HTTP/1.1. An address that does not speak HTTP/2 over TLS gets all of them over HTTP/1.1, once it has said so.
type shared struct {
	streams *Streams
	pool    *Pool
	oneEach atomic.Bool
}

func newShared(o Options) *shared {
	s := &shared{streams: NewStreams(o, o.TLS == nil), pool: NewPool(o)}
	s.streams.dialer = newDialer(s.streams.options, "h2", "http/1.1") // whoever cannot share says so, and need not break off
	s.oneEach.Store(o.TLS == nil)                                     // nobody says without TLS
	return s
}

// shares reports whether r can share a connection. A long body, or one whose end nobody knows, may have to wait until the service
// reads it, and others would wait with it. A call of gRPC goes to a service of HTTP/1.1 as it always did: behind HTTP/2 it would
// be refused with a status of gRPC's own, which its client may not know.
func (s *shared) shares(r *Request) bool {
	return r.Length >= 0 && r.Length <= mostInline && !r.ExpectContinue && !s.oneEach.Load() &&
		(r.Method != "POST" || !strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "application/grpc"))
}

func (s *shared) try(ctx context.Context, r *Request, fresh bool) (*Response, again, error) {
	if s.shares(r) {
		resp, more, err := s.streams.try(ctx, r, fresh)
		if !errors.Is(err, errOneEach) {
			return resp, more, err
		}
		s.oneEach.Store(true)
	}
	return s.pool.try(ctx, r, fresh)
}

// Upgrade is that of Pool.
func (s *shared) Upgrade(ctx context.Context, r *Request) (*Response, io.ReadWriteCloser, error) {
	return s.pool.Upgrade(ctx, r)
}

func (s *shared) inFlight() int { return s.streams.inFlight() + s.pool.inFlight() }

// Close is that of Streams and of Pool.
func (s *shared) Close() {
	s.streams.Close()
	s.pool.Close()
}
