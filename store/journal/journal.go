// Package journal is the durable local log of a process: opaque records, numbered from 1 without gaps,
// in checksummed segment files, many writers sharing one fsync. An acknowledged record survives the death
// of the process and of the machine's power.
//
// It is for what must not be lost before somebody else has it: events on their way to the store. It is not
// a table and not a queue: nothing is searched, changed or confirmed in it, and the oldest segments go when
// the space is used up. One process writes; any number of processes read while it does.
package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Limits and defaults of Options.
const (
	DefaultSegmentBytes = 64 << 20
	DefaultKeepBytes    = 1 << 30
	DefaultMaxRecord    = 1 << 20
	DefaultMaxPending   = 16384
	DefaultPendingBytes = 8 << 20
	DefaultLinger       = 10 * time.Millisecond

	// MaxRecordLimit is the most that Options.MaxRecord may be. Readers take no larger length for real.
	MaxRecordLimit = 16 << 20
)

// Options say where a journal lives and how large it may become. The zero value of everything but Dir is
// its default.
type Options struct {
	Dir          string        // created with mode 0700 if absent; segment files have mode 0600
	SegmentBytes int64         // size at which the next segment is begun
	KeepBytes    int64         // size of all segments above which the oldest are deleted, never the newest
	MaxRecord    int           // bytes of the largest record
	MaxPending   int           // records that wait for the disk at a time
	PendingBytes int           // bytes that wait for the disk at a time
	Linger       time.Duration // how long an offered record may wait for company; negative: not at all
}

// The errors on which a caller may branch.
var (
	ErrClosed   = errors.New("journal is closed")
	ErrLocked   = errors.New("journal is held by another writer")
	ErrTooLarge = errors.New("record is larger than the journal takes")
)

// Journal is the writing end. Its methods are safe for concurrent use.
type Journal struct {
	opts Options
	keep atomic.Int64 // as Options.KeepBytes, or as Keep said last
	lock *os.File     // the directory, held by flock and fsynced when a segment comes into being
	wake chan struct{}
	turn chan chan error // asks the committer for another segment
	quit chan struct{}
	done chan struct{} // closed when the committer has ended

	mu     sync.Mutex
	batch  *batch // what waits for the committer
	spare  []byte // a used buffer for the next batch
	next   uint64 // sequence number of the next record
	err    error  // why the journal failed; never cleared
	closed bool

	tail tail // owned by the committer
}

// Recovery is what Open found and did.
type Recovery struct {
	Segments int          // segment files, the one in use included
	Next     uint64       // sequence number of the next record
	Cut      int64        // bytes of a torn tail that were cut off; none of them had been acknowledged
	CutFrom  string       // the segment they were cut from
	Damage   *DamageError // the newest segment was damaged before intact records: it was left and a new one begun
}

// Open takes the journal in o.Dir for writing, cuts a torn tail and starts the committer. It looks at the
// newest segment only; damage in older ones is met by readers. The error wraps ErrLocked if another
// process, or another Journal in this one, holds the directory.
func Open(o Options) (*Journal, Recovery, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, Recovery{}, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, Recovery{}, fmt.Errorf("creating journal: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, Recovery{}, err
	}
	t, rec, err := recoverTail(o.Dir, lock)
	if err != nil {
		return nil, Recovery{}, errors.Join(fmt.Errorf("recovering journal: %w", err), lock.Close())
	}
	j := &Journal{
		opts: o, lock: lock, tail: t, next: rec.Next,
		wake: make(chan struct{}, 1), turn: make(chan chan error), quit: make(chan struct{}), done: make(chan struct{}),
	}
	j.batch = newBatch(nil)
	j.keep.Store(o.KeepBytes)
	j.retire()
	go j.commit()
	return j, rec, nil
}

// Keep changes Options.KeepBytes, from the next segment on.
func (j *Journal) Keep(bytes int64) { j.keep.Store(bytes) }

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("opening journal: no directory given")
	}
	o.Dir = filepath.Clean(o.Dir)
	for _, f := range []struct {
		name string
		v    *int64
		def  int64
	}{{"SegmentBytes", &o.SegmentBytes, DefaultSegmentBytes}, {"KeepBytes", &o.KeepBytes, DefaultKeepBytes}} {
		if *f.v < 0 {
			return o, fmt.Errorf("opening journal: %s is negative", f.name)
		}
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	for _, f := range []struct {
		name string
		v    *int
		def  int
	}{
		{"MaxRecord", &o.MaxRecord, DefaultMaxRecord},
		{"MaxPending", &o.MaxPending, DefaultMaxPending},
		{"PendingBytes", &o.PendingBytes, DefaultPendingBytes},
	} {
		if *f.v < 0 {
			return o, fmt.Errorf("opening journal: %s is negative", f.name)
		}
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	if o.MaxRecord > MaxRecordLimit {
		return o, fmt.Errorf("opening journal: MaxRecord is above %d", MaxRecordLimit)
	}
	if o.Linger == 0 {
		o.Linger = DefaultLinger
	}
	return o, nil
}

// Append writes a record and returns its sequence number once it is on the disk. It waits while the queue
// is full. An error means that the record is not known to be durable: it wraps ErrTooLarge, ErrClosed, the
// cause of ctx (the record may still be written) or the error that made the journal fail. The journal keeps
// no reference to rec.
func (j *Journal) Append(ctx context.Context, rec []byte) (uint64, error) {
	p, err := j.Enqueue(ctx, rec)
	if err != nil {
		return 0, err
	}
	if err := p.Wait(ctx); err != nil {
		return 0, err
	}
	return p.Seq, nil
}

// Pending is a record on its way to the disk.
type Pending struct {
	Seq   uint64 // its sequence number
	batch *batch
}

// Enqueue is the first part of Append, for those who need to know the order of records before they are on the disk: it
// gives the record its sequence number and waits only while the queue is full. Errors are those of Append.
func (j *Journal) Enqueue(ctx context.Context, rec []byte) (Pending, error) {
	if err := ctx.Err(); err != nil {
		return Pending{}, fmt.Errorf("appending to journal: %w", context.Cause(ctx))
	}
	for {
		b, seq, err := j.enqueue(rec, true)
		if err != nil {
			return Pending{}, fmt.Errorf("appending to journal: %w", err)
		}
		if seq != 0 {
			return Pending{seq, b}, nil
		}
		select {
		case <-b.taken:
		case <-ctx.Done():
			return Pending{}, fmt.Errorf("appending to journal: %w", context.Cause(ctx))
		}
	}
}

// Wait returns when the record is on the disk. Errors are those of Append.
func (p Pending) Wait(ctx context.Context) error {
	select {
	case <-p.batch.done:
	case <-ctx.Done():
		return fmt.Errorf("appending to journal: %w", context.Cause(ctx))
	}
	if p.batch.err != nil {
		return fmt.Errorf("appending to journal: %w", p.batch.err)
	}
	return nil
}

// Offer queues a record and does not wait. It reports false, and the caller counts a loss, if the queue is
// full, the record too large or the journal failed or closed. A record that was taken is written with the
// next group; it is lost if the process dies or the disk fails before that.
func (j *Journal) Offer(rec []byte) bool {
	_, seq, err := j.enqueue(rec, false)
	return err == nil && seq != 0
}

// enqueue puts a record into the waiting batch. It returns sequence number 0 if the batch is full; then the
// caller may wait for it to be taken.
func (j *Journal) enqueue(rec []byte, urgent bool) (*batch, uint64, error) {
	if len(rec) > j.opts.MaxRecord {
		return nil, 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(rec), j.opts.MaxRecord)
	}
	sum := sumPayload(rec) // outside the lock: it is most of the work
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.err != nil:
		return nil, 0, j.err
	case j.closed:
		return nil, 0, ErrClosed
	}
	b := j.batch
	if b.n >= j.opts.MaxPending || b.n > 0 && len(b.buf)+frameHead+len(rec) > j.opts.PendingBytes {
		return b, 0, nil
	}
	seq := j.next
	j.next++
	b.buf = appendFrame(b.buf, rec, seq, sum)
	b.n++
	full := b.n >= j.opts.MaxPending/2 || len(b.buf) >= j.opts.PendingBytes/2
	if b.n == 1 || urgent && !b.urgent || full && !b.full {
		b.urgent, b.full = b.urgent || urgent, full
		select {
		case j.wake <- struct{}{}:
		default: // the committer has been told already
		}
	}
	return b, seq, nil
}

// Next returns the sequence number of the next record. Those before it may still be on their way to the disk.
func (j *Journal) Next() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.next
}

// Err returns why the journal failed, nil while it is healthy. A failed journal stays failed: after an
// fsync error nobody can know what the disk holds, so a second try that succeeds would prove nothing.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Close writes what is queued, stops the committer and frees the directory. Calling it again waits for the
// same and returns the same.
func (j *Journal) Close() error {
	j.mu.Lock()
	first := !j.closed
	j.closed = true
	j.mu.Unlock()
	if first {
		close(j.quit)
	}
	<-j.done
	return j.Err()
}
