// Command geo knows where the hotels are.
package main

import (
	"cmp"
	"context"
	"flag"
	"math"
	"slices"

	"google.golang.org/grpc"

	"github.com/palisade-security/palisade/examples/hotel/internal/hotelpb"
	"github.com/palisade-security/palisade/examples/hotel/internal/serve"
)

const farthest = 20 // km

type geo struct {
	hotelpb.UnimplementedGeoServer
	hotels map[string]*hotelpb.Place
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9302", "host:port to serve on")
	flag.Parse()
	serve.GRPC(*listen, func(s *grpc.Server) { hotelpb.RegisterGeoServer(s, newGeo()) })
}

func newGeo() *geo {
	return &geo{hotels: map[string]*hotelpb.Place{
		"bastion": {Lat: 52.52, Lon: 13.405}, "drawbridge": {Lat: 52.5, Lon: 13.45}, "moat": {Lat: 52.45, Lon: 13.3}, "outpost": {Lat: 53.55, Lon: 10},
	}}
}

// Nearby lists the hotels within 20 km.
func (g *geo) Nearby(_ context.Context, in *hotelpb.NearbyRequest) (*hotelpb.NearbyReply, error) {
	out := &hotelpb.NearbyReply{}
	for name, at := range g.hotels {
		if km := distance(in.GetPlace(), at); km <= farthest {
			out.Hotels = append(out.Hotels, &hotelpb.Distance{Hotel: name, Km: math.Round(km*10) / 10})
		}
	}
	slices.SortFunc(out.Hotels, func(a, b *hotelpb.Distance) int {
		return cmp.Or(cmp.Compare(a.GetKm(), b.GetKm()), cmp.Compare(a.GetHotel(), b.GetHotel()))
	})
	return out, nil
}

// distance is that along the ground, in km (haversine).
func distance(a, b *hotelpb.Place) float64 {
	const earth, degree = 6371, math.Pi / 180
	lat, lon := (b.GetLat()-a.GetLat())*degree/2, (b.GetLon()-a.GetLon())*degree/2
	h := math.Pow(math.Sin(lat), 2) + math.Cos(a.GetLat()*degree)*math.Cos(b.GetLat()*degree)*math.Pow(math.Sin(lon), 2)
	return 2 * earth * math.Asin(math.Sqrt(min(h, 1)))
}
