package workload

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	workloadpb "github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/palisade-security/palisade/identity/attest"
)

// Bounds of what one connection costs before and beside its streams.
const (
	maxMessage   = 64 << 10 // the longest is a JWT to validate
	maxHeaders   = 8 << 10
	maxIdle      = 5 * time.Minute
	maxHandshake = 10 * time.Second
	buffer       = 4 << 10
)

// Config is what a Server needs.
type Config struct {
	Source  Source
	Entitle Entitle
	// Refused is told of each caller that gets nothing and why, for the record. It must not block. Optional.
	Refused func(ctx context.Context, caller *attest.Peer, err error)
	// Log takes what Envoy rejects.
	Log *slog.Logger
	// Streams bounds the streams and, separately, the connections of all callers together. One user may hold
	// half of them. 0: 20,000.
	Streams int
	// StreamsPerProcess bounds those of one process. 0: 128, for an Envoy with a stream per secret.
	StreamsPerProcess int
}

// Server serves the Workload API and SDS on one socket.
type Server struct {
	cfg     Config
	streams *quota
	grpc    *grpc.Server
}

// New builds a server; Run serves.
func New(cfg Config) (*Server, error) {
	if cfg.Source == nil || cfg.Entitle == nil || cfg.Log == nil {
		return nil, errors.New("building the Workload API: it needs a source, a rule who may have what, and a log")
	}
	if cfg.Streams <= 0 {
		cfg.Streams = 20_000
	}
	if cfg.StreamsPerProcess <= 0 {
		cfg.StreamsPerProcess = 128
	}
	s := &Server{cfg: cfg, streams: newQuota(cfg.StreamsPerProcess, cfg.Streams)}
	s.grpc = grpc.NewServer(
		grpc.Creds(&handshaker{newQuota(cfg.StreamsPerProcess, cfg.Streams)}),
		grpc.MaxConcurrentStreams(uint32(cfg.StreamsPerProcess)),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(maxHandshake), grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: maxIdle}),
		grpc.ReadBufferSize(buffer), grpc.WriteBufferSize(buffer),
		grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream),
	)
	workloadpb.RegisterSpiffeWorkloadAPIServer(s.grpc, &api{s: s})
	secretv3.RegisterSecretDiscoveryServiceServer(s.grpc, &sds{s: s})
	return s, nil
}

// Run serves until ctx ends, then hangs up: callers come back when they please. It closes l.
func (s *Server) Run(ctx context.Context, l *Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.grpc.Serve(l) })
	g.Go(func() error {
		<-ctx.Done()
		s.grpc.Stop()
		return nil
	})
	return g.Wait()
}

func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	release, err := s.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	defer release()
	return next(ctx, req)
}

func (s *Server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	release, err := s.admit(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	defer release()
	return next(srv, stream)
}

// admit checks what holds for every call, before anything is done for it.
func (s *Server) admit(ctx context.Context, method string) (release func(), err error) {
	// The header keeps a tricked proxy or browser from asking in its own name (SPIFFE Workload Endpoint,
	// section 3). Envoy does not send it, and SDS does not know it.
	if strings.HasPrefix(method, "/"+workloadpb.SpiffeWorkloadAPI_ServiceDesc.ServiceName+"/") {
		if v := metadata.ValueFromIncomingContext(ctx, "workload.spiffe.io"); len(v) != 1 || v[0] != "true" {
			return nil, status.Error(codes.InvalidArgument, "security header missing from request")
		}
	}
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.streams.take(caller.PID(), caller.UID()); err != nil {
		return nil, status.Error(codes.Unavailable, "too many streams")
	}
	return func() { s.streams.give(caller.PID(), caller.UID()) }, nil
}
