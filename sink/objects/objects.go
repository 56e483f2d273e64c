// Package objects exports events to S3-compatible storage: each batch as one object for each hour that it has events of, as JSON
// lines or in Parquet. The name of an object tells what is first in it, so that a batch that is sent again lies over itself.
//
// It is not where the store keeps its segments: what lies in the bucket is for others to read, and is never read back.
package objects

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/bucket"
	"github.com/palisade-security/palisade/sink"
)

// Seal writes records into a new file as its format has it, and returns the CRC-32C of its bytes.
type Seal func(dir, name string, records []sink.Record) (sum uint32, err error)

// Options say where objects lie and what they are.
type Options struct {
	Bucket  *bucket.Bucket // the target closes it
	Host    string         // whose numbers of records these are
	Parquet Seal           // nil: JSON lines
	Dir     string         // for a file on its way; there when the first batch is sent
}

// The pace of a sink of objects: few and large ones cost less to keep and to read.
const (
	Linger  = time.Minute
	Timeout = 5 * time.Minute
)

// Bound is what one batch has at most.
func Bound() sink.Bound { return sink.Bound{Records: 20_000, Bytes: 32 << 20} }

// Target is one bucket.
type Target struct{ opts Options }

// New connects lazily.
func New(o Options) *Target {
	o.Host = plain(o.Host)
	return &Target{o}
}

// Close ends idle connections.
func (t *Target) Close() error { return t.opts.Bucket.Close() }

// group is the records of a batch that belong into one object.
type group struct {
	hour    time.Time
	records []sink.Record
	places  []int // of the records in the batch
}

// byHour groups records, in the order in which the hours begin. A group begins with the same record wherever a batch that holds it
// begins before it: that is why names are stable.
func byHour(records []sink.Record) []*group {
	var groups []*group
	known := map[int64]*group{}
	for i, r := range records {
		hour := r.Event.Time.UTC().Truncate(time.Hour)
		g := known[hour.Unix()]
		if g == nil {
			g = &group{hour: hour}
			known[hour.Unix()] = g
			groups = append(groups, g)
		}
		g.records, g.places = append(g.records, r), append(g.places, i)
	}
	return groups
}

// plain leaves of a text what is safe in names of objects and of files.
func plain(s string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '-'
	}, s)
	if safe = strings.Trim(safe, ".-"); safe == "" {
		return "palisade"
	}
	return safe[:min(len(safe), 64)]
}

// name is hour, host, number and id of the first event. The number orders; the id keeps apart what a state directory that begins
// anew numbers anew.
func (t *Target) name(g *group, suffix string) string {
	first := g.records[0]
	return fmt.Sprintf("date=%s/hour=%02d/%s-%012d-%s%s", g.hour.Format(time.DateOnly), g.hour.Hour(), t.opts.Host, first.Number, plain(first.Event.ID), suffix)
}

// Send is sink.Target's. What was put before something failed is not sent again, so that many hours are got through in several tries.
func (t *Target) Send(ctx context.Context, records []sink.Record) error {
	groups := byHour(records)
	for i, g := range groups {
		err := t.put(ctx, g)
		if _, refused := errors.AsType[*sink.RefusedError](err); refused || err != nil && i == 0 {
			return err
		}
		if err != nil {
			return rest(groups[i:], err)
		}
	}
	return nil
}

// rest says that groups are to be sent again.
func rest(groups []*group, err error) error {
	var again []int
	for _, g := range groups {
		again = append(again, g.places...)
	}
	slices.Sort(again)
	return &sink.PartialError{Again: again, Reason: err.Error()}
}

func (t *Target) put(ctx context.Context, g *group) error {
	if t.opts.Parquet != nil {
		return t.putParquet(ctx, g)
	}
	text := lines(g.records)
	sum := crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli))
	return t.opts.Bucket.Put(ctx, t.name(g, ".jsonl.gz"), "application/gzip", bytes.NewReader(text), int64(len(text)), sum)
}

// lines is one event as recorded in each line, compressed.
func lines(records []sink.Record) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed) // the level is one there is
	var line []byte
	for _, r := range records {
		line = append(event.AppendJSON(line[:0], r.Event), '\n')
		_, _ = z.Write(line) // memory takes it
	}
	_ = z.Close()
	return out.Bytes()
}

// onTheWay is the file in which an object is made. One that a crash left is written over.
const onTheWay = "object.parquet"

func (t *Target) putParquet(ctx context.Context, g *group) error {
	sum, err := t.opts.Parquet(t.opts.Dir, onTheWay, g.records)
	if err != nil {
		return fmt.Errorf("writing %d events in Parquet: %w", len(g.records), err)
	}
	f, err := os.Open(filepath.Join(t.opts.Dir, onTheWay))
	if err != nil {
		return fmt.Errorf("writing %d events in Parquet: %w", len(g.records), err)
	}
	info, err := f.Stat()
	if err == nil {
		err = t.opts.Bucket.Put(ctx, t.name(g, ".parquet"), "application/vnd.apache.parquet", f, info.Size(), sum)
	}
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}
