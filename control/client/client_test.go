package client

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/palisade-security/palisade/bus"
	"github.com/palisade-security/palisade/control/wire"
	"github.com/palisade-security/palisade/identity/authority"
	"github.com/palisade-security/palisade/identity/peer"
	"github.com/palisade-security/palisade/identity/workload"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/model"
)

const domain = "shop.example"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// memory is a Keeper that ends with its process.
type memory struct {
	mu  sync.Mutex
	all map[string][]byte
}

func (m *memory) Save(name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all[name] = data
	return nil
}

func (m *memory) Load(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if data, ok := m.all[name]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

// issuer is what control has, without its network.
type issuer struct {
	t         testing.TB
	authority *authority.Authority
	sealer    *wire.Sealer
	public    [][]byte
	key       crypto.Signer
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	dir := t.TempDir()
	keeper, err := keyring.LocalKeeper(filepath.Join(dir, "keys"))
	must(t, err)
	ring, err := keyring.OpenRing(t.Context(), filepath.Join(dir, "ring"), keeper)
	must(t, err)
	id, err := workload.ParseID(model.ControlID(domain))
	must(t, err)
	i := &issuer{t: t}
	i.authority, err = authority.Open(t.Context(), authority.Config{
		TrustDomain: id.TrustDomain(), Keys: ring, Store: authority.NewFileStore(filepath.Join(dir, "authority")), Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	i.key, err = ring.Signer(t.Context(), "statements")
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(i.key.Public())
	must(t, err)
	i.sealer, i.public = wire.NewSealer(i.key), [][]byte{der}
	return i
}

func (i *issuer) svid(name string) (identity, *workload.SVID) {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(i.t, err)
	id, err := workload.ParseID("spiffe://" + domain + "/" + name)
	must(i.t, err)
	got, err := i.authority.SignX509(i.t.Context(), authority.X509Request{ID: id, Public: key.Public()})
	must(i.t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(i.t, err)
	bundle, err := i.authority.Bundle().Marshal()
	must(i.t, err)
	svid := &workload.SVID{ID: id, Key: key}
	for _, raw := range got.Chain {
		cert, err := x509.ParseCertificate(raw)
		must(i.t, err)
		svid.Chain = append(svid.Chain, cert)
	}
	return identity{Key: der, Chain: got.Chain, Bundle: bundle, Keys: i.public}, svid
}

func (i *issuer) sign(st wire.Statement) []byte {
	i.t.Helper()
	data, err := i.sealer.Sign(&st)
	must(i.t, err)
	return data
}

// slice is a statement with a slice of a name.
func slice(name, version, stale string, number uint64) wire.Statement {
	id := "spiffe://" + domain + "/" + name
	body, err := json.Marshal(model.Snapshot{Version: version, TrustDomain: domain, Self: id, Mesh: &model.ResolvedMesh{Stale: stale}})
	if err != nil {
		panic(err)
	}
	return wire.Statement{Kind: wire.Slice, Domain: domain, For: id, Version: version, Order: wire.Order{Term: 1, Number: number}, Made: time.Now(), Body: body}
}

// kept is a keeper as a proxy leaves it behind.
func (i *issuer) kept(name string, statements ...wire.Statement) *memory {
	i.t.Helper()
	m := &memory{all: map[string][]byte{}}
	who, _ := i.svid(name)
	data, err := json.Marshal(who)
	must(i.t, err)
	prefix := "control." + strings.ReplaceAll(name, "/", ".") + "."
	m.all[prefix+identityName] = data
	for _, st := range statements {
		m.all[prefix+string(st.Kind)] = i.sign(st)
	}
	return m
}

type told struct {
	mu      sync.Mutex
	serving []string
	notes   []wire.Note
	stopped bool
	fail    error
}

func (x *told) kinds() (out []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, n := range x.notes {
		out = append(out, n.Kind)
	}
	return out
}

func (x *told) options(name string, keeper Keeper) Options {
	return Options{
		Domain: domain, Name: name, Node: "host", Keeper: keeper, Log: slog.New(slog.DiscardHandler),
		Compile: func(_ context.Context, s *model.Snapshot) (func(), error) {
			if x.fail != nil {
				return nil, x.fail
			}
			return func() { x.mu.Lock(); x.serving = append(x.serving, s.Version); x.mu.Unlock() }, nil
		},
		Stop:   func(stopped bool) { x.mu.Lock(); x.stopped = stopped; x.mu.Unlock() },
		Record: func(_ context.Context, n wire.Note) { x.mu.Lock(); x.notes = append(x.notes, n); x.mu.Unlock() },
	}
}

// TestRefused holds that nothing but what control says to this proxy, now, changes what it serves.
func TestRefused(t *testing.T) {
	i := newIssuer(t)
	x := &told{}
	name := "service/orders"
	keeper := i.kept(name, slice(name, "v5", "stop", 5))
	c, err := Open(t.Context(), x.options(name, keeper))
	must(t, err)
	before, _ := keeper.Load("control.service.orders.slice")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	with := func(change func(*wire.Statement)) wire.Statement {
		st := slice(name, "v6", "stop", 6)
		change(&st)
		return st
	}
	forged, err := wire.NewSealer(key).Sign(new(slice(name, "v6", "stop", 6)))
	must(t, err)
	good := i.sign(slice(name, "v6", "stop", 6))
	tampered := slices.Clone(good)
	tampered[len(tampered)-9] ^= 1
	for what, data := range map[string][]byte{
		"forged": forged, "tampered": tampered, "cut short": good[:len(good)-4], "nothing like it": []byte("{}"),
		"older number": i.sign(slice(name, "v4", "stop", 4)), "older term": i.sign(with(func(s *wire.Statement) { s.Order = wire.Order{Term: 0, Number: 99} })),
		"another's": i.sign(slice("service/web", "v6", "stop", 6)), "another's body": i.sign(with(func(s *wire.Statement) { s.Body = slice("service/web", "v6", "stop", 6).Body })),
		"for all": i.sign(with(func(s *wire.Statement) { s.For = "" })), "another domain": i.sign(with(func(s *wire.Statement) { s.Domain = "other.example" })),
		"another version": i.sign(with(func(s *wire.Statement) { s.Version = "v7" })), "unknown kind": i.sign(with(func(s *wire.Statement) { s.Kind = "order" })),
		"another instance": i.sign(with(func(s *wire.Statement) { s.Only = []string{"other"} })), "not JSON": i.sign(with(func(s *wire.Statement) { s.Body = json.RawMessage(`[]`) })),
	} {
		// Each in a client of its own: what is rejected is decided, and another of that order would be none.
		c, err := Open(t.Context(), x.options(name, keeper))
		must(t, err)
		n := len(x.kinds())
		c.take(t.Context(), bus.Change{Entry: bus.Entry{Key: "x", Value: data}})
		if what != "another instance" && len(x.kinds()) == n {
			t.Errorf("%s is refused in silence", what)
		}
		if after, _ := keeper.Load("control.service.orders.slice"); string(after) != string(before) || c.in.version != "v5" {
			t.Errorf("%s: serves %q", what, c.in.version)
		}
	}
	// And the good one is taken, once; then nothing before it.
	c.take(t.Context(), bus.Change{Entry: bus.Entry{Value: good}})
	if c.in.version != "v6" {
		t.Errorf("serves %q", c.in.version)
	}
	if err := c.accept(t.Context(), i.sign(slice(name, "v5", "stop", 5)), false); !errors.Is(err, ErrReplayed) {
		t.Errorf("replayed: %v", err)
	}
	x.fail = errors.New("no such thing")
	c.take(t.Context(), bus.Change{Entry: bus.Entry{Value: i.sign(slice(name, "v8", "stop", 8))}})
	x.fail = nil
	if c.in.version != "v6" || c.in.accepted || !strings.Contains(c.compose(false).Reason, "no such thing") {
		t.Errorf("after a bad one: %+v", c.in)
	}
	if err := c.accept(t.Context(), i.sign(slice(name, "v7", "stop", 7)), false); !errors.Is(err, ErrReplayed) {
		t.Errorf("one before the bad one: %v", err)
	}
	again, err := Open(t.Context(), x.options(name, keeper))
	must(t, err)
	if again.in.version != "v6" {
		t.Errorf("after a restart it serves %q", again.in.version)
	}
}

type closer struct{ closed bool }

func (c *closer) Close() error { c.closed = true; return nil }

// TestStale holds what happens when control is away for longer than an SVID lives, under both settings, and when it
// comes back.
func TestStale(t *testing.T) {
	for _, mode := range []string{staleStop, staleServe} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(t)
				x := &told{}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c, err := Open(ctx, x.options("service/orders", i.kept("service/orders", slice("service/orders", "v1", mode, 1))))
				must(t, err)
				done := make(chan error, 1)
				go func() { done <- c.Run(ctx) }()
				c.heard()
				_, other := i.svid("service/web") // it lost control when we did
				conn := new(closer)
				p, err := c.Verifier().Verify(other.Chain, peer.AsClient, time.Now())
				must(t, err)
				_, err = c.Live().Track(p, conn)
				must(t, err)
				time.Sleep(59 * time.Minute)
				if _, err := c.Certificate(); err != nil || c.Ready() != nil {
					t.Errorf("before its end: %v, %v", err, c.Ready())
				}
				time.Sleep(31 * time.Minute)
				_, certErr := c.Certificate()
				_, peerErr := c.Verifier().Verify(other.Chain, peer.AsClient, time.Now())
				x.mu.Lock()
				stopped := x.stopped
				x.mu.Unlock()
				loud := 0
				for _, kind := range x.kinds() {
					if kind == "stale-"+mode {
						loud++
					}
				}
				if loud < 25 || c.compose(false).Stale != mode {
					t.Errorf("said %d times; reports %q", loud, c.compose(false).Stale)
				}
				if stop := mode == staleStop; (certErr != nil) != stop || (peerErr != nil) != stop || stopped != stop || conn.closed != stop || (c.Ready() != nil) != stop {
					t.Errorf("certificate %v, peers %v, stopped %v, cut %v, ready %v", certErr, peerErr, stopped, conn.closed, c.Ready())
				}
				// What had ended before control went away is not forgiven.
				key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				must(t, err)
				fresh, err := i.authority.SignX509(ctx, authority.X509Request{ID: c.id, Public: key.Public()})
				must(t, err)
				_, err = c.take509(ctx, key, &wire.EnrolAnswer{Chain: fresh.Chain})
				must(t, err)
				time.Sleep(2 * time.Second)
				if _, err := c.Verifier().Verify(other.Chain, peer.AsClient, time.Now()); (err == nil) != (mode == staleServe) {
					t.Errorf("a peer that has not renewed yet: %v", err)
				}
				time.Sleep(comingBack)
				if _, err := c.Verifier().Verify(other.Chain, peer.AsClient, time.Now()); err == nil {
					t.Error("a peer that could have renewed passes with an old SVID")
				}
				if c.Ready() != nil || !slices.Contains(x.kinds(), "fresh") || x.stopped {
					t.Errorf("back: %v, %v", c.Ready(), x.kinds())
				}
				cancel()
				must(t, <-done)
			})
		})
	}
}
