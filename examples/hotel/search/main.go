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
	geo    hotelpb.GeoClient
	rates  hotelpb.RatesClient
	probes []func(context.Context)
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9301", "host:port to serve on")
	geo := flag.String("geo", "127.0.0.1:9302", "host:port of geo")
	rates := flag.String("rates", "127.0.0.1:9303", "host:port of rates")
	probes := flag.String("probe", "", "calls to make as well at each search, to see whether they can be, each host:port/service/method, by comma; for tests of the network")
	forward := serve.Tracing()
	flag.Var(&forward, "forward", "fields of requests that are handed on")
	flag.Parse()
	s := &search{geo: hotelpb.NewGeoClient(forward.Dial(*geo)), rates: hotelpb.NewRatesClient(forward.Dial(*rates))}
	for probe := range strings.SplitSeq(*probes, ",") {
		if address, method, ok := strings.Cut(probe, "/"); ok {
			s.probes = append(s.probes, prober(forward.Dial(address), "/"+method))
		}
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
	for _, probe := range s.probes {
		probe(ctx)
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
