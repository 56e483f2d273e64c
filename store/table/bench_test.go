package table_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/palisade-security/palisade/store/table"
)

// BenchmarkSaveBlob is compare and swap of 1 KiB, durable: one writer, and 16 of different blobs.
func BenchmarkSaveBlob(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		for _, writers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", kind, writers), func(b *testing.B) {
				location := "sqlite:" + filepath.Join(b.TempDir(), "tables.db")
				if kind == "postgres" {
					location = postgres.Database(b)
				}
				s := open(b, location)
				ctx := b.Context()
				b.ReportAllocs()
				var next atomic.Int64
				work := func(more func() bool) {
					name := fmt.Sprint("b", next.Add(1))
					data := make([]byte, 1024)
					for revision := int64(0); more(); revision++ {
						if err := s.Write(ctx, func(tx *table.Tx) error { return tx.SaveBlob(ctx, name, data, revision) }); err != nil {
							b.Error(err)
							return
						}
					}
				}
				if writers == 1 {
					work(b.Loop)
				} else {
					b.SetParallelism(max(1, writers/runtime.GOMAXPROCS(0)))
					b.RunParallel(func(pb *testing.PB) { work(pb.Next) })
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			})
		}
	}
}
