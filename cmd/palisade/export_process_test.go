package main

import (
	"compress/gzip"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/store/journal"
)

// lokiDouble remembers the requests of events that it is pushed, by id.
type lokiDouble struct {
	mu   sync.Mutex
	seen map[string]int
}

func (l *lokiDouble) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range push.Streams {
		for _, v := range s.Values {
			if e, err := event.Parse([]byte(v[1])); err == nil && e.Service == "front" {
				l.seen[e.ID]++
			}
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (l *lokiDouble) has(ids []string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if l.seen[id] == 0 {
			return false
		}
	}
	return true
}

// TestExport: what up records comes to the server that the model names, also what was recorded shortly before kill -9.
func TestExport(t *testing.T) {
	t.Parallel()
	l := &lokiDouble{seen: map[string]int{}}
	server := httptest.NewServer(l)
	defer server.Close()
	u := newUp(t, "", "")
	u.Edit("palisade.yaml", "version: 1\n", "version: 1\nexport:\n  logs: {kind: loki, url: \""+server.URL+"\", where: service:front}\n")
	u.Edge, u.Host = u.addrs[0], "app.localhost"
	var ids []string
	ask := func() {
		for range 10 {
			resp, err := u.Client(false).Do(u.Request(http.MethodGet, "/front", ""))
			must(t, err)
			must(t, resp.Body.Close())
			ids = append(ids, resp.Header.Get("X-Request-Id"))
		}
	}
	u.startReady()
	ask()
	u.Eventually("all is exported", func() bool { return l.has(ids) })
	ask()
	u.Eventually("all is recorded", func() bool {
		recorded := map[string]bool{}
		for rec := range journal.Read(u.Path(".palisade/events"), 0) {
			if e, err := event.Parse(rec.Data); err == nil {
				recorded[e.ID] = true
			}
		}
		return !slices.ContainsFunc(ids, func(id string) bool { return !recorded[id] })
	})
	u.signal(syscall.SIGKILL)
	u.ends()
	u.startReady()
	ask()
	u.Eventually("the rest is exported", func() bool { return l.has(ids) })
}
