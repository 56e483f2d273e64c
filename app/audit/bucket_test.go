package audit

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/internal/buckettest"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/events"
)

// deposited is a place whose segments lie in a bucket: beside their files, or there alone.
func deposited(t *testing.T, server *buckettest.Server, disk int64) *place {
	t.Helper()
	p := newPlace(t)
	p.Bucket = func() (*bucket.Bucket, error) { return server.Bucket(t, "store"), nil }
	s := p.open(t, events.Options{Bucket: server.Bucket(t, "store"), Disk: disk})
	stop := p.running(t, s)
	for part := range slices.Chunk(given(many), many/3+1) {
		must(t, s.Append(t.Context(), part))
		must(t, s.Seal(t.Context()))
	}
	p.told(t, many)
	must(t, s.Deposit(t.Context(), start.Add(24*time.Hour)))
	stop()
	must(t, s.Close())
	return p
}

// objects are those of a server that are segments, as paths.
func objects(t *testing.T, s *buckettest.Server) (paths []string) {
	t.Helper()
	must(t, filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".parquet") {
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}

// TestBucket verifies what lies in a bucket, and tampers there: each object that is not as it was is named.
func TestBucket(t *testing.T) {
	for where, disk := range map[string]int64{"there alone": 0, "in files, too": 1 << 40} {
		t.Run(where, func(t *testing.T) {
			server := buckettest.Start(t)
			p := deposited(t, server, disk)
			if left, err := filepath.Glob(filepath.Join(p.Store, "segments", "*.parquet")); err != nil || (len(left) == 0) != (disk == 0) {
				t.Fatalf("%q, %v", left, err)
			}
			whole := p.verify(t, &Trust{})
			if !whole.Sound() || whole.Verified != many {
				t.Fatalf("untouched: %+v", whole)
			}
			all := objects(t, server)
			if len(all) < 6 {
				t.Fatal(all)
			}
			for name, tamper := range tampers(t) {
				for _, other := range [][]string{{all[0], all[1]}, {all[len(all)-1], all[len(all)-2]}} {
					had := [][]byte{textOf(t, other[0]), textOf(t, other[1])}
					concerned := tamper(other[0], other[1])
					r := p.verify(t, &Trust{})
					for _, path := range concerned {
						object, err := filepath.Rel(filepath.Join(server.Dir, "store"), path)
						must(t, err)
						if !slices.ContainsFunc(r.Findings, func(f ledger.Finding) bool { return f.Kind == ledger.Unreadable && strings.Contains(f.Text, object) }) {
							t.Errorf("%s: %s is not named: %+v", name, object, r.Findings)
						}
					}
					for i, path := range other {
						must(t, os.WriteFile(path, had[i], 0o600))
					}
				}
			}
			if r := p.verify(t, &Trust{}); !r.Sound() {
				t.Errorf("put back: %+v", r)
			}
			server.Away(true)
			if r, err := VerifyStore(t.Context(), p.Place, time.Time{}, &Trust{}); err == nil || !strings.Contains(err.Error(), "bucket "+buckettest.Name) {
				t.Errorf("of a bucket that is away: %+v, %v", r, err)
			}
		})
	}
}

func textOf(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return text
}

// tampers are what is done to one of two objects, or to both. They return which are not as they were.
func tampers(t *testing.T) map[string]func(a, b string) []string {
	flipped := func(path string, at func(text []byte) int) {
		text := textOf(t, path)
		text[at(text)] ^= 1
		must(t, os.WriteFile(path, text, 0o600))
	}
	return map[string]func(a, b string) []string{
		"altered":   func(a, _ string) []string { flipped(a, func(b []byte) int { return len(b) / 3 }); return []string{a} },
		"its end":   func(a, _ string) []string { flipped(a, func(b []byte) int { return len(b) - 20 }); return []string{a} },
		"deleted":   func(a, _ string) []string { must(t, os.Remove(a)); return []string{a} },
		"truncated": func(a, _ string) []string { must(t, os.Truncate(a, int64(len(textOf(t, a))/2))); return []string{a} },
		"emptied":   func(a, _ string) []string { must(t, os.Truncate(a, 0)); return []string{a} },
		"grown": func(a, _ string) []string {
			must(t, os.WriteFile(a, append(bytes.Clone(textOf(t, a)), "PAR1"...), 0o600))
			return []string{a}
		},
		"swapped": func(a, b string) []string {
			of, other := textOf(t, a), textOf(t, b)
			must(t, os.WriteFile(a, other, 0o600))
			must(t, os.WriteFile(b, of, 0o600))
			return []string{a, b}
		},
		"replaced": func(a, b string) []string { must(t, os.WriteFile(a, textOf(t, b), 0o600)); return []string{a} },
	}
}
