package workload

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"

	"github.com/palisade-security/palisade/identity/attest"
)

// external serves a second Workload API whose issuer is the first.
func external(t *testing.T, f *fixture) string {
	t.Helper()
	e, err := NewExternal(t.Context(), f.address())
	if err != nil {
		t.Fatal(err)
	}
	run(t, e.Run)
	entitled := func(context.Context, *attest.Peer) ([]Identity, <-chan struct{}, error) {
		return []Identity{{ID: f.id(t, "catalog")}}, nil, nil
	}
	path := filepath.Join(t.TempDir(), "second.sock")
	serve(t, Config{Source: e, Entitle: entitled, Log: slog.New(slog.DiscardHandler)}, path)
	return "unix://" + path
}

// What another Workload API issues passes through: SVIDs, bundles, tokens, rotation, and the end of it.
func TestExternalIssuer(t *testing.T) {
	f := newFixture(t, nil)
	address := external(t, f)
	s, err := workloadapi.NewX509Source(t.Context(), workloadapi.WithClientOptions(workloadapi.WithAddr(address)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	svid, err := s.GetX509SVID()
	if err != nil || svid.ID != f.id(t, "catalog") {
		t.Fatalf("SVID %v, %v", svid, err)
	}
	if _, _, err := x509svid.Verify(svid.Certificates, s); err != nil {
		t.Error(err)
	}
	if _, err := s.GetX509BundleForTrustDomain(f.ca.friend); err != nil {
		t.Error(err)
	}
	c := client(t, address)
	token, err := c.FetchJWTSVID(t.Context(), jwtsvid.Params{Audience: "orders", ExtraAudiences: []string{"web"}})
	if err != nil || len(token.Audience) != 2 {
		t.Fatalf("token %v, %v", token, err)
	}
	if _, err := c.ValidateJWTSVID(t.Context(), token.Marshal(), "web"); err != nil {
		t.Error(err)
	}
	for {
		updated := s.Updated()
		now, err := s.GetX509SVID()
		if err != nil {
			t.Fatal(err)
		}
		if now.Certificates[0].SerialNumber.Cmp(svid.Certificates[0].SerialNumber) != 0 {
			break
		}
		f.renewer.Renew()
		<-updated
	}
}

// An identity that the other does not give cannot be had, and what it takes back is gone.
func TestExternalIssuerDenies(t *testing.T) {
	f := newFixture(t, nil)
	f.me(t, "orders")
	c := client(t, external(t, f))
	_, err := c.FetchX509SVID(t.Context())
	wantCode(t, err, codes.PermissionDenied)
	f.me(t)
	for {
		// The other's word arrives in its own time.
		if _, err = c.FetchX509Bundles(t.Context()); err != nil {
			break
		}
	}
	wantCode(t, err, codes.PermissionDenied)
	_, err = c.FetchJWTSVID(t.Context(), jwtsvid.Params{Audience: "a"})
	wantCode(t, err, codes.PermissionDenied)
}
