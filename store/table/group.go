package table

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
)

const groupMost = 128 // transactions in one commit: who came first does not wait for ever more

// group lets transactions of many callers take effect in one commit, since what costs is the sync of the disk at its end. For a
// database with one writer: while one commit is under way, those who come wait, and are the next one together. It has no
// goroutine of its own; one of those who wait does the work of all.
type group struct {
	mu      sync.Mutex
	busy    bool
	waiting []*member
}

// member is a transaction that waits for its turn.
type member struct {
	ctx  context.Context //nolint:containedctx // of its caller, who waits meanwhile
	do   func(*Tx) error
	turn chan struct{} // closed: work for all who wait
	done chan error    // capacity 1
	err  error         // of do; nothing of it was written
}

// run does one transaction, with those of others.
func (g *group) run(ctx context.Context, s *Store, do func(*Tx) error) error {
	m := &member{ctx: ctx, do: do, turn: make(chan struct{}), done: make(chan error, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, m)
	if !g.busy {
		g.busy = true
		close(m.turn)
	}
	g.mu.Unlock()
	select {
	case err := <-m.done:
		return err
	case <-m.turn:
	case <-ctx.Done():
		if g.leave(m) {
			return fmt.Errorf("waiting to write: %w", context.Cause(ctx))
		}
		select { // its turn has come, or somebody is at it
		case err := <-m.done:
			return err
		case <-m.turn:
		}
	}
	g.work(s)
	return <-m.done
}

// leave takes back a transaction that nobody has begun with, and whose turn it is not to work.
func (g *group) leave(m *member) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-m.turn:
		return false
	default:
	}
	i := slices.Index(g.waiting, m)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	return true
}

// work does what waits and hands the work on. Whoever works was the first of those who wait.
func (g *group) work(s *Store) {
	g.mu.Lock()
	n := min(len(g.waiting), groupMost)
	all := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.busy = len(g.waiting) > 0; g.busy {
			close(g.waiting[0].turn)
		}
	}()
	s.together(all)
}

// together does several transactions in one commit and tells each what came of it. One that fails is undone by itself. If
// it cannot be, since the database gave all of it up, nothing is written yet, and each is done alone.
func (s *Store) together(all []*member) {
	if len(all) > 1 {
		if committed, err := s.shared(all); committed {
			for _, m := range all {
				if m.err == nil {
					m.err = err
				}
				m.done <- m.err
			}
			return
		}
	}
	for _, m := range all {
		m.done <- s.once(m.ctx, s.db, &s.dialect.write, m.do)
	}
}

// shared does all in one transaction; it returns false if it had to be given up before its commit. The error is that of
// the commit.
func (s *Store) shared(all []*member) (committed bool, err error) {
	ctx := context.WithoutCancel(all[0].ctx) // one who leaves must not take the others along
	tx, err := s.db.BeginTx(ctx, &s.dialect.write)
	if err != nil {
		return false, nil //nolint:nilerr // each finds out for itself
	}
	for _, m := range all {
		if m.err = context.Cause(m.ctx); m.err != nil {
			continue
		}
		if !within(ctx, tx, m, &s.dialect) {
			_ = tx.Rollback() // it is undone already, or will be with its connection
			return false, nil
		}
	}
	return true, s.commit(tx)
}

// within does one of several; false if the whole transaction is of no more use.
func within(ctx context.Context, tx *sql.Tx, m *member, d *dialect) bool {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT one"); err != nil {
		return false
	}
	if m.err = m.do(&Tx{tx: tx, dialect: d}); m.err != nil {
		if _, err := tx.ExecContext(ctx, "ROLLBACK TO one"); err != nil {
			return false
		}
	}
	_, err := tx.ExecContext(ctx, "RELEASE one")
	return err == nil
}
