// Package ledger is the tamper-evident log: a Merkle tree over the hashes of records (RFC 6962, section 2; C2SP
// tlog-tiles), whose head is signed, and signed again by witnesses. It holds 32 bytes of each record and nothing of what
// the record says, so that records can go when their time is over and the ledger still verifies.
//
// It keeps no records; for that see store. It does not stop anybody from changing them: it makes the change visible to
// whoever has an earlier checkpoint, or trusts a witness. One process writes a ledger; anybody may read and verify its
// files, without that process and without a network.
package ledger

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	f_log "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// Hash is what the ledger holds of a record. The zero Hash, which no record has, says that it was gone before the ledger saw it.
type Hash [sha256.Size]byte

// HashOf is the SHA-256 of a record's exact bytes.
func HashOf(record []byte) Hash { return sha256.Sum256(record) }

// Errors that callers tell apart.
var (
	ErrLocked   = errors.New("another process writes the ledger")
	ErrConflict = errors.New("the ledger has another record at that position")
	ErrGap      = errors.New("records before that position are not in the ledger")
	ErrBroken   = errors.New("the ledger took records in another order than they came; it takes no more")
)

// Options say where a ledger is and who signs it. Only Dir and Signer have no default.
type Options struct {
	Dir    string        // made if it is not there
	Signer note.Signer   // its name is the ledger's origin
	Batch  int           // records written at once, at most; default 4096
	Every  time.Duration // between checkpoints while records come; default 1s, at least 100ms
}

// Ledger appends. It is safe for concurrent use.
type Ledger struct {
	begin  func(batch int) (*tessera.Appender, context.CancelFunc, error)
	reader tessera.LogReader
	stop   context.CancelFunc
	lock   *os.File
	batch  int

	mu     sync.Mutex
	size   uint64
	broken bool
	writer writer
}

// writer writes batches of one size. Tessera's queue is flushed by a timer or when it is full; the timer can overtake
// itself, and then records change places. So the timer never comes, and each batch fills its queue exactly.
type writer struct {
	*tessera.Appender
	batch int
	stop  context.CancelFunc
}

// never is longer than anything lives.
const never = 100 * 365 * 24 * time.Hour

// Open opens a ledger, or begins one. What was acknowledged before is there, whatever the last process died of. The
// context ends what runs in the background; Close does, too.
func Open(ctx context.Context, o Options) (*Ledger, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	l := &Ledger{stop: stop, lock: lock, batch: cmp.Or(o.Batch, 4096)}
	if err := l.open(ctx, o); err != nil {
		stop()
		return nil, errors.Join(fmt.Errorf("opening the ledger in %s: %w", o.Dir, err), lock.Close())
	}
	return l, nil
}

func (l *Ledger) open(ctx context.Context, o Options) error {
	driver, err := posix.New(ctx, posix.Config{Path: o.Dir})
	if err != nil {
		return err
	}
	options := func() *tessera.AppendOptions { return tessera.NewAppendOptions().WithCheckpointSigner(o.Signer) }
	// This one publishes checkpoints, and writers leave that to it.
	if _, _, l.reader, err = tessera.NewAppender(ctx, driver, options().WithCheckpointInterval(cmp.Or(o.Every, time.Second))); err != nil {
		return err
	}
	l.begin = func(batch int) (*tessera.Appender, context.CancelFunc, error) {
		ctx, stop := context.WithCancel(ctx)
		a, _, _, err := tessera.NewAppender(ctx, driver, options().WithCheckpointInterval(never).WithCheckpointRepublishInterval(never).WithBatching(uint(batch), never))
		if err != nil {
			stop()
		}
		return a, stop, err
	}
	l.size, err = l.reader.IntegratedSize(ctx)
	return err
}

// lockDir takes a folder for this open file alone (flock(2)), until it is closed or the process dies.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(fmt.Errorf("locking the ledger in %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// Size is how many records the ledger has, and so the position of the next one.
func (l *Ledger) Size() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Append puts records at a position, and returns when they are in the tree and on the disk; the next checkpoint tells of
// them. Records that are there already are compared and not put again, so that whoever does not know how far it came
// begins a little earlier: ErrConflict says that one is another, ErrGap that the position is beyond the end.
func (l *Ledger) Append(ctx context.Context, at uint64, records []Hash) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.broken:
		return ErrBroken
	case at > l.size:
		return fmt.Errorf("appending at %d to a ledger of %d: %w", at, l.size, ErrGap)
	}
	known := min(l.size-at, uint64(len(records)))
	if err := l.compare(ctx, at, records[:known]); err != nil {
		return err
	}
	for records = records[known:]; len(records) > 0; {
		n := min(len(records), l.batch)
		if err := l.write(ctx, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// write hands one batch over and waits for it, so that never two are on their way.
func (l *Ledger) write(ctx context.Context, batch []Hash) error {
	if l.writer.batch != len(batch) {
		a, stop, err := l.begin(len(batch))
		if err != nil {
			return fmt.Errorf("appending: %w", err)
		}
		if l.writer.stop != nil {
			l.writer.stop()
		}
		l.writer = writer{a, len(batch), stop}
	}
	futures := make([]tessera.IndexFuture, len(batch))
	for i := range batch {
		futures[i] = l.writer.Add(ctx, tessera.NewEntry(batch[i][:]))
	}
	for _, future := range futures {
		index, err := future()
		if err != nil {
			// Some of the batch may be in the tree. Who tries again begins where the ledger really is.
			return errors.Join(fmt.Errorf("appending: %w", err), l.resize(ctx))
		}
		if index.Index != l.size {
			l.broken = true
			return ErrBroken
		}
		l.size++
	}
	return nil
}

func (l *Ledger) resize(ctx context.Context) error {
	size, err := l.reader.IntegratedSize(ctx)
	if err != nil {
		l.broken = true
		return fmt.Errorf("finding the end of the ledger: %w", err)
	}
	l.size = size
	return nil
}

// compare holds records against those that are there.
func (l *Ledger) compare(ctx context.Context, at uint64, records []Hash) error {
	if len(records) == 0 {
		return nil
	}
	for r := range layout.Range(at, uint64(len(records)), l.size) {
		bundle, err := client.GetEntryBundle(ctx, l.reader.ReadEntryBundle, r.Index, l.size)
		if err != nil {
			return fmt.Errorf("reading the ledger: %w", err)
		}
		for i := range r.N {
			position := r.Index*layout.EntryBundleWidth + uint64(r.First+i)
			if have := bundle.Entries[r.First+i]; Hash(have) != records[position-at] {
				return fmt.Errorf("record %d: %w", position+1, ErrConflict)
			}
		}
	}
	return nil
}

// Checkpoint returns the newest signed checkpoint (C2SP tlog-checkpoint). It may be older than the last records.
func (l *Ledger) Checkpoint(ctx context.Context) ([]byte, error) {
	text, err := l.reader.ReadCheckpoint(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	return text, nil
}

// Close waits until a checkpoint tells of every record, or the context is done, and gives the ledger free.
func (l *Ledger) Close(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writer.stop != nil {
		l.writer.stop()
	}
	err := l.published(ctx)
	l.stop()
	l.broken = true
	return errors.Join(err, l.lock.Close())
}

func (l *Ledger) published(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := l.Checkpoint(ctx)
		if err != nil {
			return err
		}
		var c f_log.Checkpoint
		if _, err := c.Unmarshal(text); err != nil {
			return fmt.Errorf("reading the checkpoint: %w", err)
		}
		if c.Size >= l.size {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("closing the ledger: a checkpoint tells of %d of %d records: %w", c.Size, l.size, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
