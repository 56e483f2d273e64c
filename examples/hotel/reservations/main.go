// Command reservations knows who stays where and when.
package main

import (
	"context"
	"flag"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/palisade-security/palisade/examples/hotel/internal/hotelpb"
	"github.com/palisade-security/palisade/examples/hotel/internal/serve"
)

const rooms = 2 // of each hotel

type reservations struct {
	hotelpb.UnimplementedReservationsServer
	rates hotelpb.RatesClient

	mu    sync.Mutex
	taken map[night]int
	all   []*hotelpb.Booking
}

type night struct{ hotel, day string }

func main() {
	listen := flag.String("listen", "127.0.0.1:9305", "host:port to serve on")
	rates := flag.String("rates", "127.0.0.1:9303", "host:port of rates")
	forward := serve.Tracing()
	flag.Var(&forward, "forward", "fields of requests that are handed on")
	flag.Parse()
	r := newReservations(hotelpb.NewRatesClient(forward.Dial(*rates)))
	serve.GRPC(*listen, func(s *grpc.Server) { hotelpb.RegisterReservationsServer(s, r) })
}

func newReservations(rates hotelpb.RatesClient) *reservations {
	return &reservations{rates: rates, taken: map[night]int{}}
}

// Free lists the hotels that have a room for a stay.
func (r *reservations) Free(_ context.Context, in *hotelpb.FreeRequest) (*hotelpb.FreeReply, error) {
	nights, err := serve.Nights(in.GetStay())
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &hotelpb.FreeReply{}
	for _, name := range in.GetHotels() {
		if r.free(name, nights) {
			out.Hotels = append(out.Hotels, name)
		}
	}
	return out, nil
}

func (r *reservations) free(hotel string, nights []string) bool {
	for _, day := range nights {
		if r.taken[night{hotel, day}] >= rooms {
			return false
		}
	}
	return true
}

// Book takes a room at today's rate.
func (r *reservations) Book(ctx context.Context, in *hotelpb.BookRequest) (*hotelpb.Booking, error) {
	nights, err := serve.Nights(in.GetStay())
	switch {
	case err != nil:
		return nil, err
	case in.GetGuest() == "":
		return nil, status.Error(codes.InvalidArgument, "a booking needs a guest")
	}
	quote, err := r.rates.Quote(ctx, &hotelpb.QuoteRequest{Hotels: []string{in.GetHotel()}, Stay: in.GetStay()})
	if err != nil {
		return nil, err
	}
	cents, ok := quote.GetCents()[in.GetHotel()]
	if !ok {
		return nil, status.Error(codes.NotFound, "no such hotel")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.free(in.GetHotel(), nights) {
		return nil, status.Error(codes.FailedPrecondition, "no room is left")
	}
	for _, day := range nights {
		r.taken[night{in.GetHotel(), day}]++
	}
	one := &hotelpb.Booking{Id: fmt.Sprintf("B-%04d", len(r.all)+1), Hotel: in.GetHotel(), Guest: in.GetGuest(), Stay: in.GetStay(), Cents: cents}
	r.all = append(r.all, one)
	return one, nil
}

// List returns a guest's bookings.
func (r *reservations) List(_ context.Context, in *hotelpb.ListRequest) (*hotelpb.ListReply, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &hotelpb.ListReply{}
	for _, one := range r.all {
		if one.GetGuest() == in.GetGuest() {
			out.Bookings = append(out.Bookings, one)
		}
	}
	return out, nil
}
