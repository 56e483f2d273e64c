package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/query"
)

// Source is a store whose records have numbers: store/events or store/shared.
type Source interface {
	Next(ctx context.Context) (uint64, error)
	Await(ctx context.Context, number uint64) error
	Records(ctx context.Context, from uint64) iter.Seq2[query.Record, error]
}

// ErrShort says that the store has lost records that the ledger has seen.
var ErrShort = errors.New("the store of events has lost its last records")

// Log is a ledger: *ledger.Ledger in a folder, or *ledger.Shared.
type Log interface {
	Size() uint64
	Append(ctx context.Context, at uint64, records []ledger.Hash) error
	Close(ctx context.Context) error
}

// ErrStandby says that another process keeps the ledger that it shares with this one.
var ErrStandby = errors.New("another control keeps the ledger")

// Keeper appends the hash of every record of a store to a ledger. One runs on a ledger at a time.
type Keeper struct {
	// Ledger opens the ledger. An error that wraps ErrStandby is none: it is asked again.
	Ledger func(ctx context.Context, of Source) (Log, error)
	// Open returns the store once it is open. The keeper asks again when that one is closed.
	Open func(context.Context) (Source, error)
	// Alarm is told what is wrong between ledger and store, once for each.
	Alarm func(ctx context.Context, text string)
	Log   *slog.Logger
	// Beside runs while this keeper appends, of those that share a ledger; nil: nothing does.
	Beside func(ctx context.Context, of Source)

	failed atomic.Pointer[string]
	behind atomic.Int64 // records that the ledger does not have yet, when last looked
}

const (
	batchNumbers = 4 << 10                // of records that are judged together, at least
	again        = 4 << 10                // records before the end of the ledger that are compared at the start
	linger       = 200 * time.Millisecond // how long a record waits for others
	pause        = 5 * time.Second        // before another try
	closing      = 10 * time.Second       // for the last checkpoint
)

// Err returns why the ledger does not grow, nil if it does.
func (k *Keeper) Err() error {
	if why := k.failed.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}

// Behind is how many records of the store the ledger did not have when it last looked.
func (k *Keeper) Behind() int64 { return k.behind.Load() }

// Run keeps the ledger until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	waiting := false
	for {
		err := k.keep(ctx)
		stands := errors.Is(err, ErrStandby)
		switch {
		case ctx.Err() != nil:
		case stands:
			if k.failed.Store(nil); !waiting {
				k.Log.InfoContext(ctx, "another control keeps the ledger; this one stands by")
			}
		default:
			k.fail(ctx, err)
		}
		waiting = stands
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// fail takes note of why the ledger does not grow, and raises the alarm if the records are why.
func (k *Keeper) fail(ctx context.Context, err error) {
	why := err.Error()
	if was := k.failed.Swap(&why); was != nil && *was == why {
		return
	}
	k.Log.ErrorContext(ctx, "the ledger does not grow", "error", err, "again_in", pause)
	if slices.ContainsFunc([]error{ledger.ErrConflict, ledger.ErrGap, ledger.ErrRolledBack, ledger.ErrForked, ErrShort}, func(is error) bool { return errors.Is(err, is) }) {
		k.Alarm(ctx, why+"; verify with palisade audit verify, and keep the ledger as it is")
	}
}

// keep opens the ledger and follows the store until it is closed, or something is wrong.
func (k *Keeper) keep(ctx context.Context) (err error) {
	source, err := k.Open(ctx)
	if err != nil {
		return err
	}
	l, err := k.Ledger(ctx, source)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
		defer cancel()
		err = errors.Join(err, l.Close(ctx))
	}()
	defer k.beside(ctx, source)()
	from, err := begin(ctx, l, source)
	for err == nil {
		from, err = k.follow(ctx, l, source, from)
	}
	return err
}

// beside runs what runs beside appending, until the func that is returned is called.
func (k *Keeper) beside(ctx context.Context, of Source) func() {
	if k.Beside == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.Beside(ctx, of)
	}()
	return func() {
		cancel()
		<-done
	}
}

// Folder opens a ledger in a folder, which is made if it is not there, with the text of its public key beside the checkpoint.
func Folder(dir string, signer note.Signer, public string) func(context.Context, Source) (Log, error) {
	return func(ctx context.Context, _ Source) (Log, error) {
		l, err := ledger.Open(context.WithoutCancel(ctx), ledger.Options{Dir: dir, Signer: signer})
		if err != nil {
			return nil, err
		}
		if err := publish(dir, public); err != nil {
			return nil, errors.Join(err, l.Close(ctx))
		}
		return l, nil
	}
}

// publish writes the public key beside the checkpoint.
func publish(dir, public string) error {
	path := filepath.Join(dir, keyFile)
	if text, err := os.ReadFile(path); err == nil && string(text) == public+"\n" { //nolint:gosec // G304, G703: in the state directory
		return nil
	}
	if err := replace(path, []byte(public+"\n")); err != nil {
		return fmt.Errorf("publishing the key of the ledger: %w", err)
	}
	return nil
}

// begin returns from which number on the store is followed: some that the ledger has are compared again.
func begin(ctx context.Context, l Log, source Source) (uint64, error) {
	next, err := source.Next(ctx)
	if err != nil {
		return 0, err
	}
	size := l.Size()
	if next-1 < size {
		return 0, fmt.Errorf("%w: it ends with record %d, and the ledger has %d", ErrShort, next-1, size)
	}
	if size < again {
		return 1, nil
	}
	return size + 1 - again, nil
}

// follow appends what there is from a number on, waits for more, and returns with which number that begins.
func (k *Keeper) follow(ctx context.Context, l Log, source Source, from uint64) (uint64, error) {
	next, err := source.Next(ctx)
	if err != nil {
		return 0, err
	}
	b := read(ctx, source, from)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if err := b.append(ctx, l, k); err != nil {
		return 0, err
	}
	k.behind.Store(int64(max(next, l.Size()+1) - l.Size() - 1))
	if b.damage != nil {
		k.Log.WarnContext(ctx, "records that the ledger has cannot be read to compare them", "error", b.damage)
	}
	if !b.all {
		return b.end, nil
	}
	if k.failed.Swap(nil) != nil {
		k.Log.InfoContext(ctx, "the ledger grows again")
	}
	if n := len(b.entries); n > 0 {
		from = b.entries[n-1].number + 1
	}
	if err := source.Await(ctx, max(from, next)); err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-time.After(linger):
	}
	return from, nil
}

// batch is what is read of a store at once.
type batch struct {
	entries []entry
	all     bool   // nothing comes after them yet
	end     uint64 // if not all: entries are below it, and what is not among them is not there
	damage  error  // some could not be read
}

type entry struct {
	number uint64
	hash   ledger.Hash
}

// read reads records from a number on. A store tells of a segment that it cannot read at most a window of numbers late, so
// as many more are read before a number that is not there counts as deleted.
func read(ctx context.Context, source Source, from uint64) *batch {
	b := &batch{all: true}
	limit := uint64(0)
	for r, err := range source.Records(ctx, from) {
		if err != nil {
			b.damage = errors.Join(b.damage, err)
			continue
		}
		if limit == 0 {
			limit = max(from, r.Number) + 2*batchNumbers
		}
		if r.Number >= limit {
			b.all, b.end = false, limit-batchNumbers
			break
		}
		b.entries = append(b.entries, entry{r.Number, ledger.HashOf(r.JSON())})
	}
	for n := len(b.entries); !b.all && n > 0 && b.entries[n-1].number >= b.end; n-- {
		b.entries = b.entries[:n-1]
	}
	return b
}

// append puts a batch into the ledger, each record at its number. A record that is gone before the ledger saw it leaves the zero
// hash there, unless it may be one that cannot be read.
func (b *batch) append(ctx context.Context, l Log, k *Keeper) error {
	for i := 0; i < len(b.entries); {
		first := b.entries[i].number
		if size := l.Size(); first > size+1 {
			if b.damage != nil {
				return fmt.Errorf("reading record %d: %w", size+1, b.damage)
			}
			if err := unseen(ctx, l, first-1-size); err != nil {
				return err
			}
			k.Alarm(ctx, fmt.Sprintf("records %d to %d were gone before the ledger saw them", size+1, first-1))
		}
		var run []ledger.Hash
		for ; i < len(b.entries) && b.entries[i].number == first+uint64(len(run)); i++ {
			run = append(run, b.entries[i].hash)
		}
		if err := l.Append(ctx, first-1, run); err != nil {
			return err
		}
	}
	return nil
}

// unseen appends that records were gone.
func unseen(ctx context.Context, l Log, n uint64) error {
	for n > 0 {
		some := min(n, batchNumbers)
		if err := l.Append(ctx, l.Size(), make([]ledger.Hash, some)); err != nil {
			return err
		}
		n -= some
	}
	return nil
}
