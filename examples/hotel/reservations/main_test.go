package main

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/palisade-security/palisade/examples/hotel/internal/hotelpb"
)

// price answers as rates does, for a hotel of its name.
type price string

func (p price) Quote(context.Context, *hotelpb.QuoteRequest, ...grpc.CallOption) (*hotelpb.QuoteReply, error) {
	return &hotelpb.QuoteReply{Cents: map[string]int64{string(p): 4200}}, nil
}

func (p price) Change(context.Context, *hotelpb.ChangeRequest, ...grpc.CallOption) (*hotelpb.ChangeReply, error) {
	return &hotelpb.ChangeReply{}, nil
}

func TestBook(t *testing.T) {
	r := newReservations(price("moat"))
	stay := func(arrive, leave string) *hotelpb.Stay { return &hotelpb.Stay{Arrive: arrive, Leave: leave} }
	for _, c := range []struct {
		hotel, guest string
		stay         *hotelpb.Stay
		want         codes.Code
	}{
		{"moat", "ann", stay("2027-02-01", "2027-02-04"), codes.OK},
		{"moat", "bob", stay("2027-02-03", "2027-02-05"), codes.OK},
		{"moat", "cyd", stay("2027-02-02", "2027-02-04"), codes.FailedPrecondition},
		{"moat", "cyd", stay("2027-02-04", "2027-02-05"), codes.OK},
		{"nowhere", "ann", stay("2027-02-01", "2027-02-04"), codes.NotFound},
		{"moat", "", stay("2027-02-01", "2027-02-04"), codes.InvalidArgument},
		{"moat", "ann", stay("2027-02-04", "2027-02-01"), codes.InvalidArgument},
	} {
		if _, err := r.Book(t.Context(), &hotelpb.BookRequest{Hotel: c.hotel, Guest: c.guest, Stay: c.stay}); status.Code(err) != c.want {
			t.Errorf("%s at %s %v: %v, want %s", c.guest, c.hotel, c.stay, err, c.want)
		}
	}
	free, err := r.Free(t.Context(), &hotelpb.FreeRequest{Hotels: []string{"moat", "bastion"}, Stay: stay("2027-02-03", "2027-02-04")})
	if err != nil || len(free.GetHotels()) != 1 || free.GetHotels()[0] != "bastion" {
		t.Errorf("free: %v, %v", free, err)
	}
	list, err := r.List(t.Context(), &hotelpb.ListRequest{Guest: "cyd"})
	if err != nil || len(list.GetBookings()) != 1 || list.GetBookings()[0].GetCents() != 4200 {
		t.Errorf("list: %v, %v", list, err)
	}
}
