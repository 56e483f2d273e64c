package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/pgtest"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/segment"
	"github.com/palisade-security/palisade/store/shared"
)

// TestShared: of two controls one appends and the other stands by, takes over, and what they kept verifies.
func TestShared(t *testing.T) {
	var postgres pgtest.Server
	t.Cleanup(postgres.Stop)
	s, control := newFleet(t, postgres.Database(t))
	one, two := control(), control()
	all := given(700)
	must(t, s.Append(t.Context(), all))
	var hashes []ledger.Hash
	for r, err := range s.Records(t.Context(), 1) {
		must(t, err)
		hashes = append(hashes, ledger.HashOf(r.JSON()))
	}
	first, err := one.Open(t.Context(), s)
	must(t, err)
	must(t, first.Append(t.Context(), 0, hashes[:400]))
	if _, err := two.Open(t.Context(), s); !errors.Is(err, ErrStandby) {
		t.Errorf("both append: %v", err)
	}
	must(t, first.Close(t.Context()))
	second, err := two.Open(t.Context(), s)
	must(t, err)
	if second.Size() != 400 {
		t.Errorf("%d records", second.Size())
	}
	must(t, second.Append(t.Context(), 300, hashes[300:]))
	must(t, second.Close(context.WithoutCancel(t.Context())))
	r, err := VerifyStore(t.Context(), Place{Shared: s}, time.Time{}, &Trust{})
	must(t, err)
	if !r.Sound() || r.Verified != uint64(len(hashes)) {
		t.Errorf("%+v", r)
	}
	out := t.TempDir()
	if _, err := Export(t.Context(), Place{Shared: s}, Part{}, nil, out); err != nil {
		t.Fatal(err)
	}
	if r, err := VerifyExport(t.Context(), out, &Trust{}); err != nil || !r.Sound() {
		t.Errorf("%+v, %v", r, err)
	}
}

// newFleet opens a store in a database, and makes controls that keep a ledger there.
func newFleet(t *testing.T, location string) (*shared.Store, func() *Fleet) {
	t.Helper()
	s, err := shared.Open(t.Context(), location)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	signer, public, err := ledger.NewSigner("shop.example/ledger", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	must(t, err)
	verifier, err := ledger.NewVerifier(public)
	must(t, err)
	return s, func() *Fleet {
		return &Fleet{Location: location, Seen: t.TempDir(), Signing: ledger.Signing{Signer: signer, Verifier: verifier}, Public: public}
	}
}

// TestSharedRetention deletes old events with the act that says so, and then one more.
func TestSharedRetention(t *testing.T) {
	var postgres pgtest.Server
	t.Cleanup(postgres.Stop)
	location := postgres.Database(t)
	s, control := newFleet(t, location)
	fleet := control()
	k := &Keeper{
		Ledger: func(ctx context.Context, _ Source) (Log, error) { return fleet.Open(ctx, s) }, Open: func(context.Context) (Source, error) { return s, nil },
		Alarm: func(_ context.Context, text string) { t.Error(text) }, Log: slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() { cancel(); must(t, <-done) })
	s.OnDelete(func(d map[string]events.Deleted) error {
		e := Deleting(d)
		e.Time = start.Add(200 * time.Hour)
		e.ID = event.NewID(e.Time)
		return s.Append(t.Context(), []*event.Event{e})
	})
	must(t, s.Append(t.Context(), given(3000)))
	covered := func(n uint64) *Result {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			r, err := VerifyStore(ctx, Place{Shared: s}, time.Time{}, &Trust{})
			if err == nil && r.Checkpoint.Size == n {
				return r
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatal(r, err)
			}
		}
	}
	covered(3000)
	must(t, s.Retain(t.Context(), start.Add(25*time.Hour), shared.Keeping{Class: map[string]time.Duration{segment.ClassRequest: 24*time.Hour + 30*time.Minute}}))
	if r := covered(3001); !r.Sound() || r.Deleted < 500 || r.Verified+r.Deleted != 3001 {
		t.Errorf("%+v", r)
	}
	postgres.SQL(t, location, "DELETE FROM events WHERE number = (SELECT max(number) FROM events WHERE class = 'request')")
	if r := covered(3001); r.Sound() || r.Findings[0].Kind != ledger.Missing {
		t.Errorf("%+v", r)
	}
}
