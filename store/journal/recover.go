package journal

import (
	"errors"
	"fmt"
	"math"
	"os"
)

// recoverTail finds the end of the newest segment and makes it ready for writing.
//
// What follows the last intact record is a torn write and is cut: it was never acknowledged. If, however,
// an intact record of the journal lies behind it, this is no torn write but damage to what may have been
// acknowledged; the segment is then left as it is and a new one begun after the highest number found.
func recoverTail(dir string, lock *os.File) (tail, Recovery, error) {
	segs, err := listSegments(dir)
	if err != nil {
		return tail{}, Recovery{}, err
	}
	if len(segs) == 0 {
		t, err := createTail(dir, lock, 1)
		return t, Recovery{Segments: 1, Next: 1}, err
	}
	last := segs[len(segs)-1].first
	f, err := os.OpenFile(segmentPath(dir, last), os.O_RDWR, 0)
	if err != nil {
		return tail{}, Recovery{}, fmt.Errorf("opening segment: %w", err)
	}
	s := newScanner(f, last)
	damage, err := s.toEnd()
	if err != nil {
		return tail{}, Recovery{}, errors.Join(err, f.Close())
	}
	rec := Recovery{Segments: len(segs), Next: s.next}
	if s.off < s.size {
		beyond, err := intactBeyond(f, s.off, s.size, s.next)
		if err != nil {
			return tail{}, Recovery{}, errors.Join(err, f.Close())
		}
		if beyond > 0 {
			rec.Damage, rec.Next, rec.Segments = damage, beyond+1, len(segs)+1
			t, err := createTail(dir, lock, rec.Next)
			return t, rec, errors.Join(err, f.Close())
		}
		rec.Cut, rec.CutFrom = s.size-s.off, s.name
	}
	t := tail{dir: dir, file: f, first: last, size: s.off}
	if err := t.settle(lock); err != nil {
		return tail{}, Recovery{}, errors.Join(err, f.Close())
	}
	return t, rec, nil
}

// toEnd reads to the last intact record. It returns the damage that stopped it, also where the file merely
// ends too early.
func (s *scanner) toEnd() (*DamageError, error) {
	if err := s.refresh(); err != nil {
		return nil, err
	}
	_, err := s.record(math.MaxUint64)
	var damage *DamageError
	switch {
	case errors.As(err, &damage):
		return damage, nil
	case errors.Is(err, errEnd):
		return &DamageError{Segment: s.name, Offset: s.off, Seq: s.next, Found: "a record that is cut short"}, nil
	}
	return nil, err
}

// settle cuts the file to its intact part and makes that durable: the records in it may have been written
// by a process that died before its fsync, and what is built on them must not be the first to last.
func (t *tail) settle(lock *os.File) error {
	if err := t.file.Truncate(t.size); err != nil {
		return fmt.Errorf("cutting torn tail: %w", err)
	}
	if t.size == 0 {
		if err := t.begin(); err != nil {
			return err
		}
	}
	if err := t.file.Sync(); err != nil {
		return fmt.Errorf("syncing segment: %w", err)
	}
	if err := lock.Sync(); err != nil {
		return fmt.Errorf("syncing journal directory: %w", err)
	}
	return nil
}

// sumBudget bounds, as a multiple of the bytes searched, the work that made-up frame heads in a payload can
// cause. Beyond it the bytes are kept, as if a record had been found.
const sumBudget = 4

// intactBeyond searches the bytes of f from off to size for intact records with numbers above next and
// returns the highest number, 0 if there is none.
func intactBeyond(f *os.File, off, size int64, next uint64) (uint64, error) {
	buf := make([]byte, size-off)
	if _, err := f.ReadAt(buf, off); err != nil {
		return 0, fmt.Errorf("reading segment: %w", err)
	}
	highest := uint64(0)
	most := next + uint64(len(buf)/frameHead) // no more records than that fit
	budget := sumBudget * len(buf)
	for at := 1; at+frameHead <= len(buf); at++ {
		h := parseFrame(buf[at:])
		end := at + frameHead + int(h.length)
		if h.seq <= next || h.seq > most || h.length > MaxRecordLimit || end > len(buf) {
			continue
		}
		if budget -= int(h.length); budget < 0 {
			return most, nil
		}
		if h.intact(buf[at+frameHead : end]) {
			highest = max(highest, h.seq)
			at = end - 1
		}
	}
	return highest, nil
}
