package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/journal"
)

// openRecorder opens the journal of a proxy and whatever else looks at events. The caller sets its metrics, and closes it.
func openRecorder(ctx context.Context, o *Options, name, state string, snap *model.Snapshot) (*recorder, error) {
	dir := recordsDir(o, state, snap)
	j, rec, err := journal.Open(journal.Options{Dir: dir, KeepBytes: int64(snap.Audit.Keep)})
	if err != nil {
		if errors.Is(err, journal.ErrLocked) {
			return nil, fmt.Errorf("opening the record: another process writes it; does one run on %s already? Stop that one, or choose another state directory with --state DIR, or another place for records with --audit-dir DIR: %w", state, err)
		}
		return nil, fmt.Errorf("opening the record: %w", err)
	}
	if rec.Cut > 0 {
		slog.WarnContext(ctx, "cut a torn tail off the record; nothing acknowledged was in it", "bytes", rec.Cut, "segment", filepath.Base(rec.CutFrom))
	}
	if rec.Damage != nil {
		slog.ErrorContext(ctx, "the record is damaged; a new segment was begun", "error", rec.Damage)
	}
	r := &recorder{journal: j, dir: dir, name: name}
	switch {
	case o.Quiet:
	case o.JSON:
		r.json = &jsonLines{out: o.Out}
	default:
		r.lines = observe.NewLines(o.Out, o.style())
	}
	return r, nil
}

// recordsDir is where events are kept: as this host says, as declared, or in the state directory.
func recordsDir(o *Options, state string, snap *model.Snapshot) string {
	if o.Audit != "" {
		return o.Audit
	}
	if snap != nil && snap.Audit.Dir != "" {
		return snap.Audit.Dir
	}
	return filepath.Join(state, "events")
}

// unseen are folders beside the state directory that no service may see: records are nobody's business.
func (o *Options) unseen(state string, snap *model.Snapshot) ([]string, error) {
	dir, err := filepath.Abs(recordsDir(o, state, snap))
	if err != nil {
		return nil, fmt.Errorf("finding the records: %w", err)
	}
	if within, err := filepath.Rel(state, dir); err == nil && filepath.IsLocal(within) { // hidden as a whole
		return nil, nil
	}
	return []string{dir}, nil
}
