package event_test

import (
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
)

// ordinary is the event of a request that was let through: what a gateway writes most of all.
func ordinary() *event.Event {
	return &event.Event{
		Time: moment, ID: "01a204a7-2162-7c43-b77e-26d2b8aeda5c",
		TraceID: "e9ef91dcc879494f102748e1180b0b7e", SpanID: "e66bf35c25979833",
		Fleet: "shop", Snapshot: "2821112b74401ce240b801504f2a1ef2ba143727ec0f72b2270a95b4f87027be", Listener: "public",
		Method: "GET", Scheme: "https", Host: "shop.example", Path: "/items/7", Proto: "HTTP/1.1", UserAgent: "curl/8.5.0",
		Client: "203.0.113.7", Peer: "203.0.113.7",
		TLSVersion: "1.3", TLSCipher: "TLS_AES_128_GCM_SHA256", TLSGroup: "X25519MLKEM768", TLSServer: "shop.example",
		Route: "items shop.example/items/{id}", Service: "items", Template: "/items/{id}",
		Allowed: true, Status: 200,
		Trail: []event.Stage{
			{Name: event.StageCanonicalise, Outcome: event.OutcomePass, Took: 16510},
			{Name: event.StageRoute, Outcome: event.OutcomePass, Took: 2031},
			{Name: event.StageAuthenticate, Outcome: event.OutcomePass, Took: 1708, Reasons: []event.Reason{
				{Code: "anonymous", Text: "no token was sent; the route lets anyone in"},
			}},
			{Name: event.StageAuthorise, Outcome: event.OutcomePass, Took: 5200, Reasons: []event.Reason{
				{Code: "permit", Text: "a policy permits this", Policy: "grant:items shop.example/items/{id}#0", Position: "/etc/palisade/palisade.yaml:14:61"},
			}},
			{Name: event.StageForward, Outcome: event.OutcomePass, Took: 1239848},
		},
		BytesOut: 1024, Took: 1276094 * time.Nanosecond,
		Upstream: "127.0.0.1:9000", UpstreamStatus: 200, UpstreamTook: 1239363, UpstreamReused: true, Attempts: 1,
	}
}

// BenchmarkRecord is what the event of an ordinary request costs until it is bytes.
func BenchmarkRecord(b *testing.B) {
	r := event.NewRedactor(nil)
	e := ordinary()
	buf := make([]byte, 0, event.DefaultCapacity)
	b.Run("redact", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Redact(r)
		}
	})
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = event.AppendJSON(buf[:0], e)
		}
		b.SetBytes(int64(len(buf)))
	})
}
