package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// EventsResults are all figures about the store of events of one run.
type EventsResults struct {
	Date    string        `json:"date"`
	Machine string        `json:"machine"`
	Load    string        `json:"load_average"` // of one, five and fifteen minutes, before the run
	Command string        `json:"command"`
	Rounds  int           `json:"rounds"`
	Sizes   []*EventsSize `json:"sizes"`
}

// EventsSize is one number of events, which spread over a day, in each store.
type EventsSize struct {
	Events int            `json:"events"`
	Stores []*EventsStore `json:"stores"`
}

// EventsStore is what one store did with the events. Times are in microseconds.
type EventsStore struct {
	Name     string        `json:"name"`
	PerCPU   float64       `json:"taken_per_cpu_second"` // from JSON until durable and sealed
	Elapsed  float64       `json:"taken_per_second"`     // by the clock, until the last was acknowledged
	P50      float64       `json:"batch_p50_us"`         // a batch, until it is durable and can be found
	P99      float64       `json:"batch_p99_us"`         //
	Merging  float64       `json:"merging_us_per_event"` // CPU of merging segments by hour
	Bytes    float64       `json:"bytes_per_event"`      // on disk, in the end, without logs
	Record   float64       `json:"json_bytes_per_event"` // of an event as JSON
	Peak     int64         `json:"peak_resident"`        // bytes, while taking events
	Resident int64         `json:"resident"`             // bytes, with all of them there, after unused memory went back
	Queries  []EventsQuery `json:"queries"`
	Bucket   []BucketQuery `json:"bucket,omitempty"` // the same, over segments in a bucket; ours alone
	trace    string
}

// EventsQuery is a query of the console.
type EventsQuery struct {
	Name string  `json:"name"`
	P50  float64 `json:"p50_us"`
	P95  float64 `json:"p95_us"`
	CPU  float64 `json:"cpu_us"`
	Rows int     `json:"rows"` // of the answer
}

const (
	eventsBatch = 1000           // events that are delivered together
	eventsSpan  = 24 * time.Hour // over which the events of a size spread
)

// eventStores are those that are compared.
var eventStores = []struct { //nolint:gochecknoglobals // constant
	name string
	open func(ctx context.Context, dir string) (eventStore, error)
}{{"palisade", openPalisadeEvents}, {"sqlite", openSQLiteEvents}}

// eventStore takes events and answers the queries of the console.
type eventStore interface {
	take(ctx context.Context, lines [][]byte) error
	seal(ctx context.Context) error                      // what belongs to taking events and is not done yet
	merge(ctx context.Context) error                     // what is done later
	ask(ctx context.Context, q *eventQuery) (int, error) // how many rows the answer has
	files(dir string) string                             // where the events are, in the end
	close() error
}

// runEvents measures the store of events beside SQLite with FTS5.
func runEvents(ctx context.Context, o *options) error {
	r := &EventsResults{Date: time.Now().UTC().Format("2006-01-02"), Machine: machine(), Load: loadAverage(), Command: command(), Rounds: o.rounds}
	for text := range strings.SplitSeq(o.sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < eventsBatch {
			return fmt.Errorf("%q is no number of events of at least %d", text, eventsBatch)
		}
		size := &EventsSize{Events: n}
		for _, s := range eventStores {
			if !o.takes(s.name) || s.name == "sqlite" && n > o.largest {
				continue
			}
			fmt.Fprintf(os.Stderr, "events: %d into %s\n", n, s.name)
			one, err := measureEvents(ctx, s.name, s.open, n, o)
			if err != nil {
				return fmt.Errorf("%d events in %s: %w", n, s.name, err)
			}
			size.Stores = append(size.Stores, one)
		}
		r.Sizes = append(r.Sizes, size)
	}
	return writeAll(o.out, r, "events.json", map[string]string{"events.md": eventsTables(r), "events.svg": eventsChart(r)}, "events.md")
}

func measureEvents(ctx context.Context, name string, open func(context.Context, string) (eventStore, error), n int, o *options) (_ *EventsStore, err error) {
	dir, err := os.MkdirTemp("", "palisade-bench-events-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := open(ctx, dir)
	if err != nil {
		return nil, err
	}
	out := &EventsStore{Name: name}
	if err := errors.Join(out.measure(ctx, s, dir, n, o.rounds), s.close()); err != nil {
		return nil, err
	}
	if _, ours := s.(*palisadeEvents); ours {
		versity := findVersity(o.versity)
		if versity == "" {
			fmt.Fprintln(os.Stderr, "events: no bucket is measured, for there is no bin/versitygw-*; make deps builds it")
			return out, nil
		}
		if out.Bucket, err = measureBucket(ctx, versity, dir, eventQueries(out.trace), o.rounds); err != nil {
			return nil, fmt.Errorf("in a bucket: %w", err)
		}
	}
	return out, nil
}

// measure fills a store and asks it.
func (out *EventsStore) measure(ctx context.Context, s eventStore, dir string, n, rounds int) (err error) {
	if err := out.fill(ctx, s, n); err != nil {
		return err
	}
	if out.Bytes, err = bytesBelow(s.files(dir)); err != nil {
		return err
	}
	out.Bytes /= float64(n)
	if out.Resident, err = settledMemory(); err != nil {
		return err
	}
	for _, q := range eventQueries(out.trace) {
		one, err := askEvents(ctx, s, q, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		out.Queries = append(out.Queries, *one)
	}
	return nil
}

// askEvents asks a query several times.
func askEvents(ctx context.Context, s eventStore, q *eventQuery, rounds int) (*EventsQuery, error) {
	var a asking
	for range rounds + 1 { // the first brings files into the system's cache
		if err := a.ask(ctx, s, q); err != nil {
			return nil, err
		}
	}
	out := a.result(q.name)
	return &out, nil
}

func bytesBelow(dir string) (float64, error) {
	total := 0.0
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += float64(info.Size())
		}
		return err
	})
	return total, err
}
