package journal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"
)

const (
	pollEvery = 25 * time.Millisecond
	// patience is how many polls a follower gives a record that fails its checksum at the very end of the
	// journal, where the writer may be in the middle of it.
	patience = 4
)

// Read yields the records in dir from sequence number from on (0: from the oldest), up to the end as it is
// then. It takes no lock and may run while a process writes; it may then see records that are not yet
// acknowledged. A *DamageError says that a segment is damaged, and reading goes on with the next segment; a
// *GapError says that records are gone, and reading goes on after them. Any other error is the last
// element.
func Read(dir string, from uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		c := &cursor{dir: dir, next: from}
		c.drain(yield)
		c.close()
	}
}

// Follow is Read that does not end at the end: it waits for new records, across segments, until ctx is
// done, and then ends without an error.
func Follow(ctx context.Context, dir string, from uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		c := &cursor{dir: dir, next: from, patience: patience}
		defer c.close()
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for ctx.Err() == nil && c.drain(func(r Record, err error) bool { return yield(r, err) && ctx.Err() == nil }) {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}
}

// cursor is a reader's place in the journal.
type cursor struct {
	dir      string
	next     uint64   // 0: the oldest record
	seg      *scanner // nil before the first segment
	patience int
	suspect  int  // polls that met the same damage at the end
	told     bool // the damage in this segment has been reported
}

func (c *cursor) close() {
	if c.seg != nil {
		_ = c.seg.file.Close() // opened for reading: nothing can be lost
	}
}

// drain yields all there is. It reports whether reading may go on later.
func (c *cursor) drain(yield func(Record, error) bool) bool {
	for {
		// The list comes before the bytes: if it shows a newer segment, this one is complete.
		segs, err := listSegments(c.dir)
		if err != nil {
			yield(Record{}, err)
			return false
		}
		if c.seg == nil {
			if len(segs) == 0 {
				return true
			}
			if !c.enter(start(segs, c.next), yield) {
				return false
			}
			continue
		}
		newer, rotated := after(segs, c.seg.first)
		if !c.each(rotated, yield) {
			return false
		}
		if !rotated {
			return true
		}
		if !c.enter(newer, yield) {
			return false
		}
	}
}

// start picks the segment that holds record next.
func start(segs []segment, next uint64) uint64 {
	first := segs[0].first
	for _, s := range segs {
		if s.first <= next {
			first = s.first
		}
	}
	return first
}

func after(segs []segment, first uint64) (uint64, bool) {
	for _, s := range segs {
		if s.first > first {
			return s.first, true
		}
	}
	return 0, false
}

// enter moves to the segment that begins with first.
func (c *cursor) enter(first uint64, yield func(Record, error) bool) bool {
	f, err := os.Open(segmentPath(c.dir, first))
	if errors.Is(err, os.ErrNotExist) {
		return true // deleted since it was listed: the next list shows
	}
	if err != nil {
		yield(Record{}, fmt.Errorf("opening segment: %w", err))
		return false
	}
	c.close()
	c.seg, c.told, c.suspect = newScanner(f, first), false, 0
	if c.next != 0 && first > c.next {
		gap := &GapError{From: c.next, To: first - 1}
		c.next = first
		return yield(Record{}, gap)
	}
	c.next = max(c.next, first)
	return true
}

// each yields the records of the current segment. complete says that nothing will be added to it.
func (c *cursor) each(complete bool, yield func(Record, error) bool) bool {
	if err := c.seg.refresh(); err != nil {
		yield(Record{}, err)
		return false
	}
	for {
		rec, err := c.seg.record(c.next)
		if err == nil {
			c.next, c.suspect = rec.Seq+1, 0
			if !yield(rec, nil) {
				return false
			}
			continue
		}
		var damage *DamageError
		switch {
		case errors.As(err, &damage):
		case !errors.Is(err, errEnd):
			yield(Record{}, err)
			return false
		case !complete || c.seg.off == c.seg.size && c.seg.off > 0:
			return true
		default:
			damage = &DamageError{Segment: c.seg.name, Offset: c.seg.off, Seq: c.seg.next, Found: "a record that is cut short"}
		}
		return c.tell(damage, complete, yield)
	}
}

// tell reports damage once for each segment.
func (c *cursor) tell(damage *DamageError, complete bool, yield func(Record, error) bool) bool {
	c.suspect++
	if c.told || !complete && c.suspect <= c.patience {
		return true
	}
	c.told = true
	return yield(Record{}, damage)
}
