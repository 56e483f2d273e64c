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

// openRecorder opens the journal and whatever else looks at events. The caller sets its metrics, and closes it.
func openRecorder(ctx context.Context, o *Options, state string, snap *model.Snapshot) (*recorder, error) {
	j, rec, err := journal.Open(journal.Options{Dir: recordsDir(state, snap), KeepBytes: int64(snap.Audit.Keep)})
	if err != nil {
		if errors.Is(err, journal.ErrLocked) {
			return nil, fmt.Errorf("opening the record: another process writes it; does one run on %s already? Stop that one, or choose another state directory with --state DIR: %w", state, err)
		}
		return nil, fmt.Errorf("opening the record: %w", err)
	}
	if rec.Cut > 0 {
		slog.WarnContext(ctx, "cut a torn tail off the record; nothing acknowledged was in it", "bytes", rec.Cut, "segment", filepath.Base(rec.CutFrom))
	}
	if rec.Damage != nil {
		slog.ErrorContext(ctx, "the record is damaged; a new segment was begun", "error", rec.Damage)
	}
	r := &recorder{journal: j}
	switch {
	case o.Quiet:
	case o.JSON:
		r.json = &jsonLines{out: o.Out}
	default:
		r.lines = observe.NewLines(o.Out, o.style())
	}
	return r, nil
}

// recordsDir is where events are kept: as declared, or in the state directory.
func recordsDir(state string, snap *model.Snapshot) string {
	if snap != nil && snap.Audit.Dir != "" {
		return snap.Audit.Dir
	}
	return filepath.Join(state, "events")
}
