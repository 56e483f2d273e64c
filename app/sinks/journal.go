package sinks

import (
	"context"
	"errors"
	"iter"

	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/query"
)

// FromJournal follows the journal of this process, those of its events that a query means. Head is what the journal says of
// itself.
func FromJournal(dir string, head func() uint64, where query.Query) sink.Source {
	return &journaled{dir: dir, head: head, where: where}
}

type journaled struct {
	dir   string
	head  func() uint64
	where query.Query

	pull func() (journal.Record, error, bool) // nil: nothing is followed yet
	stop func()
	at   uint64          // where pull goes on
	kept *journal.Record // pulled, and for the next batch
}

// Head is sink.Source's.
func (j *journaled) Head() uint64 { return j.head() }

// Close ends following.
func (j *journaled) Close() error {
	if j.stop != nil {
		j.stop()
	}
	j.pull, j.stop, j.kept = nil, nil, nil
	return nil
}

// Next is sink.Source's. All calls are given the same ctx, or Close comes between.
func (j *journaled) Next(ctx context.Context, from uint64, most sink.Bound) (sink.Batch, error) {
	if from > j.head() {
		from = 0
	}
	if j.pull == nil || j.at != from {
		_ = j.Close() // it has no error
		j.pull, j.stop = iter.Pull2(journal.Follow(ctx, j.dir, from))
	}
	g := gathering{where: &j.where, most: most, batch: sink.Batch{Next: max(from, 1)}, first: from == 0}
	for g.batch.Next == max(from, 1) || g.batch.Next < j.head() {
		r, err := j.next()
		if err != nil {
			if ctx.Err() != nil {
				return sink.Batch{}, context.Cause(ctx)
			}
			if _, damaged := errors.AsType[*journal.DamageError](err); damaged {
				continue // the records in it are missing before the next
			}
			if _, gap := errors.AsType[*journal.GapError](err); gap {
				continue
			}
			return sink.Batch{}, errors.Join(err, j.Close())
		}
		left, more := g.add(r.Seq, r.Data)
		if left {
			j.kept = &r
		}
		if !more {
			break
		}
	}
	j.at = g.batch.Next
	return g.batch, nil
}

var errEnded = errors.New("following the journal has ended")

func (j *journaled) next() (journal.Record, error) {
	if r := j.kept; r != nil {
		j.kept = nil
		return *r, nil
	}
	r, err, ok := j.pull()
	if !ok {
		return r, errEnded
	}
	return r, err
}
