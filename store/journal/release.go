package journal

import (
	"context"
	"fmt"
	"os"
)

// Turn begins another segment, so that Release can let go of all that is recorded until now. It does nothing if the segment in use has no
// record.
func (j *Journal) Turn(ctx context.Context) error {
	told := make(chan error, 1)
	var err error
	select {
	case j.turn <- told:
		err = <-told
	case <-j.done:
		err = ErrClosed
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("turning journal: %w", err)
	}
	return nil
}

// Release deletes the segments all of whose records have numbers below before, but never the newest. It is for those who
// keep records in another place from then on. What KeepBytes deletes meanwhile is no harm: it is the oldest, too.
func (j *Journal) Release(before uint64) error {
	segs, err := listSegments(j.opts.Dir)
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(segs) && segs[i+1].first <= before; i++ {
		if err := os.Remove(segmentPath(j.opts.Dir, segs[i].first)); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("releasing journal: %w", err)
		}
	}
	return nil
}
