package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

// TestTurn: what is let go of is on no disk, records go on with their numbers, also through an end.
func TestTurn(t *testing.T) {
	dir := t.TempDir()
	j, _, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	appended := uint64(0)
	add := func() {
		t.Helper()
		seq, err := j.Append(t.Context(), fmt.Appendf(nil, "record %d", appended+1))
		if err != nil {
			t.Fatal(err)
		}
		if appended++; seq != appended {
			t.Fatalf("record %d has number %d", appended, seq)
		}
	}
	left := func(want ...uint64) {
		t.Helper()
		var got []uint64
		for r, err := range Read(dir, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if string(r.Data) != fmt.Sprintf("record %d", r.Seq) {
				t.Errorf("number %d is %q", r.Seq, r.Data)
			}
			got = append(got, r.Seq)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%d are left, expected %d", got, want)
		}
	}
	turn := func(before uint64) {
		t.Helper()
		if err := j.Turn(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := j.Release(before); err != nil {
			t.Fatal(err)
		}
	}
	turn(1) // of an empty journal
	add()
	add()
	turn(2) // the second is still needed
	left(1, 2)
	add()
	turn(4)
	left()
	turn(4)
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 1 {
		t.Errorf("%q are left", files)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Turn(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if j, _, err = Open(Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	add()
	left(4)
	if !j.Offer([]byte("record 5")) {
		t.Error("not taken")
	}
	appended++
	turn(5) // in whose segment the fifth is, too
	left(4, 5)
	add()
	turn(6)
	left(6)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
