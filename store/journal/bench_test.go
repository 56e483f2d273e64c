package journal_test

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/palisade-security/palisade/store/journal"
)

// record has the size of an ordinary event.
var record = bytes.Repeat([]byte("e"), 1500) //nolint:gochecknoglobals // never written

func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			j, _ := open(b, journal.Options{Dir: b.TempDir()})
			b.ReportAllocs()
			b.SetBytes(int64(len(record)))
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := j.Append(b.Context(), record); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func BenchmarkOffer(b *testing.B) {
	j, _ := open(b, journal.Options{Dir: b.TempDir()})
	b.ReportAllocs()
	b.SetBytes(int64(len(record)))
	lost := 0
	for b.Loop() {
		if !j.Offer(record) {
			lost++
		}
	}
	b.ReportMetric(float64(lost)/float64(b.N), "lost/op")
}

func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	j, _ := open(b, journal.Options{Dir: dir, MaxPending: 1 << 20, PendingBytes: 1 << 30})
	const n = 10000
	for range n {
		j.Offer(record)
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(n * int64(len(record)))
	for b.Loop() {
		got := 0
		for _, err := range journal.Read(dir, 0) {
			if err != nil {
				b.Fatal(err)
			}
			got++
		}
		if got != n {
			b.Fatalf("%d records", got)
		}
	}
}
