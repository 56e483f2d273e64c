package segment_test

import (
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/store/segment"
)

const benchRows = 200_000

// BenchmarkAppend is what it costs to take an event into columns.
func BenchmarkAppend(b *testing.B) {
	events := eventtest.New(1, start, time.Millisecond).Take(20_000)
	b.ReportAllocs()
	for b.Loop() {
		block(b, events)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
	b.ReportMetric(float64(len(events)*b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkWrite is what it costs to seal events, and what they take on disk.
func BenchmarkWrite(b *testing.B) {
	events := eventtest.New(1, start, time.Millisecond).Take(benchRows)
	dir, from := b.TempDir(), []segment.Chunk{block(b, events)}
	record := 0
	for _, e := range events {
		record += len(event.AppendJSON(nil, e))
	}
	var info *segment.Info
	for b.Loop() {
		rows, err := segment.Order(from)
		must(b, err)
		info, err = segment.Write(dir, "a.parquet", from, rows)
		must(b, err)
	}
	b.ReportMetric(float64(info.Bytes)/benchRows, "bytes/event")
	b.ReportMetric(float64(record)/benchRows, "bytes/record")
	b.ReportMetric(float64(benchRows*b.N)/b.Elapsed().Seconds(), "events/s")
}
