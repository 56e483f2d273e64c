package events_test

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/internal/buckettest"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/query/querytest"
	"github.com/palisade-security/palisade/store/segment"
)

// later is when all hours of the tests are long over.
var later = start.Add(24 * time.Hour)

// objects are the names of what a server has, but for the catalogue.
func objects(t testing.TB, s *buckettest.Server) (names []string) {
	t.Helper()
	must(t, filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".parquet") {
			name, _ := filepath.Rel(s.Dir, path)
			names = append(names, name)
		}
		return err
	}))
	return names
}

// filled is a store of which all but the last 500 events are in the bucket alone.
func filled(t testing.TB, s *buckettest.Server, o events.Options) (*events.Store, events.Options, []*event.Event) {
	t.Helper()
	o.Dir, o.Bucket = t.TempDir(), s.Bucket(t, "store")
	st, _ := open(t, o)
	given := eventtest.New(1, start, time.Second).Take(6000)
	for part := range slices.Chunk(given[:5500], 1100) {
		must(t, st.Append(t.Context(), part))
		must(t, st.Seal(t.Context()))
	}
	must(t, st.Deposit(t.Context(), later))
	must(t, st.Append(t.Context(), given[5500:]))
	return st, o, given
}

// TestDeposit takes events into the bucket, finds them there, knows them again, starts anew, looks, and deletes them.
func TestDeposit(t *testing.T) {
	server := buckettest.Start(t)
	s, o, given := filled(t, server, events.Options{Keep: map[string]time.Duration{segment.ClassRequest: 48 * time.Hour}})
	if n := len(files(t, o.Dir)); n != 0 || len(objects(t, server)) == 0 {
		t.Fatalf("%d files, %d objects", n, len(objects(t, server)))
	}
	same(t, s, given)
	must(t, s.Append(t.Context(), given[1000:1050])) // delivered again
	must(t, s.Append(t.Context(), given[5490:5510]))
	same(t, s, given)
	before := numbered(t, s)
	must(t, s.Close())

	l, err := events.Peek(t.Context(), o.Dir, o.Bucket)
	must(t, err)
	n := 0
	for r, err := range l.Records(t.Context(), 1) {
		must(t, err)
		if before[r.Number] != string(r.JSON()) {
			t.Fatalf("number %d is %s", r.Number, r.JSON())
		}
		n++
	}
	must(t, l.Close())
	if n != len(given) {
		t.Errorf("%d of %d are seen", n, len(given))
	}

	s, r := open(t, o)
	if r.Replayed != 500 || len(r.Damaged) != 0 {
		t.Errorf("%+v", r)
	}
	same(t, s, given)
	must(t, s.Compact(t.Context(), later.Add(48*time.Hour)))
	must(t, s.Retain(t.Context(), start.Add(72*time.Hour)))
	left := slices.DeleteFunc(slices.Clone(given[:5500]), func(e *event.Event) bool { return segment.ClassOf(e) == segment.ClassRequest })
	same(t, s, append(left, given[5500:]...))
	must(t, s.Deposit(t.Context(), later))
	for _, name := range objects(t, server) {
		if strings.Contains(name, "class="+segment.ClassRequest+"/") {
			t.Errorf("%s is still there", name)
		}
	}
	if tails, _ := filepath.Glob(filepath.Join(o.Dir, "segments", "*")); len(tails) != len(objects(t, server)) {
		t.Errorf("%d files for %d objects", len(tails), len(objects(t, server)))
	}
}

// TestDisk keeps the newest files beside their objects, as many as fit.
func TestDisk(t *testing.T) {
	server := buckettest.Start(t)
	_, all, _ := filled(t, server, events.Options{Disk: 1 << 40})
	names := files(t, all.Dir)
	if len(names) != len(objects(t, server)) {
		t.Fatalf("%d files, %d objects", len(names), len(objects(t, server)))
	}
	size := int64(0)
	for _, name := range names {
		info, err := os.Stat(name)
		must(t, err)
		size += info.Size()
	}
	s, _, given := filled(t, buckettest.Start(t), events.Options{Disk: size / 2})
	same(t, s, given)
}

// TestDepositAnswers compares with the reference: of events in the bucket, in files and in memory.
func TestDepositAnswers(t *testing.T) {
	server := buckettest.Start(t)
	s, _ := open(t, events.Options{Dir: t.TempDir(), Bucket: server.Bucket(t, ""), Disk: 100 << 10})
	given := append(eventtest.New(5, start, 100*time.Millisecond).Take(3700), eventtest.New(7, start, time.Second).Logs(300)...)
	shuffled := slices.Clone(given)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for i, part := range slices.Collect(slices.Chunk(shuffled, 900)) {
		must(t, s.Append(t.Context(), part))
		if i < 3 {
			must(t, s.Seal(t.Context()))
			must(t, s.Deposit(t.Context(), later))
		}
	}
	if len(objects(t, server)) == 0 {
		t.Fatal("nothing is in the bucket")
	}
	querytest.Compare(t, given, s, 30)
}

// TestOutOfReach: what needs the bucket fails and names it, all else goes on; nothing is lost, nothing is twice.
func TestOutOfReach(t *testing.T) {
	server := buckettest.Start(t)
	s, o, given := filled(t, server, events.Options{})
	must(t, s.Close())
	server.Away(true)
	o.Bucket = server.Bucket(t, "store") // without connections, and the process without memory of objects
	s, r := open(t, o)
	if len(r.Damaged) != 0 {
		t.Fatalf("%v", r.Damaged)
	}
	var away *segment.AwayError
	if _, err := s.Last(t.Context(), query.Query{}, 100, query.Cursor{}); err != nil {
		t.Errorf("the newest: %v", err)
	}
	if page, err := s.Last(t.Context(), query.Query{}, 2000, query.Cursor{}); !errors.As(err, &away) || !strings.Contains(err.Error(), "bucket "+buckettest.Name+" at 127.0.0.1") {
		t.Errorf("all: %v, %v", page, err)
	}
	if _, err := s.Histogram(t.Context(), query.Query{From: start, To: start.Add(time.Hour)}, time.Hour, query.Service, 5); !errors.As(err, &away) {
		t.Errorf("over all: %v", err)
	}
	told := 0
	for _, err := range s.Records(t.Context(), 1) {
		if errors.As(err, &away) {
			told++
		}
	}
	if told == 0 {
		t.Error("records are left out and nobody says so")
	}
	if err := s.Append(t.Context(), given[1000:1050]); !errors.As(err, &away) {
		t.Errorf("what may be there: %v", err)
	}
	more := eventtest.New(3, start.Add(10*time.Hour), time.Second).Take(100)
	must(t, s.Append(t.Context(), more))
	must(t, s.Seal(t.Context()))
	if err := s.Deposit(t.Context(), later); err == nil || !strings.Contains(err.Error(), "bucket "+buckettest.Name) {
		t.Errorf("%v", err)
	}
	if w, ok := s.Waiting(later); !ok || w.Segments != len(files(t, o.Dir)) || w.Bytes == 0 || !w.Oldest.Equal(given[5500].Time) {
		t.Errorf("waiting: %+v, %v", w, ok)
	}
	if w, _ := s.Waiting(start); w != (events.Waiting{}) {
		t.Errorf("waiting before its hour is over: %+v", w)
	}
	server.Away(false)
	must(t, s.Append(t.Context(), given[1000:1050]))
	must(t, s.Deposit(t.Context(), later))
	if n := len(files(t, o.Dir)); n != 0 {
		t.Errorf("%d files", n)
	}
	if w, ok := s.Waiting(later); !ok || w != (events.Waiting{}) {
		t.Errorf("waiting: %+v, %v", w, ok)
	}
	same(t, s, append(given, more...))
	must(t, s.Close())

	o.Bucket = nil
	s, r = open(t, o)
	if _, ok := s.Waiting(later); ok {
		t.Error("something waits for a bucket that there is not")
	}
	if _, err := s.Last(t.Context(), query.Query{}, 2000, query.Cursor{}); len(r.Damaged) != 0 && err == nil || err == nil || !strings.Contains(err.Error(), "audit.bucket") {
		t.Errorf("without the bucket: %v, %v", r.Damaged, err)
	}
}

// TestGoneObject: an object that somebody deleted is damage, and named.
func TestGoneObject(t *testing.T) {
	server := buckettest.Start(t)
	s, _, _ := filled(t, server, events.Options{})
	must(t, os.Remove(filepath.Join(server.Dir, objects(t, server)[0])))
	var damage *segment.DamageError
	if _, err := s.Last(t.Context(), query.Query{}, 10_000, query.Cursor{}); !errors.As(err, &damage) {
		t.Errorf("%v", err)
	}
}

// TestAdopt begins with what the bucket has when the disk is gone; the store before it leaves the bucket alone from then on.
func TestAdopt(t *testing.T) {
	server := buckettest.Start(t)
	s, o, given := filled(t, server, events.Options{})
	must(t, s.Hold(t.Context(), query.Hold{Name: "case-1", Reason: "a case", By: "x", Placed: later, Query: "outcome:denied"}))
	must(t, s.Deposit(t.Context(), later))
	next, _ := open(t, events.Options{Dir: t.TempDir(), Bucket: o.Bucket})
	if held, err := next.Holds(t.Context()); err != nil || len(held) != 1 {
		t.Errorf("holds: %v, %v", held, err)
	}
	same(t, next, given[:5500])
	must(t, next.Append(t.Context(), given[5400:])) // proxies deliver again
	same(t, next, given)
	must(t, next.Seal(t.Context()))
	must(t, next.Deposit(t.Context(), later))
	had := objects(t, server)
	must(t, s.Seal(t.Context()))
	for range 2 {
		if err := s.Deposit(t.Context(), later.Add(48*time.Hour)); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("the one before: %v", err)
		}
	}
	same(t, s, given)
	same(t, next, given)
	for _, name := range had {
		if !slices.Contains(objects(t, server), name) {
			t.Errorf("%s is gone", name)
		}
	}
	must(t, s.Close())
	s, _ = open(t, o)
	if err := s.Deposit(t.Context(), later); err == nil || !strings.Contains(err.Error(), "another store") {
		t.Errorf("the one before, started again: %v", err)
	}
}

// TestCopied starts a copy of a directory beside it: one of both brings segments, the other says why it does not.
func TestCopied(t *testing.T) {
	server := buckettest.Start(t)
	s, o, given := filled(t, server, events.Options{})
	must(t, s.Close())
	copied := o
	copied.Dir = t.TempDir()
	must(t, os.CopyFS(copied.Dir, os.DirFS(o.Dir)))
	s, _ = open(t, o)
	second, _ := open(t, copied)
	must(t, s.Seal(t.Context()))
	must(t, s.Deposit(t.Context(), later))
	must(t, second.Append(t.Context(), eventtest.New(8, start, time.Second).Take(10)))
	must(t, second.Seal(t.Context()))
	if err := second.Deposit(t.Context(), later); err == nil || !strings.Contains(err.Error(), "a later state") {
		t.Errorf("the copy: %v", err)
	}
	same(t, s, given)
}

// TestElsewhere points a store at another bucket.
func TestElsewhere(t *testing.T) {
	server := buckettest.Start(t)
	s, o, _ := filled(t, server, events.Options{})
	must(t, s.Close())
	o.Bucket = server.Bucket(t, "other")
	s, _ = open(t, o)
	if err := s.Deposit(t.Context(), later); err == nil || !strings.Contains(err.Error(), "another bucket or prefix") {
		t.Errorf("%v", err)
	}
	must(t, os.WriteFile(filepath.Join(server.Dir, "bad"), nil, 0o600))
	bad := server.Bucket(t, "bad2")
	_, err := bad.Replace(t.Context(), "manifest.json", "application/json", []byte(`{"segments":[{"name":"../../x","object":"y"}]}`), "")
	must(t, err)
	if _, _, err := events.Open(t.Context(), events.Options{Dir: t.TempDir(), Bucket: bad}); err == nil || !strings.Contains(err.Error(), "../../x") {
		t.Errorf("a hostile catalogue: %v", err)
	}
	server.Away(true)
	if _, _, err := events.Open(t.Context(), events.Options{Dir: t.TempDir(), Bucket: server.Bucket(t, "new")}); err == nil || !strings.Contains(err.Error(), "bucket") {
		t.Errorf("begins without knowing what the bucket has: %v", err)
	}
}

// depositAlways brings segments in a process that will be killed.
func depositAlways(ctx context.Context, s *events.Store) {
	for ctx.Err() == nil {
		if err := s.Deposit(ctx, start.Add(10_000*time.Hour)); err != nil && ctx.Err() == nil {
			os.Stderr.WriteString(err.Error() + "\n")
		}
	}
}

// TestKillDeposit kills a process that appends, seals, merges and brings, at random moments, while the bucket comes and goes. In the end all
// that was acknowledged is there once, and the bucket has no object that is not of the store.
func TestKillDeposit(t *testing.T) {
	server := buckettest.Start(t)
	rounds := 8
	if n, err := strconv.Atoi(os.Getenv(killRounds)); err == nil {
		rounds = n
	}
	t.Setenv(childBucket, server.URL)
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	acknowledged := 0
	for i := range rounds {
		away := i%3 == 1 // whether what is delivered again lies in the bucket can then not be known, and is refused
		server.Away(away)
		acknowledged = max(acknowledged, round(t, dir, max(0, acknowledged-3*killBatch), 1+r.IntN(25), time.Duration(r.IntN(400_000))*time.Microsecond, away))
	}
	server.Away(false)
	s, rec := open(t, events.Options{Dir: dir, Bucket: server.Bucket(t, "store")})
	if len(rec.Damaged) > 0 {
		t.Fatal(rec.Damaged)
	}
	must(t, s.Deposit(t.Context(), start.Add(10_000*time.Hour)))
	got := map[string]int{}
	for _, e := range all(t, s) {
		got[string(event.AppendJSON(nil, e))]++
	}
	for _, e := range eventtest.New(9, start, time.Second).Take(acknowledged) {
		if n := got[string(event.AppendJSON(nil, e))]; n != 1 {
			t.Errorf("event %s is there %d times", e.ID, n)
		}
	}
	tails, err := filepath.Glob(filepath.Join(dir, "segments", "*.tail"))
	must(t, err)
	if n := len(objects(t, server)); n != len(tails) || n == 0 {
		t.Errorf("%d objects, %d segments in the bucket", n, len(tails))
	}
	t.Logf("%d rounds, %d acknowledged, %d different there, %d objects", rounds, acknowledged, len(got), len(tails))
}

// childOptions are those of a process that will be killed.
func childOptions(dir string) (events.Options, error) {
	o := events.Options{Dir: dir, SealRows: 300, SealAge: 20 * time.Millisecond, MergeRows: 2000}
	url := os.Getenv(childBucket)
	if url == "" {
		return o, nil
	}
	var err error
	o.Bucket, err = bucket.New(bucket.Options{URL: url, Bucket: buckettest.Name, Prefix: "store", User: buckettest.User, Password: buckettest.Password})
	return o, err
}
