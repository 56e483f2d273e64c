package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/palisade-security/palisade/internal/pgtest"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/shared"
)

// TestShared: of two controls one appends and the other stands by, takes over, and what they kept verifies.
func TestShared(t *testing.T) {
	var postgres pgtest.Server
	t.Cleanup(postgres.Stop)
	location := postgres.Database(t)
	s, err := shared.Open(t.Context(), location)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	signer, public, err := ledger.NewSigner("shop.example/ledger", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	must(t, err)
	verifier, err := ledger.NewVerifier(public)
	must(t, err)
	control := func() *Fleet {
		return &Fleet{Location: location, Seen: t.TempDir(), Signing: ledger.Signing{Signer: signer, Verifier: verifier}, Public: public}
	}
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
