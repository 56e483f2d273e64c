// Package events keeps the events of a fleet and answers queries about them: a log that makes them durable at once, the newest
// in memory, the others sealed in Parquet segments that are merged by hour and deleted by age.
//
// An event that Append acknowledged survives the death of the process and of the machine's power, is found from then on, and
// is there once, however often it is delivered. It is for one control with its own disk; several share a PostgreSQL.
package events

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/store/query"
)

// Options say where a store lives and when it seals. The zero value of everything but Dir is its default.
type Options struct {
	Dir       string        // created with mode 0700 if absent
	SealRows  int           // events in memory at which they are sealed; 128 Ki
	SealBytes int64         // bytes in memory at which they are sealed; 256 MiB
	SealAge   time.Duration // age of the oldest event in memory at which they are sealed; a minute
	MergeRows int64         // events of a segment beyond which it is not merged with others; 2 Mi

	// Bucket is where segments are brought when they will not be merged any more; nil: they stay in files. It belongs to this store alone.
	Bucket *bucket.Bucket
	Disk   int64 // bytes of files that stay beside their objects, the newest

	// Keep is how long events are kept, by class (segment.ClassRequest...); a class that is not named is kept for ever.
	Keep map[string]time.Duration

	// Longer is what is kept longer than its class. What several concern is kept for the longest of their times.
	Longer []query.Longer
}

func (o Options) withDefaults() Options {
	if o.SealRows <= 0 {
		o.SealRows = 128 << 10
	}
	if o.SealBytes <= 0 {
		o.SealBytes = 256 << 20
	}
	if o.SealAge <= 0 {
		o.SealAge = time.Minute
	}
	if o.MergeRows <= 0 {
		o.MergeRows = 2 << 20
	}
	return o
}

// Store is a store of events. Its methods are safe for concurrent use.
type Store struct {
	opts   Options
	log    *journal.Journal
	marker marker
	full   chan struct{} // wakes Run: what is in memory is to be sealed

	shelf  *shelf
	parted context.CancelFunc // ends reading from the bucket

	retaining sync.Mutex // one judges what is old at a time; taken before keeping

	keeping sync.Mutex         // one seals, merges or deletes at a time
	now     manifest           // what the disk has; owned by who holds keeping
	leaving map[string]*sealed // by their objects, those that are no more; owned by who holds keeping

	depositor depositor

	order sync.Mutex // one gives numbers and a place in the log at a time

	mu       sync.RWMutex
	tail     *generation // takes events
	sealing  *generation // is being sealed; nil: none is
	segments *timeline
	kept     map[string]int64 // as manifest.Kept; replaced as a whole
	given    uint64           // number of the next event that comes
	next     uint64           // number of the next event that can be found
	flight   []*batch         // what has numbers and cannot be found yet, in the order of the log
	more     chan struct{}    // closed when there are more events to be found; nil: nobody waits
	room     chan struct{}    // closed, and another one made, when what was in memory is sealed
	held     atomic.Bool      // closed
	holds    []hold           // replaced as a whole, by who holds keeping, too
	deleting func(map[string]Deleted) error
}

// Recovery is what Open found.
type Recovery struct {
	Log      journal.Recovery
	Replayed int     // events that were in the log and in no segment
	Damaged  []error // segments (*segment.DamageError) and places in the log that cannot be read; queries that need them fail
}

// Open takes the store in o.Dir, brings what is in its log back into memory and finds damaged segments. The error wraps
// journal.ErrLocked if another process holds it.
func Open(ctx context.Context, o Options) (*Store, *Recovery, error) {
	o = o.withDefaults()
	if o.Dir == "" {
		return nil, nil, errors.New("opening event store: no directory given")
	}
	if err := os.MkdirAll(o.segments(), 0o700); err != nil {
		return nil, nil, fmt.Errorf("opening event store: %w", err)
	}
	log, recovered, err := journal.Open(journal.Options{Dir: o.log(), KeepBytes: math.MaxInt64, MaxRecord: journal.MaxRecordLimit, PendingBytes: 4 * maxRecord})
	if err != nil {
		return nil, nil, fmt.Errorf("opening event store: %w", err)
	}
	s := &Store{
		opts: o, log: log, marker: newMarker(), segments: newTimeline(nil), full: make(chan struct{}, 1), tail: newGeneration(0), room: make(chan struct{}),
		leaving: map[string]*sealed{}, depositor: depositor{writer: newID()},
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	s.parted, s.shelf = end, newShelf(life, o.segments(), o.Bucket)
	r := &Recovery{Log: recovered}
	if recovered.Damage != nil {
		r.Damaged = append(r.Damaged, recovered.Damage)
	}
	if err := s.recover(ctx, r); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening event store: %w", err), s.Close())
	}
	return s, r, nil
}

func (o *Options) log() string      { return filepath.Join(o.Dir, "log") }
func (o *Options) segments() string { return filepath.Join(o.Dir, "segments") }

// recover reads the manifest and the log behind what is sealed.
func (s *Store) recover(ctx context.Context, r *Recovery) error {
	m, err := readManifest(s.opts.Dir)
	if err == nil && m == nil {
		m = &manifest{Number: 1}
		if s.opts.Bucket != nil {
			m, err = adopt(ctx, &s.opts, s.depositor.writer)
		}
	}
	if err != nil {
		return err
	}
	s.now, s.kept = *m, m.Kept
	s.given, s.next = m.Number, m.Number
	if s.holds, err = readHolds(s.opts.Dir); err != nil {
		return err
	}
	if err := removeOthers(s.opts.segments(), m); err != nil {
		return err
	}
	var segments []*sealed
	for i := range m.Segments {
		if err := s.shelf.complete(&m.Segments[i]); err != nil {
			return err
		}
		one := s.shelf.open(&m.Segments[i])
		if one.err != nil {
			r.Damaged = append(r.Damaged, one.err)
		}
		segments = append(segments, one)
	}
	s.segments = newTimeline(segments)
	s.tail.upTo, s.tail.next = m.Sealed, m.Number
	for rec, err := range journal.Read(s.opts.log(), m.Sealed+1) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			r.Damaged = append(r.Damaged, err)
			continue
		}
		n, err := s.replay(rec)
		if err != nil {
			return err
		}
		r.Replayed += n
		if s.tail.block.Rows() >= s.opts.SealRows {
			if err := s.Seal(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close stops taking events and frees the files. What is in memory is in the log and comes back.
func (s *Store) Close() error {
	if s.held.Swap(true) {
		return nil
	}
	err := s.log.Close()
	s.parted()
	s.retaining.Lock() // its files are gone before another process may write there
	defer s.retaining.Unlock()
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.segments.all {
		err = errors.Join(err, one.drop())
	}
	s.segments = newTimeline(nil)
	close(s.room) // who waits for room learns that there will be none
	s.room = make(chan struct{})
	s.tell()
	return err
}

// OnDelete has a func told what will have been deleted since the beginning, by class, before Retain deletes more. If it fails,
// nothing is deleted. It is called before Run and Retain are.
func (s *Store) OnDelete(tell func(map[string]Deleted) error) { s.deleting = tell }

// Err returns why the store takes no more events, nil while it does.
func (s *Store) Err() error { return s.log.Err() }

// Run seals, merges, deletes and brings segments to the bucket until ctx ends. What fails is tried again a little later and handed to
// report, which may be called by several at a time.
func (s *Store) Run(ctx context.Context, report func(error)) error {
	var beside sync.WaitGroup // what may wait for the bucket
	defer beside.Wait()
	if s.opts.Bucket != nil {
		beside.Go(func() { s.carry(ctx, report) })
	}
	beside.Go(func() { s.expire(ctx, report) })
	tick := time.NewTicker(s.often())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.full:
		case <-tick.C:
		}
		if err := s.keep(ctx, time.Now()); err != nil && ctx.Err() == nil {
			report(err)
		}
	}
}

// keep does what is due.
func (s *Store) keep(ctx context.Context, now time.Time) error {
	var err error
	s.mu.RLock()
	due := s.sealing != nil || s.tail.due(&s.opts, now)
	s.mu.RUnlock()
	if due {
		err = s.Seal(ctx)
	}
	return errors.Join(err, s.Compact(ctx, now))
}

// often is how often it is looked what is to be done.
func (s *Store) often() time.Duration { return min(s.opts.SealAge, 10*time.Second) }
