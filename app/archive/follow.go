// Package archive brings what a process records to where the events of a fleet are kept, and finds events there: it follows the
// journal, keeps a store of events open, and searches the journal itself where there is no store. It decides nothing
// about who may ask.
package archive

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
)

// Follower hands what a journal holds to where it is kept, in order and at least once: where it is, is in a file. One runs
// on a file at a time.
type Follower struct {
	Journal  string        // folder
	Position string        // file that says how far the records are handed on
	Bytes    int           // of the records of a batch, about; default 1 MiB
	Linger   time.Duration // how long a record waits for others; default 50 ms
	// Deliver returns when records are safe elsewhere. It is called again with the same ones until it succeeds or the context ends.
	Deliver func(context.Context, []journal.Record) error
	// Lost is told of records that were gone before they were handed on.
	Lost func(ctx context.Context, n uint64, why string)
	// Kept is told up to which number the file says that records are handed on: the journal need not have them any more. Nil: nobody is.
	Kept func(ctx context.Context, upTo uint64)
	Log  *slog.Logger

	last *journal.Record // handed on, and not yet in the file
	kept time.Time       // when the file was written

	oldest atomic.Int64           // end of the oldest event that waits, in nanoseconds since 1970; 0: none waits
	failed atomic.Pointer[string] // why the last try failed; nil: it did not
}

const (
	batchRecords = 1024
	batchBytes   = 1 << 20
	keepEvery    = time.Second // that the file is written while records come: after a crash as much is handed on again
	linger       = 50 * time.Millisecond
	queued       = 16 // records that are read ahead
	firstPause   = 100 * time.Millisecond
	lastPause    = 5 * time.Second
)

// Behind is how old the oldest event is that is not where it is kept.
func (f *Follower) Behind() time.Duration {
	at := f.oldest.Load()
	if at == 0 {
		return 0
	}
	return max(time.Since(time.Unix(0, at)), 0)
}

// Err returns why events are not handed on, nil if they are.
func (f *Follower) Err() error {
	if why := f.failed.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}

// Run follows the journal until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	for {
		f.hand(ctx, journal.Follow)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lastPause): // the journal could not be read: its folder is not there yet
		}
	}
}

// CatchUp hands on what the journal holds now.
func (f *Follower) CatchUp(ctx context.Context) error {
	f.hand(ctx, func(_ context.Context, dir string, from uint64) reading { return journal.Read(dir, from) })
	return context.Cause(ctx)
}

// reading is what journal.Read and journal.Follow return.
type reading = iter.Seq2[journal.Record, error]

// found is a record, or why there is none.
type found struct {
	record journal.Record
	err    error
}

// hand hands on what is read, from where the last one ended.
func (f *Follower) hand(ctx context.Context, read func(context.Context, string, uint64) reading) {
	ctx, cancel := context.WithCancel(ctx)
	at := f.begin()
	if at > 1 {
		f.tell(ctx, at-1)
	}
	in, done := make(chan found, queued), make(chan struct{})
	go func() {
		defer close(done)
		defer close(in)
		read(ctx, f.Journal, at)(func(r journal.Record, err error) bool {
			select {
			case in <- found{r, err}:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	defer func() {
		cancel()
		<-done
		f.note(ctx, true)
	}()
	for {
		batch, ok, wrong := f.gather(in)
		if len(batch) > 0 && !f.deliver(ctx, batch) {
			return
		}
		if wrong != nil {
			f.miss(ctx, wrong)
		}
		if len(batch) == 0 { // nothing has come for a while
			f.note(ctx, true)
		}
		if !ok {
			return
		}
	}
}

// gather takes what comes together. It ends at an error, which it returns, and with nothing if the file is to be written meanwhile; ok is
// false after the last record.
func (f *Follower) gather(in <-chan found) (batch []journal.Record, ok bool, wrong error) {
	most, size := cmp.Or(f.Bytes, batchBytes), 0
	var late <-chan time.Time
	if f.last != nil {
		late = time.After(keepEvery)
	}
	for len(batch) < batchRecords && size < most {
		select {
		case one, more := <-in:
			switch {
			case !more:
				return batch, false, nil
			case one.err != nil:
				return batch, true, one.err
			}
			batch, size = append(batch, one.record), size+len(one.record.Data)
			if len(batch) == 1 {
				late = time.After(cmp.Or(f.Linger, linger))
			}
		case <-late:
			return batch, true, nil
		}
	}
	return batch, true, nil
}

// deliver hands a batch on, and tells whether it did before ctx ended.
func (f *Follower) deliver(ctx context.Context, batch []journal.Record) bool {
	f.oldest.Store(ended(batch[0].Data).UnixNano())
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := f.Deliver(ctx, batch)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return false
		}
		why := err.Error()
		if was := f.failed.Swap(&why); was == nil {
			f.Log.WarnContext(ctx, "events are not handed on; they wait in the record", "error", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
	if f.failed.Swap(nil) != nil {
		f.Log.InfoContext(ctx, "events are handed on again")
	}
	f.oldest.Store(0)
	last := batch[len(batch)-1] // alone: the others need not stay in memory
	f.last = &last
	f.note(ctx, false)
	return true
}

// note keeps how far records are handed on, if it is time to or now.
func (f *Follower) note(ctx context.Context, now bool) {
	if f.last == nil || !now && time.Since(f.kept) < keepEvery {
		return
	}
	if err := f.keep(f.last); err != nil { // they are handed on again after a restart, which does no harm
		f.Log.WarnContext(ctx, "how far events are handed on is not kept", "error", err)
		return
	}
	f.tell(ctx, f.last.Seq)
	f.last, f.kept = nil, time.Now()
}

// tell says how far the journal is not needed any more.
func (f *Follower) tell(ctx context.Context, upTo uint64) {
	if f.Kept != nil {
		f.Kept(ctx, upTo)
	}
}

// ended is when what a record tells of had ended; now if it cannot be read.
func ended(data []byte) time.Time {
	if e, err := event.Parse(data); err == nil {
		return e.Time.Add(e.Took)
	}
	return time.Now()
}

// miss takes note of records that cannot be read.
func (f *Follower) miss(ctx context.Context, err error) {
	if gap, ok := errors.AsType[*journal.GapError](err); ok {
		f.Lost(ctx, gap.To-gap.From+1, "they left the record before they were handed on")
		return
	}
	f.Log.WarnContext(ctx, "the record is damaged", "error", err) // what is missing then is a gap
}
