package objects_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/internal/buckettest"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/sink/objects"
	"github.com/palisade-security/palisade/sink/sinktest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hours are n events over about three hours.
func hours(n int) []sink.Record {
	return sinktest.Number(eventtest.New(11, sinktest.Start, 3*time.Hour/time.Duration(n)).Take(n))
}

func target(t *testing.T, s *buckettest.Server) *objects.Target {
	t.Helper()
	return objects.New(objects.Options{Bucket: s.Bucket(t, "fleet=shop"), Host: "edge 1/eu"})
}

// stored are the lines of all objects, by name, as files of the server.
func stored(t *testing.T, s *buckettest.Server) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	must(t, filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".jsonl.gz") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(s.Dir, path)
		lines := bufio.NewScanner(z)
		lines.Buffer(nil, 1<<24)
		for lines.Scan() {
			out[name] = append(out[name], lines.Text())
		}
		return lines.Err()
	}))
	return out
}

// check wants every record once in what is stored, in the hour that is its own.
func check(t *testing.T, got map[string][]string, sent []sink.Record) {
	t.Helper()
	want := map[string]string{}
	for _, r := range sent {
		want[string(event.AppendJSON(nil, r.Event))] = r.Event.Time.UTC().Format("date=2006-01-02/hour=15/")
	}
	n := 0
	for name, lines := range got {
		n += len(lines)
		for _, line := range lines {
			if hour := want[line]; hour == "" || !strings.HasPrefix(name, "fleet=shop/"+hour+"edge-1-eu-0000") {
				t.Fatalf("in %s: %s", name, line)
			}
			delete(want, line)
		}
	}
	if len(want) > 0 || n != len(sent) {
		t.Errorf("%d lines of %d, %d are missing", n, len(sent), len(want))
	}
}

// TestLines sends what breaks formats, and events of hours.
func TestLines(t *testing.T) {
	s := buckettest.Start(t)
	to := target(t, s)
	samples := sinktest.Samples()
	must(t, to.Send(t.Context(), samples))
	check(t, stored(t, s), samples)
	more := hours(500)
	must(t, to.Send(t.Context(), more))
	var names []string
	for name := range stored(t, s) {
		names = append(names, name)
	}
	if len(names) < 5 {
		t.Errorf("%q", names)
	}
}

// TestAgain sends batches that were sent before and begin and end elsewhere, as after a crash: objects lie over themselves.
func TestAgain(t *testing.T) {
	s := buckettest.Start(t)
	to := target(t, s)
	all := hours(900)
	must(t, to.Send(t.Context(), all[:700]))
	for i := 0; i < len(all); i += 100 { // shorter
		must(t, to.Send(t.Context(), all[i:i+100]))
	}
	short := stored(t, s)
	check(t, short, all)
	must(t, to.Send(t.Context(), all[800:])) // the last again
	if again := stored(t, s); !maps.EqualFunc(again, short, slices.Equal) {
		t.Errorf("%d objects, were %d", len(again), len(short))
	}
	other := hours(50)
	for _, r := range other {
		r.Event.ID += "x"
	}
	must(t, to.Send(t.Context(), other[:1])) // a state directory that begins anew
	if n := len(stored(t, s)); n != len(short)+1 {
		t.Errorf("%d objects, want one more than %d", n, len(short))
	}
}

// source is records in memory.
type source []sink.Record

func (s source) Head() uint64 { return uint64(len(s) + 1) }

func (s source) Next(ctx context.Context, from uint64, most sink.Bound) (sink.Batch, error) {
	at := max(from, 1) - 1
	if at == uint64(len(s)) {
		<-ctx.Done()
		return sink.Batch{}, context.Cause(ctx)
	}
	part := s[at:min(int(at)+most.Records, len(s))]
	return sink.Batch{Records: part, Next: at + 1 + uint64(len(part))}, nil
}

// TestAway has the server go away and come back while a sink follows a record.
func TestAway(t *testing.T) {
	s := buckettest.Start(t)
	all := source(hours(2000))
	s.Away(true)
	one, err := sink.Open(sink.Options{
		Name: "x", Kind: "s3", Dir: t.TempDir(), Source: all, Target: target(t, s), Batch: sink.Bound{Records: 300, Bytes: 1 << 30},
		Linger: -1, First: 20 * time.Millisecond, Most: 20 * time.Millisecond,
	})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- one.Run(ctx) }()
	await(t, func(st sink.Status) bool { return st.Failures > 0 }, one)
	if st := one.Status(); st.Position > 1 || !strings.Contains(st.Failing, "bucket events at") || strings.Contains(st.Failing, buckettest.Password) {
		t.Errorf("%+v", st)
	}
	s.Away(false)
	await(t, func(st sink.Status) bool { return st.Position > 300 }, one)
	s.Away(true)
	s.Away(false)
	await(t, func(st sink.Status) bool { return st.Position == all.Head() }, one)
	cancel()
	must(t, <-done)
	check(t, stored(t, s), all)
	if st := one.Status(); st.Sent != uint64(len(all)) || st.Refused+st.Lost != 0 {
		t.Errorf("%+v", st)
	}
}

func await(t *testing.T, holds func(sink.Status) bool, of *sink.Sink) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds(of.Status()) {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("%+v", of.Status())
		}
	}
}

// TestPartly keeps what was put before something failed.
func TestPartly(t *testing.T) {
	s := buckettest.Start(t)
	all := hours(300)
	seen := 0
	to := objects.New(objects.Options{Bucket: s.Bucket(t, ""), Dir: t.TempDir(), Parquet: func(dir, name string, records []sink.Record) (uint32, error) {
		if seen++; seen == 2 {
			return 0, errors.New("disk full")
		}
		return 0, os.WriteFile(filepath.Join(dir, name), nil, 0o600)
	}})
	err := to.Send(t.Context(), all)
	partial, ok := errors.AsType[*sink.PartialError](err)
	if !ok || len(partial.Again) == 0 || !slices.IsSorted(partial.Again) || !strings.Contains(partial.Reason, "disk full") {
		t.Fatalf("%v", err)
	}
	first := all[0].Event.Time.UTC().Truncate(time.Hour)
	for i, r := range all {
		if again := slices.Contains(partial.Again, i); again == r.Event.Time.UTC().Truncate(time.Hour).Equal(first) {
			t.Fatalf("record %d of %v: again %t", i, r.Event.Time, again)
		}
	}
	seen = 1
	if err := to.Send(t.Context(), all[:1]); err == nil || strings.Contains(err.Error(), "wants") {
		t.Errorf("nothing was put: %v", err)
	}
}

// TestMended is what an operator can mend: nothing of it becomes a dead letter.
func TestMended(t *testing.T) {
	s := buckettest.Start(t)
	for what, o := range s.Wrong() {
		b, err := bucket.New(o)
		must(t, err)
		to := objects.New(objects.Options{Bucket: b})
		err = to.Send(t.Context(), hours(3)[:1])
		_, refused := errors.AsType[*sink.RefusedError](err)
		if err == nil || refused || errors.Is(err, sink.ErrTooLarge) || bytes.Contains([]byte(err.Error()), []byte(o.Password)) {
			t.Errorf("%s: %v", what, err)
		}
		must(t, to.Close())
	}
}
