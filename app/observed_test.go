package app_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/token"
)

// TestNoSecretIsRecorded plants secrets wherever a request can hold them and looks for them in the record, in
// what the terminal shows and in what explain and events tell.
func TestNoSecretIsRecorded(t *testing.T) {
	f := startFleet(t)
	bearer := f.token("user-1", token.Claims{}, "customer")
	secrets := []string{bearer, strings.Split(bearer, ".")[2], "hunter2hunter2", "s3ssion-cookie", "my-gate-code-4711", "key-in-a-header", "4556737586899855", "basic-secret"}
	auth, json := "Authorization: Bearer "+bearer, "Content-Type: application/json"
	var ids []string
	for _, h2 := range []bool{false, true} {
		c := f.Client(h2)
		for _, a := range []*fleettest.Answer{
			f.Do(c, "GET", "/orders?password=hunter2hunter2", "", auth),
			f.Do(c, "GET", "/catalog?access_token="+bearer+"&card=4556737586899855", ""),
			f.Do(c, "GET", "/orders", "", "Authorization: Bearer "+bearer+"x"),
			f.Do(c, "GET", "/orders", "", "Authorization: Basic basic-secret"),
			f.Do(c, "GET", "/", "", "Cookie: session=s3ssion-cookie", "X-Api-Key: key-in-a-header"),
			f.Do(c, "POST", "/orders", `{"product": 1, "count": 1, "note": "my-gate-code-4711"}`, auth, json),
			f.Do(c, "POST", "/orders", `{"product": 1, "count": 1, "note": "my-gate-code-4711 ' OR 1=1 -- "}`, auth, json),
			f.Do(c, "POST", "/orders", `{"product": "my-gate-code-4711", "count": 1, "note": 4711}`, auth, json),
			f.Do(c, "GET", "/catalog?note=my-gate-code-4711'%20OR%20'1'='1", ""),
			f.Do(c, "GET", "/nothing?password=hunter2hunter2", "", "Cookie: session=s3ssion-cookie"),
			f.Do(c, "GET", "/catalog/%2e%2e/?password=hunter2hunter2", ""),
		} {
			ids = append(ids, a.ID())
		}
	}
	var told bytes.Buffer
	for _, id := range ids {
		var x *app.Explanation
		f.Eventually("a record of "+id, func() bool {
			var err error
			x, err = app.Explain(t.Context(), f.options, id)
			return err == nil
		})
		for _, asJSON := range []bool{false, true} {
			o := *f.options
			o.Out, o.JSON = &told, asJSON
			if err := o.ShowExplanation(x); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, asJSON := range []bool{false, true} {
		o := *f.options
		o.Out, o.JSON = &told, asJSON
		if err := app.Events(t.Context(), &o, &app.EventQuery{}); err != nil {
			t.Fatal(err)
		}
	}
	places := map[string]string{"explain and events": told.String(), "the terminal": f.lines.String(), "messages": f.Messages.String()}
	segments, err := filepath.Glob(f.Path(".palisade/events/*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no record: %v", err)
	}
	for _, s := range segments {
		places[filepath.Base(s)] = fleettest.Read(t, s)
	}
	for place, text := range places {
		for _, secret := range secrets {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s holds %q: …%q…", place, secret, text[max(0, i-120):min(len(text), i+len(secret)+20)])
			}
		}
	}
}

// TestDryRun: stages that only record let through what they would refuse.
func TestDryRun(t *testing.T) {
	f := startFleet(t,
		"allow: [{roles: [customer], methods: [GET, POST]}]", "dry_run: [authorise, inspect, validate]\n        allow: [{roles: [customer], methods: [GET, POST]}]")
	c := f.Client(true)
	a := f.Do(c, "GET", "/orders?x=1'%20OR%20'1'='1", "", "Authorization: Bearer "+f.token("clerk-1", token.Claims{}, "clerk"))
	if a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.Text)
	}
	x := f.explained(t, a.ID(), true)
	denied := map[string]bool{}
	for _, s := range x.Event.Trail {
		denied[s.Name] = s.DryRun && s.Outcome.String() == "deny"
	}
	if !x.Event.DryRun || !denied["authorise"] || !denied["inspect"] {
		t.Errorf("event %+v", x.Event)
	}
	if a := f.Do(c, "GET", "/orders", ""); a.StatusCode != 401 {
		t.Errorf("a stage that is not in dry run: %d", a.StatusCode)
	}
	var refused bytes.Buffer
	o := *f.options
	o.Out = &refused
	f.Eventually("all are shown: that of the edge, that of the sidecar behind it, and the 401", func() bool {
		refused.Reset()
		return app.Events(t.Context(), &o, &app.EventQuery{Refused: true}) == nil && strings.Count(refused.String(), "\n") == 3
	})
	if !strings.Contains(refused.String(), "(dry run)") {
		t.Errorf("events: %s", refused.String())
	}
}

// TestMetrics counts what was asked.
func TestMetrics(t *testing.T) {
	f := startFleet(t)
	c := f.Client(true)
	for range 3 {
		f.Do(c, "GET", "/catalog", "")
	}
	f.Do(c, "GET", "/orders", "")
	f.Do(c, "GET", "/nothing", "")
	f.Do(c, "BREW", "/catalog", "")
	var text string
	for _, want := range []string{
		`palisade_requests_total{method="GET",route="catalog shop.localhost/catalog",service="catalog",side="edge",status="200"} 3`,
		`palisade_requests_total{method="GET",route="",service="",side="edge",status="404"} 1`,
		`palisade_requests_total{method="other",route="",service="",side="edge",status="405"} 1`,
		`palisade_denials_total{dry_run="false",problem="unauthenticated",route="orders shop.localhost/orders",side="edge",stage="authenticate"} 1`,
		`palisade_events_lost_total 0`,
		`palisade_requests_in_flight 0`,
		`palisade_reloads_total{result="applied"} 1`,
		`palisade_request_duration_seconds_count{service="catalog",side="edge"} 3`,
		`go_goroutines`,
	} {
		f.Eventually(want, func() bool {
			text = f.Get("http://" + f.admin + "/metrics").Text
			return strings.Contains(text, want)
		})
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := f.Get("http://" + f.admin + path); a.StatusCode != 200 || a.Text != `{"status":"ok"}`+"\n" {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.Text)
		}
	}
}

// TestTraces receives spans as a collector would: with the ids that client and service saw.
func TestTraces(t *testing.T) {
	var mu sync.Mutex
	var spans []byte
	wrong := ""
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("X-Tenant") != "shop" {
			wrong = fmt.Sprintf("%s %s %v: %v", r.Method, r.URL, r.Header, err)
		}
		spans = append(spans, body...)
	}))
	defer collector.Close()
	f := startFleet(t, "policies: [policies]", "policies: [policies]\ntelemetry: {otlp: \""+collector.URL+"\", sample: 1, headers: {X-Tenant: {value: shop}}}")
	trace := "0af7651916cd43dd8448eb211c80319c"
	a := f.Do(f.Client(true), "GET", "/catalog/1", "", "Traceparent: 00-"+trace+"-b7ad6b7169203331-01")
	x := f.explained(t, a.ID(), true)
	if x.Event.TraceID != trace {
		t.Errorf("trace %s", x.Event.TraceID)
	}
	f.stop() // sends what is waiting
	<-f.done
	mu.Lock()
	defer mu.Unlock()
	if wrong != "" {
		t.Errorf("the collector got %s", wrong)
	}
	id, err := hex.DecodeString(trace)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]byte{id, []byte("GET /catalog/{id}"), []byte(a.ID()), []byte("palisade")} {
		if !bytes.Contains(spans, want) {
			t.Errorf("no span holds %q", want)
		}
	}
	if f.err != nil {
		t.Errorf("up ended: %v", f.err)
	}
}

// TestStrictAudit fills the disk that holds the record: with audit.mode strict, what cannot be recorded is
// refused, and the gateway is not ready.
func TestStrictAudit(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a small disk here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	f := startFleet(t, "policies: [policies]", "policies: [policies]\naudit: {mode: strict, dir: "+filepath.Join(disk, "events")+"}")
	c := f.Client(true)
	if a := f.Do(c, "GET", "/catalog", ""); a.StatusCode != 200 {
		t.Fatalf("with room on the disk: %d %s", a.StatusCode, a.Text)
	}
	ballast, err := os.Create(filepath.Join(disk, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = ballast.Write(make([]byte, 512))
	}
	_ = ballast.Close()
	var a *fleettest.Answer
	f.Eventually("the record is full", func() bool {
		a = f.Do(c, "GET", "/catalog", "")
		return a.StatusCode != 200
	})
	if p := a.Problem(t); a.StatusCode != 503 || p.Type != "https://palisade.dev/problems/cannot-record" || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.Text)
	}
	if ready := f.Get("http://" + f.admin + "/readyz"); ready.StatusCode != 503 || !strings.Contains(ready.Text, "the record cannot be written") {
		t.Errorf("readyz: %d %s", ready.StatusCode, ready.Text)
	}
	if m := f.Get("http://" + f.admin + "/metrics").Text; strings.Contains(m, "palisade_events_lost_total 0\n") {
		t.Error("the loss is not counted")
	}
}

// TestFollow shows new events as they come.
func TestFollow(t *testing.T) {
	f := startFleet(t)
	ctx, cancel := context.WithCancel(t.Context())
	var shown fleettest.Output
	o := *f.options
	o.Out = &shown
	done := make(chan error, 1)
	go func() { done <- app.Events(ctx, &o, &app.EventQuery{Follow: true, Refused: true, Service: "orders"}) }()
	c := f.Client(true)
	f.Do(c, "GET", "/catalog", "")
	a := f.Do(c, "GET", "/orders", "")
	f.Eventually("the refusal is shown", func() bool { return strings.Contains(shown.String(), a.ID()) })
	cancel()
	if err := <-done; err != nil {
		t.Errorf("following: %v", err)
	}
	if strings.Contains(shown.String(), "/catalog") {
		t.Errorf("shown: %s", shown.String())
	}
}
