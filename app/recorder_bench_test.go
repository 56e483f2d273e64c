package app

import (
	"context"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
)

// BenchmarkRecorder is the way of an ordinary event from the engine into the journal and the metrics. The disk
// is waited for beside it, every so many events, so that none is lost and none is measured.
func BenchmarkRecorder(b *testing.B) {
	j, _, err := journal.Open(journal.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = j.Close() })
	r := &recorder{journal: j, metrics: observe.NewMetrics(func() float64 { return 0 })}
	e := &event.Event{
		Time: time.Date(2026, 11, 22, 10, 30, 0, 123456789, time.UTC), ID: "01a204a7-2162-7c43-b77e-26d2b8aeda5c",
		TraceID: "e9ef91dcc879494f102748e1180b0b7e", SpanID: "e66bf35c25979833",
		Fleet: "shop", Snapshot: "2821112b74401ce240b801504f2a1ef2ba143727ec0f72b2270a95b4f87027be", Listener: "public",
		Method: "GET", Scheme: "https", Host: "shop.example", Path: "/items/7", Proto: "HTTP/1.1", UserAgent: "curl/8.5.0",
		Client: "203.0.113.7", Peer: "203.0.113.7", TLSVersion: "1.3", TLSCipher: "TLS_AES_128_GCM_SHA256",
		Route: "items shop.example/items/{id}", Service: "items", Template: "/items/{id}", Allowed: true, Status: 200,
		Trail:    []event.Stage{{Name: event.StageRoute, Outcome: event.OutcomePass, Took: 2031}, {Name: event.StageForward, Outcome: event.OutcomePass, Took: 1239848}},
		BytesOut: 1024, Took: time.Millisecond, Upstream: "127.0.0.1:9000", UpstreamStatus: 200, UpstreamTook: time.Millisecond, Attempts: 1,
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		r.Observe(e)
		if n%1024 == 1023 {
			b.StopTimer()
			if err := r.Durable(context.WithoutCancel(b.Context()), e); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}
