package main

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/palisade-security/palisade/examples/hotel/internal/hotelpb"
)

func TestRates(t *testing.T) {
	r := newRates()
	ask := &hotelpb.QuoteRequest{Hotels: []string{"moat", "nowhere"}, Stay: &hotelpb.Stay{Arrive: "2027-02-01", Leave: "2027-02-03"}}
	out, err := r.Quote(t.Context(), ask)
	if err != nil || len(out.GetCents()) != 1 || out.GetCents()["moat"] != 25800 {
		t.Errorf("quote: %v, %v", out, err)
	}
	if _, err := r.Change(t.Context(), &hotelpb.ChangeRequest{Hotel: "moat", Cents: 100}); err != nil {
		t.Error(err)
	}
	if out, err := r.Quote(t.Context(), ask); err != nil || out.GetCents()["moat"] != 200 {
		t.Errorf("quote after the change: %v, %v", out, err)
	}
	for want, in := range map[codes.Code]*hotelpb.ChangeRequest{codes.NotFound: {Hotel: "nowhere", Cents: 1}, codes.InvalidArgument: {Hotel: "moat"}} {
		if _, err := r.Change(t.Context(), in); status.Code(err) != want {
			t.Errorf("change %v: %v", in, err)
		}
	}
	if _, err := r.Quote(t.Context(), &hotelpb.QuoteRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("quote without a stay: %v", err)
	}
}
