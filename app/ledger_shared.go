package app

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"

	"github.com/palisade-security/palisade/app/audit"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/shared"
)

// sealedLedgerKey is the file of a shared ledger that has its key, sealed by the ring that all its controls have.
const sealedLedgerKey = "key.sealed"

var errNotShared = errors.New("opening the shared ledger: the events are not in the shared store")

// seenDir is where a control remembers the newest checkpoint of a shared ledger that it saw.
func seenDir(state string) string { return filepath.Join(controlFolder(state), "ledger") }

// prove has what a control keeps followed by a ledger: its own, or the one that it keeps with others.
func (s *stand) prove(ctx context.Context, r *recorder, m *memory, ring *keyring.Ring) error {
	if s.shared == "" {
		return r.prove(ctx, m, s.state, ring, s.snap)
	}
	m.keeper = r.keeper(m, func(ctx context.Context, of audit.Source) (audit.Log, error) {
		events, ok := of.(*sharedEvents)
		if !ok {
			return nil, errNotShared
		}
		fleet, err := s.fleetLedger(ctx, events.Store, ring)
		if err != nil {
			return nil, err
		}
		return fleet.Open(ctx, events.Store)
	})
	return m.witnesses(s.snap, func(of audit.Source) (*audit.Place, error) { return sharedLedger(of) })
}

// sharedLedger is the ledger in the store that several controls share.
func sharedLedger(of any) (*audit.Place, error) {
	events, ok := of.(*sharedEvents)
	if !ok {
		return nil, errNotShared
	}
	return &audit.Place{Shared: events.Store}, nil
}

// publish shows the ledger that prove begins to others.
func (s *stand) publish(m *memory) http.Handler {
	if s.shared == "" {
		return publishedIn(s.state)
	}
	return audit.Published(func() (*audit.Place, error) {
		of, err := m.Opened()
		if err != nil {
			return nil, err
		}
		return sharedLedger(of)
	}, slog.Default())
}

// fleetLedger is the ledger of several controls, with the key that the first of them made.
func (s *stand) fleetLedger(ctx context.Context, store *shared.Store, ring *keyring.Ring) (*audit.Fleet, error) {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails
	sealed, err := ring.Seal(ledgerKey, seed)
	if err == nil {
		sealed, err = store.Keep(ctx, shared.Ledger, sealedLedgerKey, sealed)
	}
	if err == nil {
		seed, err = ring.Open(ledgerKey, sealed)
	}
	if err == nil && len(seed) != ed25519.SeedSize {
		err = fmt.Errorf("it has %d bytes", len(seed))
	}
	if err != nil {
		return nil, sameRing(fmt.Errorf("opening the key of the shared ledger: %w", err))
	}
	out := &audit.Fleet{Location: s.shared, Seen: seenDir(s.state)}
	out.Signing.Signer, out.Public, err = ledger.NewSigner(ledgerName(s.snap), ed25519.NewKeyFromSeed(seed))
	if err == nil {
		out.Signing.Verifier, err = ledger.NewVerifier(out.Public)
	}
	return out, err
}
