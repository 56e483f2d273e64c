package serve

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/palisade-security/palisade/examples/hotel/internal/hotelpb"
)

func TestNights(t *testing.T) {
	for _, c := range []struct {
		arrive, leave string
		want          int // 0: refused
	}{
		{"2026-12-30", "2027-01-02", 3},
		{"2026-12-30", "2026-12-31", 1},
		{"2026-12-30", "2026-12-30", 0},
		{"2026-12-30", "2026-12-29", 0},
		{"2026-12-30", "2027-12-30", 0},
		{"today", "2027-12-30", 0},
		{"2026-12-30", "", 0},
	} {
		got, err := Nights(&hotelpb.Stay{Arrive: c.arrive, Leave: c.leave})
		if len(got) != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%s to %s: %v, %v", c.arrive, c.leave, got, err)
		}
	}
}

func TestForward(t *testing.T) {
	f := Tracing()
	if err := f.Set("Traceparent,X-Tenant"); err != nil || f.String() != "traceparent,x-tenant" {
		t.Fatalf("%v, %v", f, err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("X-Tenant", "one")
	r.Header.Set("Authorization", "secret")
	f.HTTP(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		md, _ := metadata.FromOutgoingContext(f.hand(r.Context()))
		if len(md) != 1 || md.Get("x-tenant")[0] != "one" {
			t.Errorf("handed on: %v", md)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
}
