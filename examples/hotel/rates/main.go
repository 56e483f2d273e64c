// Command rates knows what a night costs.
package main

import (
	"context"
	"flag"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/palisade-security/palisade/examples/hotel/internal/hotelpb"
	"github.com/palisade-security/palisade/examples/hotel/internal/serve"
)

type rates struct {
	hotelpb.UnimplementedRatesServer

	mu    sync.RWMutex
	cents map[string]int64 // a night, by hotel
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9303", "host:port to serve on")
	flag.Parse()
	serve.GRPC(*listen, func(s *grpc.Server) { hotelpb.RegisterRatesServer(s, newRates()) })
}

func newRates() *rates {
	return &rates{cents: map[string]int64{"bastion": 18900, "drawbridge": 9900, "moat": 12900, "outpost": 7900}}
}

// Quote says what a stay costs in each hotel that is known.
func (r *rates) Quote(_ context.Context, in *hotelpb.QuoteRequest) (*hotelpb.QuoteReply, error) {
	nights, err := serve.Nights(in.GetStay())
	if err != nil {
		return nil, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := &hotelpb.QuoteReply{Cents: map[string]int64{}}
	for _, name := range in.GetHotels() {
		if cents, ok := r.cents[name]; ok {
			out.Cents[name] = cents * int64(len(nights))
		}
	}
	return out, nil
}

// Change sets what a night costs.
func (r *rates) Change(_ context.Context, in *hotelpb.ChangeRequest) (*hotelpb.ChangeReply, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.cents[in.GetHotel()]; !ok {
		return nil, status.Error(codes.NotFound, "no such hotel")
	}
	if in.GetCents() <= 0 {
		return nil, status.Error(codes.InvalidArgument, "cents must be positive")
	}
	r.cents[in.GetHotel()] = in.GetCents()
	return &hotelpb.ChangeReply{}, nil
}
