package app

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/journal"
)

// benchRecords is how many records BenchmarkReplay decides again.
const benchRecords = 100_000

// BenchmarkReplay reads records from a folder and decides them again under the shop's model, whose policy reads how users have
// signed in: one iteration is the whole verb.
func BenchmarkReplay(b *testing.B) {
	dir := b.TempDir()
	j, _, err := journal.Open(journal.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	var last journal.Pending
	var line []byte
	for i := range benchRecords {
		line = event.AppendJSON(line[:0], benchRecord(i))
		if last, err = j.Enqueue(b.Context(), line); err != nil {
			b.Fatal(err)
		}
	}
	if err := last.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	o := &Options{Paths: []string{"../examples/shop"}, JSON: true, Out: io.Discard, Err: io.Discard}
	for b.Loop() {
		narrows, err := Replay(b.Context(), o, &ReplayQuery{From: dir})
		if err != nil || narrows {
			b.Fatal(narrows, err)
		}
	}
	b.ReportMetric(float64(benchRecords*b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(len(line)), "bytes/record")
}

// benchRecord is one of varied requests at the edge of the shop, as the engine records them.
func benchRecord(i int) *event.Event {
	at := time.Date(2026, 11, 22, 10, 30, 0, 123456789, time.UTC).Add(time.Duration(i) * time.Millisecond)
	kind := []struct{ method, path, template, service, role string }{
		{"GET", "/", "/", "web", ""},
		{"GET", "/catalog", "/catalog", "catalog", ""},
		{"GET", "/catalog/%d", "/catalog/{id}", "catalog", ""},
		{"GET", "/orders/%d", "/orders/{id}", "orders", "customer"},
		{"POST", "/orders", "/orders", "orders", "customer"},
		{"DELETE", "/orders/%d", "/orders/{id}", "orders", "admin"},
	}[i%6]
	e := &event.Event{
		Time: at, ID: event.NewID(at), TraceID: "e9ef91dcc879494f102748e1180b0b7e", SpanID: "e66bf35c25979833",
		Fleet: "shop", Snapshot: "2821112b74401ce240b801504f2a1ef2ba143727ec0f72b2270a95b4f87027be", Listener: "public",
		Method: kind.method, Scheme: "https", Host: "shop.localhost", Path: kind.path, Proto: "HTTP/2.0", UserAgent: "curl/8.5.0",
		Client: "203.0.113.7", Peer: "203.0.113.7", TLSVersion: "1.3", TLSCipher: "TLS_AES_128_GCM_SHA256", TLSServer: "shop.localhost",
		Route: kind.service + " shop.localhost" + kind.template, Service: kind.service, Template: kind.template, Allowed: true, Status: 200,
		Took: time.Millisecond, Upstream: "127.0.0.1:9000", UpstreamStatus: 200, UpstreamTook: time.Millisecond, Attempts: 1,
	}
	if kind.path != kind.template {
		e.Path = fmt.Sprintf(kind.path, 1+i%5000)
	}
	if kind.role != "" {
		e.User = &event.User{
			Provider: "dev", Issuer: model.DevelopmentIssuer, Subject: fmt.Sprintf("user-%d", i%5000), Roles: []string{kind.role}, ClientID: "web",
			Attributes: &event.Attributes{AMR: []string{"pwd", "mfa"}, AuthTime: at.Add(-time.Minute), Claims: []event.Claim{{Name: "tenant", Value: "blue"}}},
		}
	}
	for _, stage := range []string{event.StageCanonicalise, event.StageRoute, event.StageLimitAddress, event.StageAuthenticate, event.StageAuthorise, event.StageInspect, event.StageValidate, event.StageForward} {
		e.Trail = append(e.Trail, event.Stage{Name: stage, Outcome: event.OutcomePass, Took: 1500})
	}
	e.Trail[4].Reasons = []event.Reason{{Code: "permit", Text: "a policy permits this", Policy: "grant:" + e.Route + "#0", Position: "palisade.yaml:72:17"}}
	return e
}
