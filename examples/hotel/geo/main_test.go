package main

import (
	"testing"

	"github.com/palisade-security/palisade/examples/hotel/internal/hotelpb"
)

func TestNearby(t *testing.T) {
	out, err := newGeo().Nearby(t.Context(), &hotelpb.NearbyRequest{Place: &hotelpb.Place{Lat: 52.52, Lon: 13.4}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, h := range out.GetHotels() {
		names = append(names, h.GetHotel())
	}
	if len(names) != 3 || names[0] != "bastion" || names[2] != "moat" {
		t.Errorf("nearby: %v", names)
	}
	if km := distance(&hotelpb.Place{Lat: 52.52, Lon: 13.405}, &hotelpb.Place{Lat: 53.55, Lon: 10}); km < 250 || km > 260 {
		t.Errorf("Berlin to Hamburg: %.0f km", km)
	}
}
