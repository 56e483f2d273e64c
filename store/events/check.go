package events

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"

	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/store/segment"
)

// Objects reads all of the objects in the bucket that have numbers from one on, of which Records reads the columns that it needs, and those of
// which there is a file not at all. It hands out those that are not as they were sealed (*segment.DamageError), with the lowest number of
// each, and any other error, which says that it cannot be told.
func (l *Look) Objects(ctx context.Context, from uint64) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		for _, one := range l.store.segments.all {
			if one.Object == "" || one.Highest < from {
				continue
			}
			if ctx.Err() != nil {
				yield(0, context.Cause(ctx))
				return
			}
			if err := l.store.shelf.whole(one); err != nil && !yield(one.Lowest, err) {
				return
			}
		}
	}
}

// whole holds an object against its checksum.
func (h *shelf) whole(one *sealed) error {
	o, at := &object{of: &one.entry, read: h.read}, int64(0)
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	room := make([]byte, 1<<20)
	for at < one.Bytes {
		p := room[:min(int64(len(room)), one.Bytes-at)]
		if err := o.remote(p, at); err != nil {
			return one.lacks(err)
		}
		_, _ = sum.Write(p) // never fails
		at += int64(len(p))
	}
	if sum.Sum32() != one.Sum {
		return &segment.DamageError{Name: one.Object, Found: "what lies in the bucket has another checksum"}
	}
	// Whoever reads it without us begins at its end.
	switch err := o.remote(room[:1], one.Bytes); {
	case err == nil:
		return &segment.DamageError{Name: one.Object, Found: fmt.Sprintf("what lies in the bucket goes on behind its %d bytes", one.Bytes)}
	case !errors.Is(err, bucket.ErrShort):
		return one.lacks(err)
	}
	return nil
}

// lacks tells what of an object is not there from what cannot be read now.
func (s *sealed) lacks(err error) error {
	if errors.Is(err, bucket.ErrAbsent) || errors.Is(err, bucket.ErrShort) {
		return &segment.DamageError{Name: s.Object, Found: err.Error()}
	}
	return err
}
