package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/store/events"
)

// BucketQuery is a query over segments that lie in a bucket alone. Times are in microseconds, CPU is that of the asker.
type BucketQuery struct {
	First EventsQuery `json:"first"` // by a store that was opened for it, and has read nothing
	Again EventsQuery `json:"again"` // once more, with what that left in memory
}

// findVersity is the S3-compatible server that scripts/deps.sh builds, if a path names none; empty: there is none.
func findVersity(named string) string {
	if named != "" {
		return named
	}
	found, _ := filepath.Glob(filepath.Join("bin", "versitygw-*", "versitygw"))
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

// startBucket runs an S3-compatible server on loopback over a folder of its own, until stop.
func startBucket(ctx context.Context, versity string) (_ *bucket.Bucket, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "palisade-bench-bucket-")
	if err != nil {
		return nil, nil, err
	}
	stop = func() error { return os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	const name = "events"
	for _, folder := range []string{"meta", filepath.Join("objects", name)} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			return nil, nil, err
		}
	}
	at, err := freeAddress(ctx)
	if err != nil {
		return nil, nil, err
	}
	if versity, err = filepath.Abs(versity); err != nil {
		return nil, nil, err
	}
	o := bucket.Options{URL: "http://" + at, Bucket: name, User: "bench", Password: rand.Text()}
	err = errors.Join(os.Setenv("ROOT_ACCESS_KEY", o.User), os.Setenv("ROOT_SECRET_KEY", o.Password)) // which the server reads, and a list of processes does not show
	if err != nil {
		return nil, nil, err
	}
	p, err := start(ctx, dir, "versitygw", at, []string{versity, "--port", at, "--quiet", "--keep-alive", "posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "objects")})
	if err != nil {
		return nil, nil, err
	}
	stop = func() error {
		p.stop()
		return os.RemoveAll(dir)
	}
	b, err := bucket.New(o)
	return b, stop, err
}

// measureBucket brings the segments of a store that is closed into a bucket, has their files removed, and asks.
func measureBucket(ctx context.Context, versity, dir string, queries []*eventQuery, rounds int) (out []BucketQuery, err error) {
	b, stop, err := startBucket(ctx, versity)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close(), stop()) }()
	o := events.Options{Dir: dir, Bucket: b}
	s, _, err := events.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.Deposit(ctx, eventsBegin.Add(3*eventsSpan)), s.Close()); err != nil {
		return nil, err
	}
	if left, err := filepath.Glob(filepath.Join(dir, "segments", "*.parquet")); err != nil || len(left) > 0 {
		return nil, errors.Join(err, fmt.Errorf("%d segments are in files still", len(left)))
	}
	for _, q := range queries {
		one, err := askBucket(ctx, o, q, rounds)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.name, err)
		}
		out = append(out, *one)
	}
	return out, nil
}

// askBucket asks a query of stores that are opened for it, twice each.
func askBucket(ctx context.Context, o events.Options, q *eventQuery, rounds int) (*BucketQuery, error) {
	var first, again asking
	for range rounds + 1 { // the first brings objects into the system's cache
		s, _, err := events.Open(ctx, o)
		if err != nil {
			return nil, err
		}
		p := &palisadeEvents{Store: s}
		if err := errors.Join(first.ask(ctx, p, q), again.ask(ctx, p, q), s.Close()); err != nil {
			return nil, err
		}
	}
	return &BucketQuery{first.result(q.name), again.result(q.name)}, nil
}

// asking is how long a query took, each time.
type asking struct {
	took   []time.Duration
	worked time.Duration
	rows   int
}

func (a *asking) ask(ctx context.Context, s eventStore, q *eventQuery) error {
	cpu, begun := ownCPU(), time.Now()
	n, err := s.ask(ctx, q)
	a.took, a.worked, a.rows = append(a.took, time.Since(begun)), a.worked+ownCPU()-cpu, n
	return err
}

// result leaves the first time out.
func (a *asking) result(name string) EventsQuery {
	took := slices.Sorted(slices.Values(a.took[1:]))
	return EventsQuery{Name: name, P50: percentile(took, 50), P95: percentile(took, 95), CPU: micros(a.worked) / float64(len(a.took)), Rows: a.rows}
}

// bucketTable is the table of queries over a bucket beside those over files, in docs/performance.md.
func bucketTable(r *EventsResults) string {
	var b strings.Builder
	for _, size := range r.Sizes {
		for _, s := range size.Stores {
			for i := range s.Bucket {
				disk, first, again := s.Queries[i], s.Bucket[i].First, s.Bucket[i].Again
				fmt.Fprintf(&b, "| %d | %s | %d | %s | %s | %s | %s | %s | %s |\n", size.Events, disk.Name, first.Rows, number(disk.P50/1e3), number(first.P50/1e3), number(first.P95/1e3),
					number(first.CPU/1e3), number(again.P50/1e3), number(again.CPU/1e3))
			}
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "\n### The same over segments in a bucket\n\nIn versitygw on loopback, with no segment in a file. First: by a store that was opened for the question, and has read nothing but the files that stay; again: the same question " +
		"once more. CPU is that of who asks, without the server's.\n\n| events | query | rows | in files: p50, ms | first: p50, ms | p95, ms | CPU, ms | again: p50, ms | CPU, ms |\n|---:|---|---:|---:|---:|---:|---:|---:|---:|\n" + b.String()
}
