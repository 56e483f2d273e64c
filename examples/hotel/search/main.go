// Command search finds hotels near a place, with what they ask for a stay.
package main

import (
	"context"
	"flag"
	"log"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/palisade-security/palisade/examples/hotel/internal/hotelpb"
	"github.com/palisade-security/palisade/examples/hotel/internal/serve"
)

type search struct {
	hotelpb.UnimplementedSearchServer
	geo   hotelpb.GeoClient
	rates hotelpb.RatesClient
	probe func(context.Context) // nil: none
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9301", "host:port to serve on")
	geo := flag.String("geo", "127.0.0.1:9302", "host:port of geo")
	rates := flag.String("rates", "127.0.0.1:9303", "host:port of rates")
	probe := flag.String("probe", "", "host:port/service/method to call once more at each search, to see whether it can be; for tests of the network")
	forward := serve.Tracing()
	flag.Var(&forward, "forward", "fields of requests that are handed on")
	flag.Parse()
	s := &search{geo: hotelpb.NewGeoClient(forward.Dial(*geo)), rates: hotelpb.NewRatesClient(forward.Dial(*rates))}
	if address, method, ok := strings.Cut(*probe, "/"); ok {
		s.probe = prober(forward.Dial(address), "/"+method)
	}
	serve.GRPC(*listen, func(g *grpc.Server) { hotelpb.RegisterSearchServer(g, s) })
}

// prober calls a method with an empty message and logs what comes of it.
func prober(c grpc.ClientConnInterface, method string) func(context.Context) {
	return func(ctx context.Context) {
		log.Printf("probe %s: %v", method, c.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}))
	}
}

// Find asks geo who is near, and rates what they cost. A hotel without a rate is not offered.
func (s *search) Find(ctx context.Context, in *hotelpb.FindRequest) (*hotelpb.FindReply, error) {
	if s.probe != nil {
		s.probe(ctx)
	}
	near, err := s.geo.Nearby(ctx, &hotelpb.NearbyRequest{Place: in.GetNear()})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, h := range near.GetHotels() {
		names = append(names, h.GetHotel())
	}
	quote, err := s.rates.Quote(ctx, &hotelpb.QuoteRequest{Hotels: names, Stay: in.GetStay()})
	if err != nil {
		return nil, err
	}
	out := &hotelpb.FindReply{}
	for _, h := range near.GetHotels() {
		if cents, ok := quote.GetCents()[h.GetHotel()]; ok {
			out.Offers = append(out.Offers, &hotelpb.Offer{Hotel: h.GetHotel(), Km: h.GetKm(), Cents: cents})
		}
	}
	return out, nil
}
