package workload

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	workloadpb "github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffegrpc/grpccredentials"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/palisade-security/palisade/identity/attest"
)

func source(t testing.TB, f *fixture) *workloadapi.X509Source {
	t.Helper()
	s, err := workloadapi.NewX509Source(t.Context(), workloadapi.WithClientOptions(workloadapi.WithAddr(f.address())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func client(t testing.TB, address string) *workloadapi.Client {
	t.Helper()
	c, err := workloadapi.New(t.Context(), workloadapi.WithAddr(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// go-spiffe's source gets an SVID that verifies against the bundle it gets, and sees it renewed.
func TestX509Source(t *testing.T) {
	f := newFixture(t, nil)
	s := source(t, f)
	svid, err := s.GetX509SVID()
	if err != nil {
		t.Fatal(err)
	}
	if svid.ID != f.id(t, "catalog") || svid.Hint != "catalog" {
		t.Errorf("SVID of %s with hint %q", svid.ID, svid.Hint)
	}
	if _, _, err := x509svid.Verify(svid.Certificates, s); err != nil {
		t.Error(err)
	}
	if _, err := s.GetX509BundleForTrustDomain(f.ca.friend); err != nil {
		t.Errorf("federated bundle: %v", err)
	}
	updated := s.Updated()
	f.renewer.Renew()
	<-updated
	renewed, err := s.GetX509SVID()
	if err != nil {
		t.Fatal(err)
	}
	if renewed.Certificates[0].SerialNumber.Cmp(svid.Certificates[0].SerialNumber) == 0 {
		t.Error("the renewed SVID is the old one")
	}
}

// watcher hands on what a watch brings.
type watcher struct {
	updates chan *workloadapi.X509Context
	errs    chan error
}

func (w watcher) OnX509ContextUpdate(c *workloadapi.X509Context) { w.updates <- c }
func (w watcher) OnX509ContextWatchError(err error) {
	select {
	case w.errs <- err:
	default:
	}
}

// A change of bundles and the loss of the identity reach a watching client.
func TestWatchX509Context(t *testing.T) {
	f := newFixture(t, nil)
	w := watcher{make(chan *workloadapi.X509Context), make(chan error, 1)}
	c := client(t, f.address())
	run(t, func(ctx context.Context) error {
		if err := c.WatchX509Context(ctx, w); ctx.Err() == nil {
			return err
		}
		return nil
	})
	first := <-w.updates
	if !first.Bundles.Has(f.ca.friend) {
		t.Error("no federated bundle")
	}
	f.ca.defederate()
	if second := <-w.updates; second.Bundles.Has(f.ca.friend) || second.SVIDs[0].Certificates[0].SerialNumber.Cmp(first.SVIDs[0].Certificates[0].SerialNumber) != 0 {
		t.Error("the federated bundle is still there, or the SVID is another")
	}
	f.me(t, "orders") // this process is another service now
	if third := <-w.updates; third.SVIDs[0].ID != f.id(t, "orders") {
		t.Errorf("SVID of %s", third.SVIDs[0].ID)
	}
	f.me(t)
	wantCode(t, <-w.errs, codes.PermissionDenied)
}

// What is revoked ends the stream, and what is restored comes back.
func TestRevokedIdentity(t *testing.T) {
	f := newFixture(t, nil)
	id := f.id(t, "catalog")
	stream, err := workloadpb.NewSpiffeWorkloadAPIClient(dial(t, f.path)).FetchX509SVID(withHeader(t.Context()), &workloadpb.X509SVIDRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	f.ca.set(func() { f.ca.deny[id] = true })
	f.renewer.Renew(id)
	_, err = stream.Recv()
	wantCode(t, err, codes.PermissionDenied)
	if n := f.ca.times(id); n > 3 {
		t.Errorf("asked %d times for what was denied", n)
	}
	f.ca.set(func() { f.ca.deny[id] = false })
	if _, err := client(t, f.address()).FetchX509SVID(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestJWT(t *testing.T) {
	f := newFixture(t, nil)
	id := f.id(t, "catalog")
	s, err := workloadapi.NewJWTSource(t.Context(), workloadapi.WithClientOptions(workloadapi.WithAddr(f.address())))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	svid, err := s.FetchJWTSVID(t.Context(), jwtsvid.Params{Audience: "orders", ExtraAudiences: []string{"web"}})
	if err != nil {
		t.Fatal(err)
	}
	if svid.ID != id || !slices.Equal(svid.Audience, []string{"orders", "web"}) || svid.Hint != "catalog" {
		t.Errorf("token %+v", svid)
	}
	if _, err := jwtsvid.ParseAndValidate(svid.Marshal(), s, []string{"orders"}); err != nil {
		t.Errorf("against the streamed bundle: %v", err)
	}
	c := client(t, f.address())
	if valid, err := c.ValidateJWTSVID(t.Context(), svid.Marshal(), "web"); err != nil || valid.ID != id {
		t.Errorf("validated: %v, %v", valid, err)
	}
	_, err = c.ValidateJWTSVID(t.Context(), svid.Marshal(), "payments")
	wantCode(t, err, codes.InvalidArgument)
	spoilt := svid.Marshal()[:len(svid.Marshal())-4] + "AAAA"
	_, err = c.ValidateJWTSVID(t.Context(), spoilt, "web")
	wantCode(t, err, codes.InvalidArgument)
	if _, err := s.FetchJWTSVID(t.Context(), jwtsvid.Params{Audience: "orders", Subject: id}); err != nil {
		t.Error(err)
	}
	_, err = s.FetchJWTSVID(t.Context(), jwtsvid.Params{Audience: "orders", Subject: f.id(t, "payments")})
	wantCode(t, err, codes.PermissionDenied)

	raw := workloadpb.NewSpiffeWorkloadAPIClient(dial(t, f.path))
	for name, req := range map[string]*workloadpb.JWTSVIDRequest{
		"no audience":        {},
		"empty audience":     {Audience: []string{"a", ""}},
		"long audience":      {Audience: []string{strings.Repeat("a", maxAudience+1)}},
		"many audiences":     {Audience: slices.Repeat([]string{"a"}, maxAudiences+1)},
		"not a SPIFFE ID":    {Audience: []string{"a"}, SpiffeId: "https://shop.example"},
		"SPIFFE ID with dot": {Audience: []string{"a"}, SpiffeId: "spiffe://shop.example/../x"},
	} {
		if _, err := raw.FetchJWTSVID(withHeader(t.Context()), req); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			wantCode(t, err, codes.InvalidArgument)
		}
	}
	_, err = raw.ValidateJWTSVID(withHeader(t.Context()), &workloadpb.ValidateJWTSVIDRequest{Svid: svid.Marshal()})
	wantCode(t, err, codes.InvalidArgument)
}

func TestBundles(t *testing.T) {
	f := newFixture(t, nil)
	c := client(t, f.address())
	set, err := c.FetchX509Bundles(t.Context())
	if err != nil || !set.Has(f.ca.domain) || !set.Has(f.ca.friend) {
		t.Fatalf("bundles %v, %v", set, err)
	}
	want := x509bundle.FromX509Authorities(f.ca.domain, f.ca.bundles.All[f.ca.domain].X509)
	if got, _ := set.Get(f.ca.domain); !got.Equal(want) {
		t.Error("another bundle than the authority's")
	}
	jwts, err := c.FetchJWTBundles(t.Context())
	if err != nil || !jwts.Has(f.ca.domain) || !jwts.Has(f.ca.friend) {
		t.Fatalf("JWT bundles %v, %v", jwts, err)
	}
}

// Every method refuses without the header, whatever the caller is (SPIFFE Workload Endpoint, section 3).
func TestHeaderIsRequired(t *testing.T) {
	f := newFixture(t, nil)
	api := workloadpb.NewSpiffeWorkloadAPIClient(dial(t, f.path))
	for name, ctx := range map[string]context.Context{
		"absent": t.Context(),
		"other":  metadata.AppendToOutgoingContext(t.Context(), "workload.spiffe.io", "True"),
		"twice":  metadata.AppendToOutgoingContext(t.Context(), "workload.spiffe.io", "true", "workload.spiffe.io", "true"),
	} {
		t.Run(name, func(t *testing.T) {
			x, err := api.FetchX509SVID(ctx, &workloadpb.X509SVIDRequest{})
			if err == nil {
				_, err = x.Recv()
			}
			wantCode(t, err, codes.InvalidArgument)
			b, err := api.FetchX509Bundles(ctx, &workloadpb.X509BundlesRequest{})
			if err == nil {
				_, err = b.Recv()
			}
			wantCode(t, err, codes.InvalidArgument)
			_, err = api.FetchJWTSVID(ctx, &workloadpb.JWTSVIDRequest{Audience: []string{"a"}})
			wantCode(t, err, codes.InvalidArgument)
			_, err = api.ValidateJWTSVID(ctx, &workloadpb.ValidateJWTSVIDRequest{Audience: "a", Svid: "b"})
			wantCode(t, err, codes.InvalidArgument)
		})
	}
}

// A profile that we do not serve is Unimplemented (SPIFFE Workload API, section 7).
func TestWITIsNotServed(t *testing.T) {
	f := newFixture(t, nil)
	_, err := client(t, f.address()).FetchWITSVID(t.Context(), "")
	wantCode(t, err, codes.Unimplemented)
}

// Nothing is given to a process that is no service or several, and the record says which; the process does not
// learn it.
func TestWithoutIdentity(t *testing.T) {
	f := newFixture(t, nil)
	c := client(t, f.address())
	for name, services := range map[string][]string{"none": nil, "ambiguous": {"catalog", "orders"}} {
		t.Run(name, func(t *testing.T) {
			f.me(t, services...)
			before := len(f.refusals())
			_, err := c.FetchX509SVID(t.Context())
			wantCode(t, err, codes.PermissionDenied)
			if strings.Contains(err.Error(), "orders") || strings.Contains(err.Error(), "uid") {
				t.Errorf("the caller learns too much: %v", err)
			}
			_, err = c.FetchX509Bundles(t.Context())
			wantCode(t, err, codes.PermissionDenied)
			_, err = c.FetchJWTSVID(t.Context(), jwtsvid.Params{Audience: "a"})
			wantCode(t, err, codes.PermissionDenied)
			_, err = c.FetchJWTBundles(t.Context())
			wantCode(t, err, codes.PermissionDenied)
			_, err = c.ValidateJWTSVID(t.Context(), "a.b.c", "a")
			wantCode(t, err, codes.PermissionDenied)
			refused := f.refusals()[before:]
			refusal, ok := errors.AsType[*attest.Refusal](refused[0])
			if len(refused) != 5 || !ok || !slices.Equal(refusal.Services, services) {
				t.Errorf("recorded %v", refused)
			}
		})
	}
}

// What cannot be decided is refused, and may be asked for again.
func TestAuthorityAway(t *testing.T) {
	f := newFixture(t, nil)
	f.ca.set(func() { f.ca.fail = errors.New("no way to the authority") })
	_, err := client(t, f.address()).FetchX509SVID(t.Context())
	wantCode(t, err, codes.Unavailable)
}

// One process, whoever runs it, cannot hold more than its share.
func TestStreamsAreBounded(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.StreamsPerProcess = 2 })
	open := func() (context.CancelFunc, error) {
		ctx, cancel := context.WithCancel(withHeader(t.Context()))
		conn := dial(t, f.path) // a connection each, so that the bound is not HTTP/2's
		stream, err := workloadpb.NewSpiffeWorkloadAPIClient(conn).FetchX509SVID(ctx, &workloadpb.X509SVIDRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		return func() { cancel(); conn.Close() }, err
	}
	first, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(); err != nil {
		t.Fatal(err)
	}
	_, err = open()
	wantCode(t, err, codes.Unavailable)
	first()
	for {
		if _, err := open(); err == nil {
			return
		} else if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// A gRPC server and client of other people's make speak mutual TLS with SVIDs from here, and go on after
// renewal.
func TestMutualTLS(t *testing.T) {
	f := newFixture(t, nil)
	s := source(t, f)
	srv := grpc.NewServer(grpc.Creds(grpccredentials.MTLSServerCredentials(s, s, tlsconfig.AuthorizeID(f.id(t, "catalog")))))
	healthpb.RegisterHealthServer(srv, health.NewServer())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, srv.Stop)
		defer stop()
		return srv.Serve(l)
	})
	check := func(expected ID) error {
		conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(grpccredentials.MTLSClientCredentials(s, s, tlsconfig.AuthorizeID(expected))))
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		return err
	}
	if err := check(f.id(t, "catalog")); err != nil {
		t.Error(err)
	}
	if err := check(f.id(t, "orders")); err == nil {
		t.Error("a server with another identity than expected passes")
	}
	updated := s.Updated()
	f.renewer.Renew()
	<-updated
	if err := check(f.id(t, "catalog")); err != nil {
		t.Errorf("after renewal: %v", err)
	}
}

func TestMain(m *testing.M) {
	if address := os.Getenv("WORKLOAD_TEST_CHILD"); address != "" {
		os.Exit(child(address))
	}
	if path := os.Getenv("WORKLOAD_TEST_STORM"); path != "" {
		os.Exit(storm(path, os.Getenv("WORKLOAD_TEST_STORM_SIZE")))
	}
	os.Exit(m.Run())
}
