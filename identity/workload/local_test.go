package workload

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	workloadpb "github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"

	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/revocation"
	"github.com/palisade-security/palisade/keyring"
)

func newAuthority(t *testing.T) *authority.Authority {
	t.Helper()
	dir := t.TempDir()
	keeper, err := keyring.LocalKeeper(dir)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.OpenRing(t.Context(), dir, keeper)
	if err != nil {
		t.Fatal(err)
	}
	a, err := authority.Open(t.Context(), authority.Config{
		TrustDomain: spiffeid.RequireTrustDomainFromString("shop.example"), Keys: ring,
		Store: authority.NewFileStore(filepath.Join(dir, "authority.json")), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The whole way: sealed keys, authority, attestation, socket, go-spiffe; revoked, restored, federated.
func TestLocalAuthority(t *testing.T) {
	a := newAuthority(t)
	local := NewLocal(a, "node-1")
	run(t, local.Run)
	f := newFixture(t, func(c *Config) { c.Source = local })
	s := source(t, f)
	svid, err := s.GetX509SVID()
	if err != nil || svid.ID != f.id(t, "catalog") {
		t.Fatalf("SVID %v, %v", svid, err)
	}
	if _, _, err := x509svid.Verify(svid.Certificates, s); err != nil {
		t.Error(err)
	}
	c := client(t, f.address())
	token, err := c.FetchJWTSVID(t.Context(), jwtsvid.Params{Audience: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ValidateJWTSVID(t.Context(), token.Marshal(), "orders"); err != nil {
		t.Error(err)
	}

	updated := s.Updated()
	local.SetFederated(spiffebundle.FromX509Authorities(f.ca.friend, f.ca.bundles.All[f.ca.friend].X509))
	<-updated
	if _, err := s.GetX509BundleForTrustDomain(f.ca.friend); err != nil {
		t.Errorf("federated: %v", err)
	}

	stream, err := workloadpb.NewSpiffeWorkloadAPIClient(dial(t, f.path)).FetchX509SVID(withHeader(t.Context()), &workloadpb.X509SVIDRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(t.Context(), revocation.Service, "service/catalog", "stolen", "test"); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantCode(t, err, codes.PermissionDenied)
	_, err = c.FetchJWTSVID(t.Context(), jwtsvid.Params{Audience: "orders"})
	wantCode(t, err, codes.PermissionDenied)
	if err := a.Restore(t.Context(), revocation.Service, "service/catalog"); err != nil {
		t.Fatal(err)
	}
	if _, err := workloadapi.FetchX509SVID(t.Context(), workloadapi.WithAddr(f.address())); err != nil {
		t.Errorf("restored: %v", err)
	}
}
