package table

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// grouped holds the only writer up until all others wait, and has them take effect in one commit.
func grouped(t *testing.T, all map[string]func(context.Context, *Tx) error) (s *Store, results map[string]error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s, err := Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "tables.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	first, begun, begin := make(chan error, 1), make(chan struct{}), make(chan struct{})
	go func() {
		first <- s.Write(ctx, func(*Tx) error {
			close(begun)
			<-begin
			return nil
		})
	}()
	<-begun
	type result struct {
		name string
		err  error
	}
	done := make(chan result)
	for name, do := range all {
		go func() {
			done <- result{name, s.Write(ctx, func(tx *Tx) error { return do(ctx, tx) })}
		}()
	}
	s.waits(ctx, t, len(all))
	close(begin)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	results = map[string]error{}
	for range all {
		r := <-done
		results[r.name] = r.err
	}
	return s, results
}

// waits returns when so many wait.
func (s *Store) waits(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for tick := time.Tick(time.Millisecond); ; {
		s.group.mu.Lock()
		waiting := len(s.group.waiting)
		s.group.mu.Unlock()
		if waiting == n {
			return
		}
		select {
		case <-tick:
		case <-ctx.Done():
			t.Fatalf("%d wait, want %d", waiting, n)
		}
	}
}

func (s *Store) written(t *testing.T, name string) bool {
	t.Helper()
	err := s.Read(t.Context(), func(tx *Tx) error { _, _, err := tx.Blob(t.Context(), name); return err })
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// TestGroup: of those that share a commit each gets its own result, and what failed is undone by itself.
func TestGroup(t *testing.T) {
	no := errors.New("no")
	all := map[string]func(context.Context, *Tx) error{
		"fails": func(ctx context.Context, tx *Tx) error { return errors.Join(tx.SaveBlob(ctx, "fails", nil, 0), no) },
		"meets": func(ctx context.Context, tx *Tx) error {
			return errors.Join(tx.SaveBlob(ctx, "meets", nil, 0), tx.SaveBlob(ctx, "none", nil, 7))
		},
	}
	for i := range 2 * groupMost {
		name := fmt.Sprint(i)
		all[name] = func(ctx context.Context, tx *Tx) error {
			_, err := tx.AddAct(ctx, Act{Who: name})
			return errors.Join(err, tx.SaveBlob(ctx, name, nil, 0))
		}
	}
	s, results := grouped(t, all)
	for name, err := range results {
		want := map[string]error{"fails": no, "meets": ErrConflict}[name]
		if !errors.Is(err, want) || s.written(t, name) != (want == nil) {
			t.Errorf("%s: %v, want %v; written: %v", name, err, want, s.written(t, name))
		}
	}
	var acts []Act
	err := s.Read(t.Context(), func(tx *Tx) (err error) { acts, err = tx.Acts(t.Context(), 0, 1000); return err })
	if err != nil || len(acts) != 2*groupMost || acts[len(acts)-1].Number != 2*groupMost {
		t.Errorf("%d acts: %v", len(acts), err)
	}
}

// TestGroupGivenUp: if the database gives the whole of it up because of one, the others are done all the same.
func TestGroupGivenUp(t *testing.T) {
	save := func(name string) func(context.Context, *Tx) error {
		return func(ctx context.Context, tx *Tx) error { return tx.SaveBlob(ctx, name, nil, 0) }
	}
	s, results := grouped(t, map[string]func(context.Context, *Tx) error{
		"one": save("one"), "two": save("two"),
		"spoils": func(ctx context.Context, tx *Tx) error { // as SQLite does by itself when the disk is full
			_, err := tx.exec(ctx, "ROLLBACK")
			return err
		},
	})
	for name, err := range results {
		if (err == nil) != (name != "spoils") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !s.written(t, "one") || !s.written(t, "two") {
		t.Error("what was acknowledged is not there")
	}
}

// TestGroupLeft: who no longer waits is left out, and holds nobody up.
func TestGroupLeft(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "tables.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	begun, begin, first := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() { first <- s.Write(ctx, func(*Tx) error { close(begun); <-begin; return nil }) }()
	<-begun
	impatient, leave := context.WithCancel(ctx)
	gone, stays := make(chan error, 1), make(chan error, 1)
	go func() {
		gone <- s.Write(impatient, func(tx *Tx) error { return tx.SaveBlob(impatient, "gone", nil, 0) })
	}()
	s.waits(ctx, t, 1)
	go func() { stays <- s.Write(ctx, func(tx *Tx) error { return tx.SaveBlob(ctx, "stays", nil, 0) }) }()
	s.waits(ctx, t, 2)
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	close(begin)
	if err := errors.Join(<-first, <-stays); err != nil {
		t.Error(err)
	}
	if s.written(t, "gone") || !s.written(t, "stays") {
		t.Error("written by who left, or not by who stayed")
	}
}
