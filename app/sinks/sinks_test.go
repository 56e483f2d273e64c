package sinks_test

import (
	"compress/gzip"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/sinks"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/store/query"
)

// loki counts the lines that it is sent, by token.
type loki struct {
	mu    sync.Mutex
	lines map[string][]string // by Authorization
	down  bool
}

func (l *loki) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var push struct {
		Streams []struct{ Values [][2]string }
	}
	z, err := gzip.NewReader(r.Body)
	if err == nil {
		err = json.NewDecoder(z).Decode(&push)
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, s := range push.Streams {
		for _, v := range s.Values {
			e, err := event.Parse([]byte(v[1]))
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			of := r.Header.Get("Authorization")
			l.lines[of] = append(l.lines[of], e.ID)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (l *loki) count(of string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines[of])
}

// eventually polls until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("not: " + what)
		}
	}
}

// TestSinks follows a model through changes: one sink more, one changed, one that cannot be, none.
func TestSinks(t *testing.T) {
	l := &loki{lines: map[string][]string{}}
	server := httptest.NewTLSServer(l)
	defer server.Close()
	dir := t.TempDir()
	roots := filepath.Join(dir, "roots.pem")
	must(t, os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	r := inJournal(t, 0)
	all := eventtest.New(7, start, time.Second).Take(900)
	r.add(t, all[:300])
	s := sinks.New(sinks.Options{
		Dir: filepath.Join(dir, "sinks"), Source: func(where query.Query) sink.Source { return r.follow(where) }, Log: slog.New(slog.DiscardHandler),
		Getenv: func(name string) (string, bool) {
			return map[string]string{"A": "a", "B": "b"}[name], name == "A" || name == "B"
		},
	})
	defer s.Close()
	export := func(name, token, where string) model.ResolvedExport {
		return model.ResolvedExport{Name: name, Export: model.Export{Kind: "loki", URL: server.URL, Token: model.Value{FromEnv: token}, CA: roots, Where: where}}
	}
	must(t, s.Follow(t.Context(), []model.ResolvedExport{export("one", "A", "")}))
	eventually(t, "the first has all", func() bool { return l.count("Bearer a") == 300 })

	must(t, s.Follow(t.Context(), []model.ResolvedExport{export("one", "A", ""), export("two", "B", "outcome:denied")}))
	r.add(t, all[300:600])
	eventually(t, "both are as far as the record", func() bool {
		st := s.Status()
		return len(st) == 2 && st[0].Position == 601 && st[1].Position == 601 && st[0].Behind+st[1].Behind == 0
	})
	if n := l.count("Bearer a"); n != 600 {
		t.Errorf("the first has %d", n)
	}
	if n := l.count("Bearer b"); n == 0 || n > 100 {
		t.Errorf("the second has %d, which are not those denied", n)
	}

	err := s.Follow(t.Context(), []model.ResolvedExport{export("one", "B", ""), export("three", "MISSING", "")})
	if err == nil || !strings.Contains(err.Error(), "export.three: token") {
		t.Errorf("%v", err)
	}
	if st := s.Status(); len(st) != 2 || st[0].Name != "one" || st[0].Sent != 600 {
		t.Errorf("after a model that cannot be: %+v", st)
	}
	before := l.count("Bearer b")
	must(t, s.Follow(t.Context(), []model.ResolvedExport{export("one", "B", "")}))
	r.add(t, all[600:])
	eventually(t, "the first has gone on with another token", func() bool { return l.count("Bearer b") == before+300 })
	if n := l.count("Bearer a"); n != 600 {
		t.Errorf("the first was sent %d again", n-600)
	}
	must(t, s.Follow(t.Context(), nil))
	if st := s.Status(); len(st) != 0 {
		t.Errorf("%+v", st)
	}
}

// TestKinds makes a target of each kind, and says what is wrong with what they refer to.
func TestKinds(t *testing.T) {
	s := sinks.New(sinks.Options{
		Dir: t.TempDir(), Source: inJournal(t, 0).follow, Log: slog.New(slog.DiscardHandler), Getenv: func(string) (string, bool) { return "x", true },
	})
	defer s.Close()
	secret := model.Value{FromEnv: "X"}
	var all []model.ResolvedExport
	for name, e := range map[string]model.Export{
		"a": {Kind: "otlp", URL: "https://127.0.0.1:1", Headers: map[string]model.Value{"x": secret}}, "b": {Kind: "otlp", URL: "grpcs://127.0.0.1:1"},
		"c": {Kind: "elastic", URL: "https://127.0.0.1:1", User: "x", Password: secret}, "d": {Kind: "loki", URL: "http://127.0.0.1:1"},
		"e": {Kind: "datadog", URL: "https://127.0.0.1:1", Token: secret}, "f": {Kind: "splunk", URL: "https://127.0.0.1:1", Token: secret},
		"g": {Kind: "syslog", URL: "tls://127.0.0.1:1"}, "h": {Kind: "syslog", URL: "tcp://127.0.0.1:1"},
		"i": {Kind: "kafka", URL: "tls://127.0.0.1:1", Topic: "x", User: "x", Password: secret}, "j": {Kind: "kafka", URL: "tcp://127.0.0.1:1", Topic: "x"},
		"k": {Kind: "s3", URL: "https://127.0.0.1:1", Bucket: "xyz", User: "x", Password: secret}, "l": {Kind: "s3", URL: "http://127.0.0.1:1", Bucket: "xyz", User: "x", Password: secret, Format: "parquet"},
	} {
		all = append(all, model.ResolvedExport{Name: name, Export: e})
	}
	must(t, s.Follow(t.Context(), all))
	if st := s.Status(); len(st) != len(all) {
		t.Errorf("%+v", st)
	}
	for want, e := range map[string]model.Export{
		"export.x: ca:":          {Kind: "loki", URL: "https://a", CA: "/none"},
		"export.x: certificate:": {Kind: "loki", URL: "https://a", Certificate: &model.Certificate{Cert: "/none", Key: "/none"}},
		"export.x: where:":       {Kind: "loki", URL: "https://a", Where: "("},
		"export.x: kind:":        {Kind: "other", URL: "https://a"},
	} {
		if err := s.Follow(t.Context(), []model.ResolvedExport{{Name: "x", Export: e}}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if found := sinks.Check([]model.ResolvedExport{{Name: "x", Export: model.Export{Where: "("}}, {Name: "y"}}); len(found) != 1 || found[0].Key != "export.x.where" {
		t.Errorf("%+v", found)
	}
}
