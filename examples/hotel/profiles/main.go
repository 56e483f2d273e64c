// Command profiles knows what hotels say of themselves.
package main

import (
	"flag"

	"google.golang.org/grpc"

	"github.com/palisade-security/palisade/examples/hotel/internal/hotelpb"
	"github.com/palisade-security/palisade/examples/hotel/internal/serve"
)

type profiles struct {
	hotelpb.UnimplementedProfilesServer
	known map[string]*hotelpb.Profile
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9304", "host:port to serve on")
	flag.Parse()
	serve.GRPC(*listen, func(s *grpc.Server) { hotelpb.RegisterProfilesServer(s, newProfiles()) })
}

func newProfiles() *profiles {
	p := &profiles{known: map[string]*hotelpb.Profile{}}
	for _, one := range []*hotelpb.Profile{
		{Hotel: "bastion", Name: "The Bastion", Phone: "+49 30 5550101"},
		{Hotel: "drawbridge", Name: "Drawbridge Inn", Phone: "+49 30 5550102"},
		{Hotel: "moat", Name: "Moat House", Phone: "+49 30 5550103"},
		{Hotel: "outpost", Name: "Outpost Lodge", Phone: "+49 40 5550104"},
	} {
		p.known[one.GetHotel()] = one
	}
	return p
}

// Describe streams the profiles of hotels, as far as they are known.
func (p *profiles) Describe(in *hotelpb.DescribeRequest, out grpc.ServerStreamingServer[hotelpb.Profile]) error {
	for _, name := range in.GetHotels() {
		if one := p.known[name]; one != nil {
			if err := out.Send(one); err != nil {
				return err
			}
		}
	}
	return nil
}
