package bus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/palisade-security/palisade/bus"
)

// BenchmarkRequest is one request and its answer over TLS, 300 bytes each, as a certificate request is.
func BenchmarkRequest(b *testing.B) {
	r := newRig(b)
	server := r.role(b, bus.Control)
	background(b, func(ctx context.Context) error {
		return server.Serve(ctx, bus.ServeOptions{Subject: "echo.*", From: 2}, func(_ context.Context, a bus.Asked) ([]byte, error) { return a.Data, nil })
	})
	own := "echo." + bus.SubjectToken(web)
	client := r.as(b, web, bus.MayRequest(own))
	ctx := b.Context()
	if _, err := client.Request(ctx, own, nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		data := make([]byte, 300)
		for pb.Next() {
			if _, err := client.Request(ctx, own, data); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkWatch is a change of 4 KiB until the last of 1,000 watchers has it; the watchers share 50 connections.
func BenchmarkWatch(b *testing.B) {
	r := newRig(b)
	const watchers, connections = 1000, 50
	bucket, err := r.control.MakeBucket(b.Context(), bus.BucketOptions{Name: "models"})
	must(b, err)
	value := make([]byte, 4096)
	first, err := bucket.Put(b.Context(), "edge", value)
	must(b, err)
	var clients []*bus.Client
	for i := range connections {
		clients = append(clients, r.as(b, fmt.Sprintf("spiffe://example/edge/%d", i), bus.MayWatch("models", "edge")))
	}
	var mu sync.Mutex
	var seen [watchers]uint64
	var took []time.Duration
	var began time.Time
	var got atomic.Int64
	for i := range watchers {
		background(b, func(ctx context.Context) error {
			return clients[i%connections].Bucket("models").Watch(ctx, "edge", func(changes []bus.Change) {
				mu.Lock()
				seen[i] = changes[len(changes)-1].Revision
				took = append(took, time.Since(began))
				mu.Unlock()
				got.Add(1)
			})
		})
	}
	all := func(revision uint64) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return !slices.ContainsFunc(seen[:], func(s uint64) bool { return s < revision })
		}
	}
	eventually(b, "all watchers have begun", all(first))
	mu.Lock()
	took = nil
	mu.Unlock()
	for b.Loop() {
		mu.Lock()
		began = time.Now()
		mu.Unlock()
		revision, err := bucket.Put(b.Context(), "edge", value)
		must(b, err)
		eventually(b, "all watchers have it", all(revision))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkPublish stores messages of 300 bytes durably, in batches.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1, 100, 500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := newRig(b)
			must(b, r.control.MakeStream(b.Context(), bus.StreamOptions{Name: "E", Subjects: []string{"e"}}))
			batch := make([]bus.Message, size)
			for i := range batch {
				batch[i] = bus.Message{Subject: "e", Data: make([]byte, 300)}
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := r.control.PublishAll(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkUpdate is compare and swap of a key of a bucket.
func BenchmarkUpdate(b *testing.B) {
	r := newRig(b)
	bucket, err := r.control.MakeBucket(b.Context(), bus.BucketOptions{Name: "b"})
	must(b, err)
	var revision uint64
	b.ReportAllocs()
	for b.Loop() {
		if revision, err = bucket.Update(b.Context(), "k", make([]byte, 300), revision); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

// BenchmarkConnect is TLS, callout and all, as many come at once.
func BenchmarkConnect(b *testing.B) {
	r := newRig(b)
	r.rules.set(web, &bus.Permissions{Publish: []string{"a.>"}})
	config := r.ca.client(r.ca.issue(b, web, time.Hour))
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c, err := bus.Connect(b.Context(), bus.Options{ID: web, URLs: []string{r.server.URL()}, TLS: config, Log: testLog(b)})
			if err != nil {
				b.Error(err)
				return
			}
			c.Close(b.Context())
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "connections/s")
}

// BenchmarkBacklog is a message of 600 bytes, one record of a proxy, out of many that wait, in batches as control takes them.
func BenchmarkBacklog(b *testing.B) {
	r := newRig(b)
	must(b, r.control.MakeStream(b.Context(), bus.StreamOptions{Name: "WORK", Subjects: []string{"work"}}))
	messages := make([]bus.Message, b.N)
	for i := range messages {
		messages[i] = bus.Message{Subject: "work", Data: make([]byte, 600)}
	}
	must(b, r.control.PublishAll(b.Context(), messages))
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	taken := 0
	b.ResetTimer()
	err := r.control.Consume(ctx, bus.ConsumeOptions{Stream: "WORK", Name: "all", Once: true, Batch: 1024}, func(_ context.Context, m []bus.Message) error {
		if taken += len(m); taken == b.N {
			cancel()
		}
		return nil
	})
	if taken < b.N {
		b.Errorf("%d of %d: %v", taken, b.N, err)
	}
}
