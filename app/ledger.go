package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/palisade-security/palisade/app/archive"
	"github.com/palisade-security/palisade/app/audit"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/keyring"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/events"
)

// ledgerKey is the name of the key that signs checkpoints, in the ring.
const ledgerKey = "ledger"

// audited is where a ledger and its records lie in a state directory.
func audited(state string) audit.Place {
	return audit.Place{Ledger: filepath.Join(state, "ledger"), Store: archiveDir(state), Bucket: func() (*bucket.Bucket, error) { return recalledBucket(state) }}
}

// ledgerName is the name of a fleet's ledger.
func ledgerName(snap *model.Snapshot) string { return cmp.Or(snap.TrustDomain, snap.Fleet) + "/ledger" }

// prove has what a memory keeps followed by a ledger in the state directory, signed by a key of the ring.
func (r *recorder) prove(ctx context.Context, m *memory, state string, ring *keyring.Ring, snap *model.Snapshot) error {
	key, err := ring.Ed25519(ctx, ledgerKey)
	if err != nil {
		return fmt.Errorf("opening the key of the ledger: %w", err)
	}
	signer, public, err := ledger.NewSigner(ledgerName(snap), key)
	if err != nil {
		return err
	}
	at := audited(state)
	m.keeper = r.keeper(m, audit.Folder(at.Ledger, signer, public))
	return m.witnesses(snap, func(audit.Source) (*audit.Place, error) { return &at, nil })
}

// keeper appends what a memory keeps to a ledger.
func (r *recorder) keeper(m *memory, open func(context.Context, audit.Source) (audit.Log, error)) *audit.Keeper {
	return &audit.Keeper{
		Ledger: open, Log: slog.Default(), Alarm: r.disagree,
		Open: func(ctx context.Context) (audit.Source, error) { return m.Await(ctx) },
	}
}

// disagree records that the ledger and the store of events do not agree.
func (r *recorder) disagree(ctx context.Context, text string) {
	slog.ErrorContext(ctx, "the ledger and the store of events do not agree", "found", text)
	r.Act(ctx, &event.Event{Act: &event.Act{Kind: event.KindLedger, Outcome: event.Failed, Text: text, Proxy: r.name}})
}

// telling opens a store that records what it deletes for its age, before it does: the ledger has it then.
func (r *recorder) telling(open func(context.Context) (archive.Store, error)) func(context.Context) (archive.Store, error) {
	return func(ctx context.Context) (archive.Store, error) {
		s, err := open(ctx)
		if err == nil {
			s.OnDelete(func(all map[string]events.Deleted) error {
				r.Act(ctx, audit.Deleting(all))
				return r.journal.Err()
			})
		}
		return s, err
	}
}
