package audit

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/shared"
)

// Fleet is the ledger of several controls, in the store that they share. One of them appends; the others stand by, and hold what it
// signs against what they saw before.
type Fleet struct {
	Location string // of the PostgreSQL; secret
	Seen     string // folder in which this control remembers the newest checkpoint that it saw
	Signing  ledger.Signing
	Public   string // text of the public key
}

// Open opens the ledger to append, or returns ErrStandby. That a ledger is not the one that this control saw before is an error on either side.
func (f *Fleet) Open(ctx context.Context, store *shared.Store) (Log, error) {
	if err := os.MkdirAll(f.Seen, 0o700); err != nil {
		return nil, fmt.Errorf("opening the shared ledger: %w", err)
	}
	key, err := store.Keep(ctx, shared.Ledger, keyFile, []byte(f.Public+"\n"))
	if err != nil {
		return nil, fmt.Errorf("publishing the key of the ledger: %w", err)
	}
	if string(key) != f.Public+"\n" {
		return nil, errors.New("the shared ledger is of another key: controls that share a store are of one fleet and one trust domain, with the same name")
	}
	shelf, err := shared.TakeShelf(ctx, f.Location, shared.Ledger)
	if errors.Is(err, shared.ErrHeld) {
		_, _, err = ledger.Remember(ctx, ledger.Files(store.Files(ctx, shared.Ledger)), f.Signing.Verifier, remembered(f.Seen))
		if err == nil {
			err = ErrStandby
		}
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	return ledger.OpenShared(ctx, shelf, f.Signing, remembered(f.Seen))
}
