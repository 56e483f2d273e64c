package datadog

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/sink/sinktest"
)

// double takes logs as the intake does: it checks them and answers 202.
type double struct {
	t     *testing.T
	got   []entry
	whole int
}

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/api/v2/logs" || r.Header.Get("DD-API-KEY") != "k" || r.Header.Get("Content-Type") != "application/json" {
		d.t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	if d.whole != 0 {
		http.Error(w, `{"errors":[{"title":"Forbidden"}]}`, d.whole)
		return
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		d.t.Error(err)
		return
	}
	strict := json.NewDecoder(z)
	strict.DisallowUnknownFields()
	if err := strict.Decode(&d.got); err != nil || len(d.got) > Bound().Records {
		d.t.Error(err, len(d.got))
	}
	w.WriteHeader(http.StatusAccepted)
}

func TestSend(t *testing.T) {
	d := &double{t: t}
	server := httptest.NewServer(d)
	defer server.Close()
	to := New(Options{URL: server.URL, Token: "k"})
	defer to.Close()
	records := sinktest.Records(1000)
	if err := to.Send(t.Context(), records); err != nil || len(d.got) != 1000 {
		t.Fatal(err, len(d.got))
	}
	for i, l := range d.got {
		e, err := event.Parse([]byte(l.Message))
		if err != nil || e.ID != records[i].Event.ID || l.Timestamp != e.Time.UnixMilli() {
			t.Errorf("%v %+v", err, l)
		}
	}
	d.whole = http.StatusForbidden
	if err := to.Send(t.Context(), records); err == nil || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("%v", err)
	}
	d.whole = http.StatusRequestEntityTooLarge
	if err := to.Send(t.Context(), records); !errors.Is(err, sink.ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

// TestEntries holds the logs of one event of each kind, but for their messages.
func TestEntries(t *testing.T) {
	var out bytes.Buffer
	for _, r := range sinktest.Samples() {
		l := entryOf(r.Event)
		l.Message = "..."
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(text, '\n'))
	}
	sinktest.Golden(t, "testdata/entries.golden", out.Bytes())
}
