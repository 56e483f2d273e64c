package svidfile

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/palisade-security/palisade/identity/attest"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/keyring"
)

const catalog, orders = "spiffe://shop.example/service/catalog", "spiffe://shop.example/service/orders"

// issuer is a whole way of SVIDs: authority, Workload API, socket.
type issuer struct {
	authority *authority.Authority
	local     *workload.Local
	socket    string

	mu  sync.Mutex
	ids []string // that whoever asks gets
}

// entitled gives every process the same SVIDs.
func (i *issuer) entitled(context.Context, *attest.Peer) (out []workload.Identity, changed <-chan struct{}, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, id := range i.ids {
		out = append(out, workload.Identity{ID: spiffeid.RequireFromString(id)})
	}
	return out, nil, nil
}

func newIssuer(t *testing.T, ids ...string) *issuer {
	t.Helper()
	dir := t.TempDir()
	keeper, err := keyring.LocalKeeper(dir)
	must(t, err)
	ring, err := keyring.OpenRing(t.Context(), dir, keeper)
	must(t, err)
	i := &issuer{socket: filepath.Join(dir, "api.sock"), ids: ids}
	i.authority, err = authority.Open(t.Context(), authority.Config{
		TrustDomain: spiffeid.RequireTrustDomainFromString("shop.example"), Keys: ring,
		Store: authority.NewFileStore(filepath.Join(dir, "authority.json")), Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	i.local = workload.NewLocal(i.authority, "")
	server, err := workload.New(workload.Config{Source: i.local, Entitle: i.entitled, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	listener, err := workload.Listen(t.Context(), i.socket)
	must(t, err)
	run(t, i.local.Run)
	run(t, func(ctx context.Context) error { return server.Run(ctx, listener) })
	return i
}

func (i *issuer) options(folder, id string) Options {
	return Options{Address: "unix://" + i.socket, Folder: folder, ID: id, Log: slog.New(slog.DiscardHandler)}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs something until the test ends, and waits for it.
func run(t *testing.T, do func(context.Context) error) {
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

func TestWrite(t *testing.T) {
	i := newIssuer(t, catalog, orders)
	for _, c := range []struct{ id, want string }{{"", catalog}, {orders, orders}} {
		dir := filepath.Join(t.TempDir(), "new")
		w, err := Write(t.Context(), i.options(dir, c.id))
		must(t, err)
		svid, err := x509svid.Load(filepath.Join(dir, Chain), filepath.Join(dir, Key)) // they belong together
		must(t, err)
		if svid.ID.String() != c.want || w.ID != c.want || !w.Expires.Equal(svid.Certificates[0].NotAfter) || len(svid.Certificates) < 2 {
			t.Errorf("wrote %+v, %d certificates of %s, want %s", w, len(svid.Certificates), svid.ID, c.want)
		}
		for name, mode := range map[string]os.FileMode{Chain: 0o644, Key: 0o600, Bundle: 0o644} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != 3 {
			t.Errorf("%v, %v", files, err)
		}
	}
	dir := t.TempDir()
	for _, id := range []string{"spiffe://shop.example/service/payments", "nonsense"} {
		if _, err := Write(t.Context(), i.options(dir, id)); err == nil {
			t.Errorf("wrote %s", id)
		}
	}
	if _, err := Write(t.Context(), newIssuer(t).options(dir, "")); err == nil || !strings.Contains(err.Error(), `"workloads" of a service`) {
		t.Errorf("one who is entitled to nothing is told %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := Write(ctx, Options{Address: "unix://" + dir + "/nobody.sock", Folder: dir}); err == nil {
		t.Error("wrote what nobody gave")
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("%v, %v", files, err)
	}
}

func TestWatch(t *testing.T) {
	i, dir := newIssuer(t, catalog), t.TempDir()
	written := make(chan Written, 8)
	run(t, func(ctx context.Context) error {
		return Watch(ctx, i.options(dir, ""), func(_ context.Context, w Written) { written <- w })
	})
	serial := func() string {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, Chain), filepath.Join(dir, Key))
		must(t, err)
		return pair.Leaf.SerialNumber.String()
	}
	await(t, written)
	before := serial()
	for serial() == before {
		i.local.Renew()
		await(t, written)
	}
}

// await waits for the next time that files are written.
func await(t *testing.T, written <-chan Written) Written {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case w := <-written:
		return w
	case <-ctx.Done():
		t.Fatal(errors.New("nothing is written"))
		return Written{}
	}
}
