package journal

import (
	"fmt"
	"os"
)

// Release deletes the segments all of whose records have numbers below before, but never the newest. It is for those who
// keep records in another place from then on, and open the journal with KeepBytes so large that it deletes nothing itself.
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
