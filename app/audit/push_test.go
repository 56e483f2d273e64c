package audit

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/palisade-security/palisade/internal/pgtest"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/events"
)

// remote is a second party that is asked to sign.
type remote struct {
	own    string
	url    *url.URL
	away   atomic.Bool
	asked  atomic.Int64
	public string
}

// newRemote serves a witness of a ledger.
func newRemote(t *testing.T, name, key string) *remote {
	t.Helper()
	r := &remote{own: t.TempDir()}
	w, err := OpenWitness(r.own, name, key)
	must(t, err)
	answering := Answering(w, r.own, slog.New(slog.DiscardHandler))
	s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, q *http.Request) {
		r.asked.Add(1)
		if r.away.Load() {
			http.Error(out, "", http.StatusServiceUnavailable)
			return
		}
		answering.ServeHTTP(out, q)
	}))
	t.Cleanup(s.Close)
	r.url, err = url.Parse(s.URL)
	must(t, err)
	r.public = string(textOf(t, filepath.Join(r.own, witnessPublic)))
	return r
}

// newPusher asks witnesses.
func newPusher(t *testing.T, all ...*remote) *Pusher {
	t.Helper()
	p := &Pusher{Log: slog.New(slog.DiscardHandler), signed: map[string]uint64{}, failed: map[string]string{}}
	for _, r := range all {
		one, err := ledger.NewRemote(r.public, r.url, nil)
		must(t, err)
		p.Witnesses = append(p.Witnesses, one)
	}
	return p
}

// TestPush has two witnesses sign what a ledger comes to; what they have signed verifies, in an export as well; one of them being away, what both had signed
// stays.
func TestPush(t *testing.T) {
	p, all := newPlace(t), given(900)
	p.keep(t, events.Options{}, all[:300])
	key := filepath.Join(p.Ledger, keyFile)
	one, two := newRemote(t, "one.example", key), newRemote(t, "two.example", key)
	trust := &Trust{Key: key, Witnesses: []string{filepath.Join(one.own, witnessPublic), filepath.Join(two.own, witnessPublic)}}
	if r, err := VerifyStore(t.Context(), p.Place, time.Time{}, trust); err == nil {
		t.Errorf("nobody has signed: %+v", r)
	}
	pusher := newPusher(t, one, two)
	two.away.Store(true)
	must(t, pusher.push(t.Context(), &p.Place))
	_, err := VerifyStore(t.Context(), p.Place, time.Time{}, trust)
	if err == nil || !strings.Contains(err.Error(), "1 of 2 witnesses") || !strings.Contains(err.Error(), `"two.example"`) || strings.Contains(err.Error(), `"one.example"`) {
		t.Errorf("one has not signed: %v", err)
	}
	two.away.Store(false)
	must(t, pusher.push(t.Context(), &p.Place))
	witnessed := func(n uint64, beyond uint64) {
		t.Helper()
		r := p.verify(t, trust)
		if !r.Sound() || r.Verified != n || r.Beyond != beyond || !slices.Equal(r.Checkpoint.Witnesses, []string{"one.example", "two.example"}) {
			t.Errorf("%+v, want %d", r, n)
		}
	}
	witnessed(300, 0)
	asked := one.asked.Load()
	if must(t, pusher.push(t.Context(), &p.Place)); one.asked.Load() != asked {
		t.Error("what is signed is asked for again")
	}
	p.keep(t, events.Options{}, all[300:700])
	two.away.Store(true)
	must(t, pusher.push(t.Context(), &p.Place))
	witnessed(300, 400)
	two.away.Store(false)
	must(t, pusher.push(t.Context(), &p.Place))
	witnessed(700, 0)
	must(t, newPusher(t, one, two).push(t.Context(), &p.Place)) // another process
	p.keep(t, events.Options{}, all[700:])
	pusher = newPusher(t, one, two)
	out := t.TempDir()
	_, err = Export(t.Context(), p.Place, Part{}, nil, out)
	must(t, err)
	if r, err := VerifyExport(t.Context(), out, trust); err != nil || !r.Sound() || r.Verified != 700 || r.Beyond != 200 {
		t.Errorf("an export: %+v, %v", r, err)
	}
	must(t, pusher.push(t.Context(), &p.Place))
	witnessed(900, 0)

	// The owner of the key writes the same number of records anew.
	before := textOf(t, filepath.Join(p.Ledger, witnessedFile))
	other := newPlace(t)
	other.keeper.Ledger = Folder(other.Ledger, p.signer, p.public)
	other.keep(t, events.Options{}, given(1000)[100:])
	must(t, newPusher(t, one, two).push(t.Context(), &other.Place))
	if _, err := os.Stat(filepath.Join(other.Ledger, witnessedFile)); err == nil {
		t.Error("another history is signed")
	}
	now := textOf(t, filepath.Join(other.Ledger, checkpointFile))
	if refused := textOf(t, filepath.Join(one.own, witnessRefused)); string(refused) != string(now) {
		t.Errorf("refused is\n%s\nnot\n%s", refused, now)
	}
	if string(textOf(t, filepath.Join(p.Ledger, witnessedFile))) != string(before) {
		t.Error("what was signed is gone")
	}
}

// TestPushShared has the control that appends to a shared ledger ask for signatures, beside appending.
func TestPushShared(t *testing.T) {
	var postgres pgtest.Server
	t.Cleanup(postgres.Stop)
	s, control := newFleet(t, postgres.Database(t))
	fleet := control()
	key := filepath.Join(t.TempDir(), keyFile)
	must(t, os.WriteFile(key, []byte(fleet.Public+"\n"), 0o600))
	one := newRemote(t, "one.example", key)
	k := &Keeper{
		Ledger: func(ctx context.Context, _ Source) (Log, error) { return fleet.Open(ctx, s) }, Open: func(context.Context) (Source, error) { return s, nil },
		Alarm: func(_ context.Context, text string) { t.Error(text) }, Log: slog.New(slog.DiscardHandler),
	}
	at, pusher := &Place{Shared: s}, newPusher(t, one)
	pushed := make(chan struct{})
	k.Beside = func(ctx context.Context, _ Source) {
		defer close(pushed)
		for ctx.Err() == nil && pusher.kept == nil {
			if err := pusher.push(ctx, at); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			poll(t, "nobody signs", nil)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	must(t, s.Append(t.Context(), given(100)))
	<-pushed
	cancel()
	must(t, <-done)
	r, err := VerifyStore(t.Context(), *at, time.Time{}, &Trust{Witnesses: []string{filepath.Join(one.own, witnessPublic)}})
	if err != nil || !r.Sound() || r.Verified == 0 || !slices.Equal(r.Checkpoint.Witnesses, []string{"one.example"}) {
		t.Errorf("%+v, %v", r, err)
	}
}
