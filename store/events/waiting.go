package events

import (
	"math"
	"time"
)

// Waiting is what is due in the bucket and is not there yet: what would be lost with the disk.
type Waiting struct {
	Segments int
	Bytes    int64
	Oldest   time.Time // of their events; zero: nothing waits
}

// Waiting tells what waits to be brought to the bucket, in files without bound while the bucket is away; false if the store has none.
func (s *Store) Waiting(now time.Time) (Waiting, bool) {
	out, first := Waiting{}, int64(math.MaxInt64)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, one := range s.segments.all {
		if one.due(now) {
			out.Segments, out.Bytes, first = out.Segments+1, out.Bytes+one.Bytes, min(first, one.First)
		}
	}
	if out.Segments > 0 {
		out.Oldest = time.Unix(0, first)
	}
	return out, s.opts.Bucket != nil
}

// due tells whether a segment is to be brought to the bucket.
func (s *sealed) due(now time.Time) bool {
	return s.Object == "" && s.err == nil && now.Sub(time.Unix(0, s.First).Truncate(time.Hour)) >= ripe
}
