package table_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/palisade-security/palisade/store/table"
)

// TestDiskFull fills a small disk: writes fail, what was acknowledged stays, and writes go on when there is room again.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("NOT RUN: needs to mount a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 300<<10), 0o600))
	s := open(t, "sqlite:"+filepath.Join(dir, "tables.db"))
	ctx := soon(t)
	save := func(n int) error {
		return s.Write(ctx, func(tx *table.Tx) error { return tx.SaveBlob(ctx, fmt.Sprint(n), make([]byte, 10<<10), 0) })
	}
	stored := 0
	var err error
	for err == nil {
		if err = save(stored); err == nil {
			stored++
		}
	}
	t.Logf("after %d: %v", stored, err)
	if save(stored) == nil {
		t.Log("a second try found room")
		stored++
	}
	must(t, os.Remove(ballast))
	for range 5 {
		err := save(stored)
		if errors.Is(err, table.ErrConflict) { // the one that failed was stored after all
			err = nil
		}
		must(t, err)
		stored++
	}
	read(t, s, func(tx *table.Tx) error {
		for n := range stored {
			if _, _, err := tx.Blob(ctx, fmt.Sprint(n)); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
}
