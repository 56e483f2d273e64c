package ledger

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// some are records without those of some numbers.
func some(all [][]byte, without func(n uint64) bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for r := range each(all) {
			if !without(r.Number) && !yield(r, nil) {
				return
			}
		}
	}
}

// TestHoles leaves records out that the ledger says were deleted, and others.
func TestHoles(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(few)
	all[600] = []byte("deleted 100 from 1 to 500")
	all[700] = []byte("deleted 120 from 1 to 500") // sums up
	text := written(t, k, dir, 0, all)
	for name, c := range map[string]struct {
		without   func(n uint64) bool
		elsewhere []Record
		deleted   uint64
		want      Finding
	}{
		"nothing":        {func(uint64) bool { return false }, nil, 0, Finding{}},
		"deleted":        {func(n uint64) bool { return n%4 == 1 && n < 480 }, nil, 120, Finding{}},
		"fewer":          {func(n uint64) bool { return n == 3 || n == 500 }, nil, 2, Finding{}},
		"too many":       {func(n uint64) bool { return n%4 == 1 && n < 480 || n == 12 }, nil, 120, Finding{Kind: Missing, Number: 1, Count: 1}},
		"beyond":         {func(n uint64) bool { return n == 7 || n >= 510 && n < 520 || n == 530 }, nil, 1, Finding{Kind: Missing, Number: 510, Count: 10}},
		"the end":        {func(n uint64) bool { return n > few-5 }, nil, 0, Finding{Kind: Truncated, Number: few - 4, Count: 5}},
		"no statement":   {func(n uint64) bool { return n == 7 || n == 601 || n == 701 }, nil, 0, Finding{Kind: Missing, Number: 7, Count: 1}},
		"told elsewhere": {func(n uint64) bool { return n == 7 || n > 600 }, []Record{{701, all[700]}}, 1, Finding{Kind: Truncated, Number: 601, Count: few - 600}},
		"told falsely":   {func(n uint64) bool { return n == 7 || n > 600 }, []Record{{702, all[700]}}, 0, Finding{Kind: Missing, Number: 7, Count: 1}},
	} {
		r, err := Verify(t.Context(), &Evidence{
			Keys: Keys{Ledger: k.verifier}, Tree: Files(os.DirFS(dir)), Checkpoint: text, Records: some(all, c.without), Elsewhere: c.elsewhere,
			Deletions: func(record []byte) []Deletion {
				var d Deletion
				if n, err := fmt.Sscanf(string(record), "deleted %d from %d to %d", &d.Count, &d.First, &d.Last); n != 3 || err != nil {
					return nil
				}
				return []Deletion{d}
			},
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := Finding{}
		if !r.Sound() {
			got = Finding{Kind: r.Findings[0].Kind, Number: r.Findings[0].Number, Count: r.Findings[0].Count}
		}
		if got != c.want || r.Deleted != c.deleted {
			t.Errorf("%s: %+v, want %+v", name, r, c.want)
		}
	}
}

// TestCopy verifies a part of the records, and consistency, with the tiles that are copied for it and no others.
func TestCopy(t *testing.T) {
	k, dir, all := key(t, origin), t.TempDir(), records(many)
	before := written(t, k, dir, 0, all[:777])
	text := written(t, k, dir, 777, all[777:])
	to, tiles := t.TempDir(), 0
	err := Files(os.DirFS(dir)).Copy(t.Context(), many, 40_000, 41_000, []uint64{777, 3}, func(name string, data []byte) error {
		tiles++
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o600)
	})
	if err != nil || tiles != 5+2+1+2+1 { // of the records, alone, the last; of level 1; of level 2
		t.Fatal(tiles, err)
	}
	e := &Evidence{
		Keys: Keys{Ledger: k.verifier}, Tree: Files(os.DirFS(to)), Checkpoint: text, Earlier: before,
		First: 40_000, Last: 41_000, Records: eachFrom(40_000, all[39_999:41_000]),
	}
	if r, err := Verify(t.Context(), e); err != nil || !r.Sound() || r.Verified != 1001 || r.Earlier != 777 {
		t.Errorf("%+v, %v", r, err)
	}
	worse := slices.Clone(all)
	worse[40_500] = bytes.ToUpper(worse[40_500])
	e.Records = eachFrom(40_000, worse[39_999:41_000])
	if r, err := Verify(t.Context(), e); err != nil || r.Sound() || r.Findings[0].Number != 40_501 {
		t.Errorf("%+v, %v", r, err)
	}
}
