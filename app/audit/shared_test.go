package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
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

// TestSharedServed has a witness read over HTTPS what two controls keep in PostgreSQL: while one appends, when the other has taken over, while the
// database is gone, and after an older copy of it was put back.
func TestSharedServed(t *testing.T) {
	var postgres pgtest.Server
	t.Cleanup(postgres.Stop)
	location := postgres.Database(t)
	s, control := newFleet(t, location)
	one, two := control(), control()
	at, own, key := servedAt(t, func() (*Place, error) { return &Place{Shared: s}, nil }), t.TempDir(), filepath.Join(t.TempDir(), keyFile)
	must(t, os.WriteFile(key, []byte(one.Public+"\n"), 0o600))
	witness := func() error {
		_, err := Witness(t.Context(), at, own, "auditor.example", key)
		return err
	}
	signed := func(n uint64) {
		t.Helper()
		last, err := remembered(own).Last()
		must(t, err)
		if c, err := (&ledger.Keys{Ledger: one.Signing.Verifier}).Checkpoint(last); err != nil || c.Size != n {
			t.Errorf("%+v, %v, want %d records", c, err, n)
		}
	}
	first, err := one.Open(t.Context(), s)
	must(t, err)
	if err := witness(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a ledger without records: %v", err)
	}
	some := make([]ledger.Hash, 97)
	for i := range some {
		some[i] = ledger.HashOf([]byte{byte(i)})
	}
	must(t, first.Append(t.Context(), 0, some))
	postgres.SQL(t, location, "CREATE TABLE before AS SELECT * FROM ledger_files")
	const rounds = 30
	appended := make(chan error, 1)
	go func() {
		for range rounds - 1 {
			if err := first.Append(t.Context(), first.Size(), some); err != nil {
				appended <- err
				return
			}
		}
		appended <- nil
	}()
	for busy := true; busy; {
		must(t, witness())
		select {
		case err := <-appended:
			must(t, err)
			busy = false
		default:
		}
	}
	must(t, witness())
	signed(rounds * 97)

	must(t, first.Close(t.Context()))
	second, err := two.Open(t.Context(), s)
	must(t, err)
	must(t, second.Append(t.Context(), rounds*97, some))
	must(t, witness())
	signed((rounds + 1) * 97)

	postgres.Kill()
	if err := witness(); err == nil || !strings.Contains(err.Error(), "Service Unavailable") || errors.Is(err, ledger.ErrForked) || errors.Is(err, ledger.ErrRolledBack) {
		t.Errorf("without PostgreSQL: %v", err)
	}
	must(t, postgres.Run())
	must(t, witness())
	signed((rounds + 1) * 97)
	_ = second.Close(t.Context()) // its connection is gone

	postgres.SQL(t, location, "DELETE FROM ledger_files; INSERT INTO ledger_files SELECT * FROM before")
	if err := witness(); !errors.Is(err, ledger.ErrRolledBack) {
		t.Errorf("an older copy: %v", err)
	}
	if _, err := two.Open(t.Context(), s); !errors.Is(err, ledger.ErrRolledBack) {
		t.Errorf("the control that saw more: %v", err)
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
