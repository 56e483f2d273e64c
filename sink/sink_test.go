package sink_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/sink/sinktest"
)

// record is a record in memory.
type record struct {
	mu    sync.Mutex
	all   []sink.Record
	first uint64 // those before are gone
	more  chan struct{}
}

func newRecord(n int) *record {
	return &record{all: sinktest.Records(n), first: 1, more: make(chan struct{}, 1)}
}

func (r *record) add(some ...sink.Record) {
	r.mu.Lock()
	r.all = append(r.all, some...)
	r.mu.Unlock()
	r.more <- struct{}{}
}

func (r *record) Head() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(len(r.all)) + 1
}

func (r *record) Next(ctx context.Context, from uint64, most sink.Bound) (sink.Batch, error) {
	if from = max(from, 1); from > r.Head() {
		from = 1
	}
	for {
		r.mu.Lock()
		lost := max(from, r.first) - from
		b := sink.Batch{Next: from + lost, Lost: lost}
		for b.Next <= uint64(len(r.all)) && len(b.Records) < most.Records {
			b.Records = append(b.Records, r.all[b.Next-1])
			b.Next++
		}
		r.mu.Unlock()
		if b.Next > from {
			return b, nil
		}
		select {
		case <-r.more:
		case <-ctx.Done():
			return sink.Batch{}, context.Cause(ctx)
		}
	}
}

// server is a target that remembers what it took.
type server struct {
	took   []uint64
	tries  []int // sizes of batches
	judge  func(ctx context.Context, records []sink.Record) error
	closed bool
}

func (s *server) Send(ctx context.Context, records []sink.Record) error {
	s.tries = append(s.tries, len(records))
	var err error
	if s.judge != nil {
		err = s.judge(ctx, records)
	}
	left := map[int]bool{}
	if partial, ok := errors.AsType[*sink.PartialError](err); ok {
		for _, r := range partial.Refused {
			left[r.At] = true
		}
		for _, at := range partial.Again {
			left[at] = true
		}
	} else if err != nil {
		return err
	}
	for i, r := range records {
		if !left[i] {
			s.took = append(s.took, r.Number)
		}
	}
	return err
}

func (s *server) Close() error {
	s.closed = true
	return nil
}

func numbers(from, to uint64) (out []uint64) {
	for n := from; n <= to; n++ {
		out = append(out, n)
	}
	return out
}

func open(t *testing.T, o sink.Options) *sink.Sink {
	t.Helper()
	s, err := sink.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// during runs a sink until do returns, within a bubble.
func during(t *testing.T, s *sink.Sink, do func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	do()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func letters(t *testing.T, dir string) (out []uint64) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, sink.LettersFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var l struct {
			Number uint64
			Reason string
			Event  map[string]any
		}
		if err := json.Unmarshal(line, &l); err != nil || l.Reason == "" || l.Event["class_uid"] == nil {
			t.Errorf("%s %v", line, err)
		}
		out = append(out, l.Number)
	}
	return out
}

// TestFollows sends what is there and what comes, and goes on behind it after a restart.
func TestFollows(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r, to := newRecord(2500), &server{}
		s := open(t, sink.Options{Name: "a", Kind: "b", Dir: dir, Source: r, Target: to})
		during(t, s, func() {
			time.Sleep(time.Minute)
			r.add(sinktest.Records(10)...)
			time.Sleep(time.Minute)
		})
		if want := []int{1000, 1000, 500, 10}; !slices.Equal(to.tries, want) {
			t.Errorf("batches %v, want %v", to.tries, want)
		}
		if got := s.Status(); got.Position != 2511 || got.Behind != 0 || got.Sent != 2510 || got.Failing != "" || !to.closed {
			t.Errorf("%+v", got)
		}
		r.add(sinktest.Records(5)...)
		again := &server{}
		s = open(t, sink.Options{Dir: dir, Source: r, Target: again})
		if got := s.Status(); got.Position != 2511 || got.Behind != 5 {
			t.Errorf("after a restart %+v", got)
		}
		during(t, s, func() { time.Sleep(time.Minute) })
		if len(again.tries) != 1 || again.tries[0] != 5 {
			t.Errorf("after a restart batches %v", again.tries)
		}
	})
}

// TestPatience repeats what fails, in order, with growing pauses, and as late as the server asks for.
func TestPatience(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r, begin := newRecord(3000), time.Now()
		var times []time.Duration
		to := &server{judge: func(context.Context, []sink.Record) error {
			switch times = append(times, time.Since(begin)); len(times) {
			case 1, 2, 3, 4:
				return errors.New("connection refused")
			case 5:
				return &sink.BusyError{After: 5 * time.Minute, Reason: "429"}
			}
			return nil
		}}
		s := open(t, sink.Options{Dir: dir, Source: r, Target: to})
		during(t, s, func() {
			time.Sleep(2 * time.Second)
			if got := s.Status(); got.Failing != "connection refused" || got.Since.IsZero() || got.Sent != 0 || got.Behind != 3000 {
				t.Errorf("while it fails %+v", got)
			}
			time.Sleep(time.Hour)
		})
		if !slices.IsSorted(to.took) || len(to.took) != 3000 {
			t.Errorf("took %d, in order: %v", len(to.took), slices.IsSorted(to.took))
		}
		for i, least := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Minute} {
			if got := times[i+1] - times[i]; got < least || i < 4 && got > 2*least {
				t.Errorf("pause %d is %v, want %v to twice as much", i, got, least)
			}
		}
		if got := s.Status(); got.Failures != 5 || got.Failing != "" {
			t.Errorf("%+v", got)
		}
	})
}

// TestStops keeps the position of what was not taken.
func TestStops(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRecord(10)
		to := &server{judge: func(ctx context.Context, _ []sink.Record) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		s := open(t, sink.Options{Dir: dir, Source: r, Target: to})
		during(t, s, func() { time.Sleep(time.Second) })
		if got := s.Status(); got.Position != 0 || got.Failing != "" {
			t.Errorf("stopping is no failure: %+v", got)
		}
		during(t, s, func() { time.Sleep(sink.DefaultTimeout + time.Second) })
		if got := s.Status(); !strings.Contains(got.Failing, "deadline") {
			t.Errorf("a server that hangs: %+v", got)
		}
	})
}

// TestSplits finds what is at fault in batches that are refused or too large.
func TestSplits(t *testing.T) {
	bad := map[uint64]bool{1: true, 400: true, 401: true, 1500: true}
	for name, judge := range map[string]func(context.Context, []sink.Record) error{
		"refused": func(_ context.Context, records []sink.Record) error {
			if slices.ContainsFunc(records, func(r sink.Record) bool { return bad[r.Number] }) {
				return &sink.RefusedError{Reason: "400 mapper_parsing_exception"}
			}
			return nil
		},
		"too large": func(_ context.Context, records []sink.Record) error {
			if len(records) > 300 || slices.ContainsFunc(records, func(r sink.Record) bool { return bad[r.Number] }) {
				return fmt.Errorf("413: %w", sink.ErrTooLarge)
			}
			return nil
		},
		"partly": func(_ context.Context, records []sink.Record) error {
			out := &sink.PartialError{Reason: "429"}
			for i, r := range records {
				switch {
				case bad[r.Number]:
					out.Refused = append(out.Refused, sink.Refused{At: i, Reason: "400"})
				case i%2 == 1:
					out.Again = append(out.Again, i)
				}
			}
			if len(out.Refused)+len(out.Again) == 0 {
				return nil
			}
			return out
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				to := &server{judge: judge}
				s := open(t, sink.Options{Dir: dir, Source: newRecord(2000), Target: to})
				during(t, s, func() { time.Sleep(time.Hour) })
				want := slices.DeleteFunc(numbers(1, 2000), func(n uint64) bool { return bad[n] })
				if name == "partly" {
					slices.Sort(to.took)
				}
				if !slices.Equal(to.took, want) {
					t.Errorf("took %d, want %d", len(to.took), len(want))
				}
				if got := letters(t, dir); !slices.Equal(got, []uint64{1, 400, 401, 1500}) {
					t.Errorf("dead letters %v", got)
				}
				if got := s.Status(); got.Refused != 4 || got.Sent != 1996 || got.Behind != 0 || got.Failing != "" {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// TestUnnamed counts what a server refuses without saying which.
func TestUnnamed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		to := &server{judge: func(context.Context, []sink.Record) error { return &sink.PartialError{Unnamed: 3} }}
		s := open(t, sink.Options{Dir: dir, Source: newRecord(10), Target: to})
		during(t, s, func() { time.Sleep(time.Minute) })
		if got := s.Status(); got.Refused != 3 || got.Sent != 7 || len(to.tries) != 1 {
			t.Errorf("%+v, %v", got, to.tries)
		}
	})
}

// TestLettersAreBounded keeps the newest and counts what went.
func TestLettersAreBounded(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		to := &server{judge: func(context.Context, []sink.Record) error { return &sink.RefusedError{Reason: "no"} }}
		s := open(t, sink.Options{Dir: dir, Source: newRecord(300), Target: to, Dead: 100 << 10})
		during(t, s, func() { time.Sleep(time.Minute) })
		var size int64
		lines := 0
		for _, name := range []string{sink.LettersFile, sink.LettersFile + ".1"} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			size, lines = size+int64(len(text)), lines+bytes.Count(text, []byte("\n"))
		}
		got := s.Status()
		if size > 100<<10 || got.Refused != 300 || got.Dropped == 0 || int(got.Dropped)+lines != 300 {
			t.Errorf("%d bytes, %d lines, %+v", size, lines, got)
		}
		if last := letters(t, dir); last[len(last)-1] != 300 {
			t.Errorf("the newest is gone: %v", last)
		}
	})
}

// TestRecordChanges goes on when records are gone, or all began anew.
func TestRecordChanges(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r, to := newRecord(50), &server{}
		r.first = 21
		s := open(t, sink.Options{Dir: dir, Source: r, Target: to})
		during(t, s, func() { time.Sleep(time.Minute) })
		if got := s.Status(); got.Lost != 20 || !slices.Equal(to.took, numbers(21, 50)) {
			t.Errorf("%+v %v", got, to.took)
		}
		anew := &server{}
		s = open(t, sink.Options{Dir: dir, Source: newRecord(5), Target: anew})
		during(t, s, func() { time.Sleep(time.Minute) })
		if !slices.Equal(anew.took, numbers(1, 5)) {
			t.Errorf("of a new record %v", anew.took)
		}
	})
}

// TestDisk says what is wrong with a directory, and sends again while the position cannot be kept.
func TestDisk(t *testing.T) {
	if _, err := sink.Open(sink.Options{}); err == nil {
		t.Error("a sink without directory")
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "position.json")
	if err := os.WriteFile(at, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, to := newRecord(3), &server{}
	if _, err := sink.Open(sink.Options{Dir: dir, Source: r, Target: to}); err == nil || !strings.Contains(err.Error(), at) {
		t.Errorf("a damaged position: %v", err)
	}
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := open(t, sink.Options{Dir: dir, Source: r, Target: to})
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		during(t, s, func() { time.Sleep(10 * time.Second) })
		if got := s.Status(); got.Position != 0 || got.Failing == "" || len(to.tries) < 2 {
			t.Errorf("%+v %v", got, to.tries)
		}
	})
}

// lagging is a record whose head is known only when somebody looks.
type lagging struct {
	*record
	mu   sync.Mutex
	head uint64
}

func (l *lagging) Head() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

func (l *lagging) Look(context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head = l.record.Head()
}

// TestBehind counts what comes while a server is away.
func TestBehind(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &lagging{record: newRecord(10), head: 11}
		to := &server{judge: func(context.Context, []sink.Record) error { return errors.New("connection refused") }}
		s := open(t, sink.Options{Dir: dir, Source: r, Target: to})
		during(t, s, func() {
			time.Sleep(20 * time.Second)
			r.add(sinktest.Records(5)...)
			time.Sleep(6 * time.Second)
			if got := s.Status(); got.Behind != 15 || got.Failing == "" {
				t.Errorf("%+v", got)
			}
		})
	})
}

// TestRefusedIsNoOutage tells of dead letters once a minute, and of no outage.
func TestRefusedIsNoOutage(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r, outages := newRecord(10), 0
		var told []uint64
		to := &server{judge: func(context.Context, []sink.Record) error { return &sink.RefusedError{Reason: "400"} }}
		s := open(t, sink.Options{
			Dir: dir, Source: r, Target: to, Changed: func(sink.Status) { outages++ },
			Refused: func(n uint64, at string) {
				if told = append(told, n); at != filepath.Join(dir, sink.LettersFile) {
					t.Errorf("told of %s", at)
				}
			},
		})
		during(t, s, func() {
			time.Sleep(10 * time.Second)
			for range 8 {
				r.add(sinktest.Records(2)...)
				time.Sleep(5 * time.Second)
			}
			time.Sleep(2 * time.Minute)
			r.add(sinktest.Records(3)...)
			time.Sleep(2 * time.Second)
		})
		if !slices.Equal(told, []uint64{10, 16, 3}) || outages != 0 {
			t.Errorf("told %v, and of %d changes", told, outages)
		}
	})
}
