package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/palisade-security/palisade/store/journal"
)

func open(t testing.TB, o journal.Options) (*journal.Journal, journal.Recovery) {
	t.Helper()
	j, rec, err := journal.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, rec
}

func mustAppend(t testing.TB, j *journal.Journal, recs ...string) {
	t.Helper()
	for _, r := range recs {
		if _, err := j.Append(t.Context(), []byte(r)); err != nil {
			t.Fatal(err)
		}
	}
}

// readAll returns records as "seq=data" and errors by their text.
func readAll(dir string, from uint64) []string {
	var got []string
	for r, err := range journal.Read(dir, from) {
		if err != nil {
			got = append(got, "error: "+err.Error())
			continue
		}
		got = append(got, fmt.Sprintf("%d=%s", r.Seq, r.Data))
	}
	return got
}

func expect(t testing.TB, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestAppendReadReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	j, rec := open(t, journal.Options{Dir: dir})
	if rec.Next != 1 || rec.Cut != 0 || rec.Segments != 1 {
		t.Errorf("recovery of nothing: %+v", rec)
	}
	mustAppend(t, j, "a", "", "ccc")
	expect(t, readAll(dir, 0), "1=a", "2=", "3=ccc")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), []byte("x")); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if j.Offer([]byte("x")) {
		t.Error("offer after close was taken")
	}
	j, rec = open(t, journal.Options{Dir: dir})
	if rec.Next != 4 || rec.Cut != 0 {
		t.Errorf("recovery: %+v", rec)
	}
	mustAppend(t, j, "d")
	expect(t, readAll(dir, 3), "3=ccc", "4=d")
	expect(t, readAll(dir, 9))
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	j, _ := open(t, journal.Options{Dir: dir})
	mustAppend(t, j, "a")
	for path, want := range map[string]os.FileMode{dir: 0o700, segments(t, dir)[0]: 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: mode %o, want %o", filepath.Base(path), got, want)
		}
	}
}

func TestOneWriter(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, journal.Options{Dir: dir})
	if _, _, err := journal.Open(journal.Options{Dir: dir}); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("second writer: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, journal.Options{Dir: dir})
}

func TestWrongOptions(t *testing.T) {
	for _, o := range []journal.Options{
		{},
		{Dir: "x", SegmentBytes: -1},
		{Dir: "x", KeepBytes: -1},
		{Dir: "x", MaxRecord: -1},
		{Dir: "x", MaxRecord: journal.MaxRecordLimit + 1},
		{Dir: "x", MaxPending: -1},
		{Dir: "x", PendingBytes: -1},
	} {
		if _, _, err := journal.Open(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestTooLarge(t *testing.T) {
	j, _ := open(t, journal.Options{Dir: t.TempDir(), MaxRecord: 3})
	mustAppend(t, j, "abc")
	if _, err := j.Append(t.Context(), []byte("abcd")); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if j.Offer([]byte("abcd")) {
		t.Error("offer was taken")
	}
}

func TestConcurrentAppend(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, journal.Options{Dir: dir, SegmentBytes: 4 << 10, MaxPending: 7})
	const writers, each = 16, 50
	var (
		mu    sync.Mutex
		acked = map[uint64]string{}
		wg    sync.WaitGroup
	)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				rec := fmt.Sprintf("writer %d record %d %s", w, i, strings.Repeat("x", i))
				seq, err := j.Append(t.Context(), []byte(rec))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[seq] = rec
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(acked) != writers*each {
		t.Fatalf("%d sequence numbers for %d records", len(acked), writers*each)
	}
	want := uint64(1)
	for r, err := range journal.Read(dir, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Seq != want || acked[r.Seq] != string(r.Data) {
			t.Fatalf("record %d is %q, want number %d and %q", r.Seq, r.Data, want, acked[want])
		}
		want++
	}
	if want != writers*each+1 {
		t.Errorf("%d records read", want-1)
	}
}

func TestSegmentsAreBoundedAndRetired(t *testing.T) {
	dir := t.TempDir()
	o := journal.Options{Dir: dir, SegmentBytes: 256, KeepBytes: 1000}
	j, _ := open(t, o)
	for range 100 {
		mustAppend(t, j, strings.Repeat("r", 50))
	}
	mustAppend(t, j, strings.Repeat("L", 2000)) // one that fits no segment
	mustAppend(t, j, "last")
	var total int64
	for _, p := range segments(t, dir) {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
		if info.Size() > 256 && info.Size() != 2000+16+20 {
			t.Errorf("%s has %d bytes", filepath.Base(p), info.Size())
		}
	}
	got := readAll(dir, 0)
	if got[len(got)-1] != "102=last" {
		t.Errorf("last record %q", got[len(got)-1])
	}
	if total > 1000+256+2036 {
		t.Errorf("%d bytes kept", total)
	}
	got = readAll(dir, 1)
	if !strings.HasPrefix(got[0], "error: journal records 1 to ") {
		t.Errorf("reading deleted records: %q", got[0])
	}
}

func TestOfferIsBounded(t *testing.T) {
	dir := t.TempDir()
	// Nothing is due before the hour is over or two records wait; the third may find no room.
	j, _ := open(t, journal.Options{Dir: dir, MaxPending: 4, PendingBytes: 100})
	taken := 0
	for range 1000 {
		if j.Offer(bytes.Repeat([]byte("o"), 20)) {
			taken++
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(readAll(dir, 0)); got != taken || taken == 1000 || taken == 0 {
		t.Errorf("%d of 1000 taken, %d written", taken, got)
	}
}

func TestAppendGivesUpWithContext(t *testing.T) {
	j, _ := open(t, journal.Options{Dir: t.TempDir()})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("client left")
	cancel(why)
	if _, err := j.Append(ctx, []byte("x")); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	mustAppend(t, j, "y")
}

func TestFollowAcrossSegments(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, journal.Options{Dir: dir, SegmentBytes: 128})
	mustAppend(t, j, "old 1", "old 2")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 200 {
			if _, err := j.Append(ctx, fmt.Appendf(nil, "new %d", i+3)); err != nil {
				t.Error(err)
			}
		}
	})
	want := uint64(2)
	for r, err := range journal.Follow(ctx, dir, 2) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Seq != want {
			t.Fatalf("record %d, want %d", r.Seq, want)
		}
		if want++; want > 202 {
			break
		}
	}
	wg.Wait()
	ended := false
	wg.Go(func() {
		for range journal.Follow(ctx, dir, 0) {
			cancel() // in the middle: nothing more may come
			if ended {
				t.Error("a record after the context was done")
			}
			ended = true
		}
	})
	wg.Wait()
}
