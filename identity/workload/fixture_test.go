package workload

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/palisade-security/palisade/identity/attest"
)

// fixture is a whole Workload API: authority, renewer, attestor, server, socket.
type fixture struct {
	ca       *ca
	renewer  *Renewer
	attestor *attest.Attestor
	path     string
	log      *buffered

	mu      sync.Mutex
	refused []error
}

// buffered is a log that may be read while it is written.
type buffered struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffered) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (f *fixture) address() string { return "unix://" + f.path }

func (f *fixture) refusals() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused
}

// me declares that every process of this user is a service.
func (f *fixture) me(t testing.TB, services ...string) {
	t.Helper()
	declared := map[string][]attest.Workload{}
	for _, s := range services {
		declared[s] = []attest.Workload{{{Kind: attest.UnixUID, Value: strconv.Itoa(os.Getuid())}}}
	}
	f.declare(t, declared)
}

func (f *fixture) declare(t testing.TB, services map[string][]attest.Workload) {
	t.Helper()
	m, err := attest.NewMatcher(services)
	if err != nil {
		t.Fatal(err)
	}
	f.attestor.SetServices(m)
}

func (f *fixture) id(t testing.TB, service string) ID {
	t.Helper()
	id, err := ServiceID(f.ca.domain, service)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// newFixture serves until the test ends. This process is service "catalog".
func newFixture(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{ca: newCA(t, "shop.example"), attestor: attest.NewAttestor(nil), path: filepath.Join(t.TempDir(), "api.sock"), log: &buffered{}}
	f.renewer = NewRenewer(f.ca)
	f.me(t, "catalog")
	cfg := Config{
		Source: f.renewer, Entitle: ByAttestation(f.attestor, f.ca.domain), Log: slog.New(slog.NewTextHandler(f.log, nil)),
		Refused: func(_ context.Context, _ *attest.Peer, err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.refused = append(f.refused, err)
		},
	}
	if change != nil {
		change(&cfg)
	}
	run(t, f.renewer.Run)
	serve(t, cfg, f.path)
	return f
}

// serve runs a server until the test ends.
func serve(t testing.TB, cfg Config, path string) {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) error { return s.Run(ctx, l) })
}

// run runs something until the test ends, and waits for it.
func run(t testing.TB, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- do(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// dial connects without any help of a client library.
func dial(t testing.TB, path string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// withHeader adds the header that the Workload API demands.
func withHeader(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", "true")
}

func wantCode(t testing.TB, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("code %v (%v), want %v", got, err, want)
	}
}
