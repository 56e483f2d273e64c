// Package sink hands recorded events on to what operators already have: log stores, SIEMs, buckets, brokers. A Sink
// follows the record from a position that it keeps on disk, sends batches in order and moves on when they were taken, so
// that each event arrives at least once. What a server refuses for good goes to a file of dead letters. The kinds are
// sub-packages: each makes a Target, and knows nothing of positions and patience.
//
// It is not the record: that is package store/journal. Nothing waits for a sink; one that stays behind for longer than
// the record is kept loses what is gone by then, and counts it.
package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/palisade-security/palisade/event"
)

// Record is one event with its number in the record. It is redacted, and not to be changed.
type Record struct {
	Number uint64
	Event  *event.Event
}

// Bound is the most that is asked for at once.
type Bound struct {
	Records int
	Bytes   int // of events as JSON; one that is larger comes alone
}

// Batch is what a Source has from a number on.
type Batch struct {
	Records []Record
	Next    uint64 // the first number behind them, and behind those that a filter left out
	Lost    uint64 // records that were gone before they could be read
}

// Source is the record as one sink follows it, from one goroutine but for Head; one that holds files is an io.Closer as well. Numbers grow from 1 on, and stay the same over restarts.
type Source interface {
	// Next returns records from a number on (0: from the oldest), in order. It waits until there is one, or something to move
	// past, and fails with the cause of ctx when that ends. A number behind the head is of a record that is no more: it reads
	// from the oldest.
	Next(ctx context.Context, from uint64, most Bound) (Batch, error)
	// Head is the number that the next event will have; 0 before it is known.
	Head() uint64
}

// Looker is a Source whose head stands still while nobody asks for its next batch. Look brings it up to date; it is safe beside Next.
type Looker interface {
	Look(ctx context.Context)
}

// Target takes batches for one server. One goroutine uses it. One that holds connections is an io.Closer as well.
type Target interface {
	// Send returns nil when the server has taken every record as its own. A *PartialError, a *RefusedError, a *BusyError and
	// ErrTooLarge say what is to become of the batch; after any other error it is sent again later.
	Send(ctx context.Context, records []Record) error
}

// The defaults of Options.
const (
	DefaultRecords = 1000
	DefaultBytes   = 4 << 20
	DefaultLinger  = time.Second
	DefaultTimeout = 30 * time.Second
	DefaultFirst   = time.Second
	DefaultMost    = time.Minute
	DefaultDead    = 64 << 20
)

// Options say what a sink does. Zero values are the defaults.
type Options struct {
	Name    string // for people
	Kind    string // for people
	Dir     string // holds the position and the dead letters; created with mode 0700
	Source  Source
	Target  Target
	Batch   Bound
	Linger  time.Duration // how long events wait for company when all before them are sent; negative: not at all
	Timeout time.Duration // of one batch
	First   time.Duration // pause after the first failure; it doubles with each
	Most    time.Duration // longest pause that is not asked for by the server
	Dead    int64         // bytes of dead letters that are kept

	Changed func(Status)                   // told when sending begins to fail, and when it goes well again; nil: nobody
	Refused func(events uint64, at string) // told at most once a minute how many were refused for good since, and of the file with them; nil: nobody
}

func (o *Options) withDefaults() {
	for _, f := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.Linger, DefaultLinger}, {&o.Timeout, DefaultTimeout}, {&o.First, DefaultFirst}, {&o.Most, DefaultMost}} {
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	if o.Batch.Records <= 0 {
		o.Batch.Records = DefaultRecords
	}
	if o.Batch.Bytes <= 0 {
		o.Batch.Bytes = DefaultBytes
	}
	if o.Dead <= 0 {
		o.Dead = DefaultDead
	}
}

// Sink follows the record for one server.
type Sink struct {
	opts    Options
	letters *letters

	mu     sync.Mutex
	status Status
}

// Status says how a sink stands. The counts begin when the process does.
type Status struct {
	Name, Kind string
	Position   uint64 // number of the first record that is not taken yet
	Behind     uint64 // records that are written and not taken yet, filtered ones included
	Sent       uint64
	Refused    uint64    // went to the dead letters
	Dropped    uint64    // dead letters that were deleted for room
	Lost       uint64    // were gone before they could be sent
	Failures   uint64    // sends that failed
	Failing    string    // why the last send failed; empty: it did not
	Since      time.Time // when it began to fail
}

// Open reads the position that a sink of this directory left.
func Open(o Options) (*Sink, error) {
	if o.Dir == "" || o.Source == nil || o.Target == nil {
		return nil, errors.New("opening sink: no directory, source or target given")
	}
	o.withDefaults()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening sink: %w", err)
	}
	at, err := readPosition(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening sink: %w", err)
	}
	return &Sink{
		opts: o, letters: &letters{path: filepath.Join(o.Dir, LettersFile), most: o.Dead},
		status: Status{Name: o.Name, Kind: o.Kind, Position: at},
	}, nil
}

// Status is safe for concurrent use.
func (s *Sink) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.status
	if head, at := s.opts.Source.Head(), max(out.Position, 1); head > at {
		out.Behind = head - at
	}
	return out
}

func (s *Sink) update(do func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(&s.status)
}

// Run sends until ctx ends. What was not taken by then is sent by the next Run. The error is that of closing source and target.
func (s *Sink) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	beside.Go(func() { s.watch(ctx) })
	defer beside.Wait()
	pause := pauses{first: s.opts.First, most: s.opts.Most}
	for ctx.Err() == nil {
		from := s.Status().Position
		b, err := s.opts.Source.Next(ctx, from, s.opts.Batch)
		if err == nil {
			err = s.deliver(ctx, b.Records)
		}
		if err == nil {
			err = writePosition(s.opts.Dir, b.Next)
		}
		if err != nil {
			s.failed(ctx, err)
			sleep(ctx, pause.next(0))
			continue
		}
		pause.reset()
		s.update(func(st *Status) { st.Position, st.Lost = b.Next, st.Lost+b.Lost })
		if b.Next >= s.opts.Source.Head() {
			sleep(ctx, s.opts.Linger)
		}
	}
	var errs []error
	for _, part := range []any{s.opts.Source, s.opts.Target} {
		if c, ok := part.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// failed keeps an error for the status, unless it is that of stopping.
func (s *Sink) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	began := false
	s.update(func(st *Status) {
		st.Failures++
		if began = st.Failing == ""; began {
			st.Since = time.Now()
		}
		st.Failing = err.Error()
	})
	s.tell(began)
}

// went keeps that sending goes well.
func (s *Sink) went() {
	ended := false
	s.update(func(st *Status) {
		ended = st.Failing != ""
		st.Failing, st.Since = "", time.Time{}
	})
	s.tell(ended)
}

func (s *Sink) tell(changed bool) {
	if changed && s.opts.Changed != nil {
		s.opts.Changed(s.Status())
	}
}
