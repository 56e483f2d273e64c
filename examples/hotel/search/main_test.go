package main

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	"github.com/palisade-security/palisade/examples/hotel/internal/hotelpb"
)

// near and cost answer as geo and rates do.
type (
	near []*hotelpb.Distance
	cost map[string]int64
)

func (n near) Nearby(context.Context, *hotelpb.NearbyRequest, ...grpc.CallOption) (*hotelpb.NearbyReply, error) {
	return &hotelpb.NearbyReply{Hotels: n}, nil
}

func (c cost) Quote(context.Context, *hotelpb.QuoteRequest, ...grpc.CallOption) (*hotelpb.QuoteReply, error) {
	return &hotelpb.QuoteReply{Cents: c}, nil
}

func (c cost) Change(context.Context, *hotelpb.ChangeRequest, ...grpc.CallOption) (*hotelpb.ChangeReply, error) {
	return &hotelpb.ChangeReply{}, nil
}

func TestFind(t *testing.T) {
	probed := false
	s := &search{geo: near{{Hotel: "b", Km: 1}, {Hotel: "c", Km: 2}, {Hotel: "a", Km: 3}}, rates: cost{"a": 5, "b": 7}, probes: []func(context.Context){func(context.Context) { probed = true }}}
	out, err := s.Find(t.Context(), &hotelpb.FindRequest{})
	if err != nil || !probed || len(out.GetOffers()) != 2 || out.GetOffers()[0].GetHotel() != "b" || out.GetOffers()[1].GetCents() != 5 {
		t.Errorf("offers: %v, %v", out, err)
	}
}
