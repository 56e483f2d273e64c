package serve

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/palisade-security/palisade/examples/hotel/internal/hotelpb"
)

// Nights returns the days on which a stay sleeps in the hotel.
func Nights(s *hotelpb.Stay) ([]string, error) {
	from, err := time.Parse(time.DateOnly, s.GetArrive())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "arrive is no day")
	}
	to, err := time.Parse(time.DateOnly, s.GetLeave())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "leave is no day")
	}
	n := int(to.Sub(from).Hours() / 24)
	if n < 1 || n > 30 {
		return nil, status.Error(codes.InvalidArgument, "a stay has 1 to 30 nights")
	}
	var out []string
	for i := range n {
		out = append(out, from.AddDate(0, 0, i).Format(time.DateOnly))
	}
	return out, nil
}
