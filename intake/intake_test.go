package intake_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/intake"
)

// taken keeps what was taken in, and what was refused.
type taken struct {
	mu       sync.Mutex
	events   []*event.Event
	refusals []intake.Refusal
	fails    error
}

func (k *taken) take(_ context.Context, records []*event.Event) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fails != nil {
		return k.fails
	}
	k.events = append(k.events, records...)
	return nil
}

func (k *taken) all() []*event.Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]*event.Event(nil), k.events...)
}

func (k *taken) refused() []intake.Refusal {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]intake.Refusal(nil), k.refusals...)
}

const key = "a key that nobody guesses"

func sumOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func open(t testing.TB, sources ...intake.Source) (*intake.Intake, *taken) {
	t.Helper()
	k := &taken{}
	in := intake.New(intake.Options{
		Limits: intake.Limits{Body: 1 << 16, Record: 1 << 10}, Take: k.take,
		Refused: func(r intake.Refusal) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.refusals = append(k.refusals, r)
		},
		Count: func(string, int, int64) {}, Turned: func(string, string) {},
		Certificate: verified,
	})
	if len(sources) == 0 {
		sources = []intake.Source{{Name: "shop", Keys: []string{sumOf(key)}, Records: 1000, Bytes: 1 << 20}}
	}
	in.Declare(sources)
	return in, k
}

// verified believes what the standard library has verified.
func verified(state *tls.ConnectionState) *x509.Certificate {
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	return state.PeerCertificates[0]
}

// post sends a body and returns the answer.
func post(t testing.TB, in *intake.Intake, path, contentType, body string, change ...func(*http.Request)) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Bearer "+key)
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	in.Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const ndjson = "application/x-ndjson"

func TestLines(t *testing.T) {
	in, k := open(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	text := `{"time":"` + now.Format(time.RFC3339Nano) + `","level":"warn","msg":"stock is low","trace_id":"4BF92F3577B34DA6A3CE929D0E0E4736","span_id":"00f067aa0ba902b7","service":"orders","hostname":"node-1","item":7,"user":{"id":"u1","tags":["a"]},"ok":true,"none":null}
plain text, with level=error

{"no":"message"}
{broken
`
	r := post(t, in, intake.PathLines, ndjson, text)
	if got := body(t, r); r.StatusCode != http.StatusOK || got != `{"accepted":4,"rejected":0}`+"\n" {
		t.Fatalf("%d %s", r.StatusCode, got)
	}
	events := k.all()
	e := events[0]
	if e.Service != "orders" || e.Host != "node-1" || e.TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" || e.SpanID != "00f067aa0ba902b7" || !e.Time.Equal(now) || e.Client != "192.0.2.1" || e.ID == "" {
		t.Errorf("%+v", e)
	}
	l := e.Log
	if l.Source != "shop" || l.Form != "json" || l.Severity != event.SeverityWarn || l.Level != "warn" || l.Text != "stock is low" || l.Observed.IsZero() || l.Original != "" {
		t.Errorf("%+v", l)
	}
	want := map[string]string{"item": "7", "user.id": "u1", "user.tags": `["a"]`, "ok": "true", "none": ""}
	if len(l.Attributes) != len(want) {
		t.Errorf("%v", l.Attributes)
	}
	for name, value := range want {
		if l.Attributes[name] != value {
			t.Errorf("%s: %q, want %q", name, l.Attributes[name], value)
		}
	}
	for i, want := range []string{"plain text, with level=error", `{"no":"message"}`, "{broken"} {
		if got := events[i+1].Log.Text; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if events[2].Log.Form != "json" || events[2].Log.Attributes["no"] != "message" || events[3].Log.Form != "text" {
		t.Errorf("%+v %+v", events[2].Log, events[3].Log)
	}
}

// TestUsualNames reads what common loggers write.
func TestUsualNames(t *testing.T) {
	in, k := open(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	stamp := now.Format(time.RFC3339Nano)
	millis := func(unit string) string {
		return map[string]string{
			"ms": itoa(now.UnixMilli()), "ns": itoa(now.UnixNano()), "s": itoa(now.Unix()) + now.Format(".000"), "python": now.Format("2006-01-02 15:04:05,000"),
		}[unit]
	}
	for name, c := range map[string]struct {
		line     string
		severity event.Severity
	}{
		"slog":    {`{"time":"` + stamp + `","level":"INFO","msg":"m"}`, 9},
		"zap":     {`{"level":"error","ts":` + millis("s") + `,"caller":"a.go:1","msg":"m"}`, 17},
		"pino":    {`{"level":30,"time":` + millis("ms") + `,"pid":1,"hostname":"h","msg":"m"}`, 9},
		"ecs":     {`{"@timestamp":"` + stamp + `","log.level":"debug","message":"m"}`, 5},
		"serilog": {`{"@t":"` + stamp + `","@m":"m","@l":"Fatal"}`, 21},
		"python":  {`{"timestamp":"` + millis("python") + `","levelname":"CRITICAL","message":"m"}`, 18},
		"nanos":   {`{"ts":` + millis("ns") + `,"severity":"NOTICE","message":"m"}`, 10},
		"parent":  {`{"ts":"` + stamp + `","level":"trace","msg":"m","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}`, 1},
	} {
		k.events = nil
		post(t, in, intake.PathLines, ndjson, c.line)
		e := k.all()[0]
		if e.Log.Text != "m" || e.Log.Severity != c.severity || !e.Time.Equal(now) {
			t.Errorf("%s: %q %d %s, want %d %s", name, e.Log.Text, e.Log.Severity, e.Time, c.severity, now)
		}
		if name == "parent" && e.SpanID != "00f067aa0ba902b7" {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// TestUnbelieved keeps times that cannot be, and what is too much, out of what is believed.
func TestUnbelieved(t *testing.T) {
	in, k := open(t)
	before := time.Now()
	post(t, in, intake.PathLines, ndjson, `{"time":"1999-01-01T00:00:00Z","msg":"old"}
{"time":"2199-01-01T00:00:00Z","msg":"young"}
{"time":"yesterday","msg":"odd"}
{"trace_id":"00000000000000000000000000000000","msg":"`+strings.Repeat("ä", 1000)+`","a":"`+strings.Repeat("x", 500)+`"}
{"msg":"`+strings.Repeat("[", 70)+`","a":`+strings.Repeat("[", 70)+strings.Repeat("]", 70)+`}`)
	events := k.all()
	for i, want := range []string{"1999-01-01T00:00:00Z", "2199-01-01T00:00:00Z", "yesterday"} {
		if e := events[i]; e.Log.Original != want || e.Time.Before(before.Add(-time.Second)) || e.Time.After(time.Now().Add(time.Second)) {
			t.Errorf("%d: %s, %q", i, e.Time, e.Log.Original)
		}
	}
	if e := events[3]; e.TraceID != "" || len(e.Log.Text) != 1024 || e.Log.Attributes != nil || e.Log.Omitted < 976 {
		t.Errorf("%d bytes, %v, %d omitted", len(e.Log.Text), e.Log.Attributes, e.Log.Omitted)
	}
	if e := events[4]; !strings.HasPrefix(e.Log.Text, `{"msg"`) {
		t.Errorf("what nests too deeply is %+v", e.Log)
	}
}

func itoa(n int64) string { b, _ := json.Marshal(n); return string(b) }

func TestRefuses(t *testing.T) {
	in, k := open(t)
	for name, c := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"no key":       {func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"wrong key":    {func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+key+"x") }, 401},
		"wrong scheme": {func(r *http.Request) { r.Header.Set("Authorization", "Basic "+key) }, 401},
		"x-api-key":    {func(r *http.Request) { r.Header.Del("Authorization"); r.Header.Set("X-Api-Key", key) }, 200},
		"packed oddly": {func(r *http.Request) { r.Header.Set("Content-Encoding", "br") }, 415},
		"not packed":   {func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 400},
		"content type": {func(r *http.Request) { r.Header.Set("Content-Type", "application/xml") }, 415},
		"too large": {func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<16+1)))
			r.ContentLength = -1
		}, 413},
		"said to be so": {func(r *http.Request) { r.ContentLength = 1 << 40 }, 413},
		"a bomb": {func(r *http.Request) {
			r.Header.Set("Content-Encoding", "gzip")
			r.Body = io.NopCloser(bytes.NewReader(packed(t, 1<<20)))
		}, 413},
		"get": {func(r *http.Request) { r.Method = http.MethodGet }, 405},
	} {
		if r := post(t, in, intake.PathLines, ndjson, "x", c.change); r.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", name, r.StatusCode, c.status)
		}
	}
	if n := len(k.all()); n != 1 {
		t.Errorf("%d records", n)
	}
	reasons := map[string]int{}
	for _, r := range k.refused() {
		reasons[r.Reason]++
	}
	if reasons[intake.ReasonUnknown] != 1 || reasons[intake.ReasonForm] != 1 || reasons[intake.ReasonTooLarge] != 1 {
		t.Errorf("each reason is told of once: %v", reasons)
	}
}

func packed(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestDiskFull answers so that the sender keeps what it has.
func TestDiskFull(t *testing.T) {
	in, k := open(t)
	k.fails = errors.New("no space left on device")
	r := post(t, in, intake.PathLines, ndjson, "x")
	if text := body(t, r); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" || strings.Contains(text, "space") {
		t.Errorf("%d %q %s", r.StatusCode, r.Header.Get("Retry-After"), text)
	}
}
