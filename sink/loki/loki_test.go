package loki

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/sink/sinktest"
)

// push is what Loki reads.
type push struct {
	Streams []struct {
		Stream map[string]string
		Values [][]json.RawMessage
	}
}

// double takes pushes as Loki does: it checks them and answers 204.
type double struct {
	t     *testing.T
	got   []push
	whole int
}

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/loki/api/v1/push" || r.Header.Get("X-Scope-OrgID") != "shop" ||
		r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "Basic dTpw" {
		d.t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	if d.whole != 0 {
		http.Error(w, "entry too far behind", d.whole)
		return
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		d.t.Error(err)
		return
	}
	strict := json.NewDecoder(z)
	strict.DisallowUnknownFields()
	var p push
	if err := strict.Decode(&p); err != nil {
		d.t.Error(err)
	}
	d.got = append(d.got, p)
	w.WriteHeader(http.StatusNoContent)
}

func TestSend(t *testing.T) {
	d := &double{t: t}
	server := httptest.NewServer(d)
	defer server.Close()
	to := New(Options{URL: server.URL, Tenant: "shop", User: "u", Password: "p"})
	defer to.Close()
	records := sinktest.Records(3000)
	if err := to.Send(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	lines, values := 0, map[string]map[string]bool{}
	for _, s := range d.got[0].Streams {
		lines += len(s.Values)
		for name, value := range s.Stream {
			if values[name] == nil {
				values[name] = map[string]bool{}
			}
			values[name][value] = true
		}
		for _, v := range s.Values {
			var ns, line string
			if err := errors.Join(json.Unmarshal(v[0], &ns), json.Unmarshal(v[1], &line)); err != nil || len(v) != 2 {
				t.Fatal(err, v)
			}
			e, err := event.Parse([]byte(line))
			if at, _ := strconv.ParseInt(ns, 10, 64); err != nil || e.Time.UnixNano() != at {
				t.Errorf("%v: %s %s", err, ns, line)
			}
		}
	}
	if lines != len(records) {
		t.Errorf("%d lines of %d", lines, len(records))
	}
	if names := slices.Sorted(maps.Keys(values)); !slices.Equal(names, []string{"class", "fleet", "outcome", "service", "service_name"}) {
		t.Errorf("labels %v", names)
	}
	for name, of := range values {
		if len(of) > 10 {
			t.Errorf("label %s has %d values", name, len(of))
		}
	}
	d.whole = http.StatusBadRequest
	_, refused := errors.AsType[*sink.RefusedError](to.Send(t.Context(), records[:1]))
	if !refused {
		t.Error("400 is for good")
	}
	d.whole = http.StatusTooManyRequests
	err := to.Send(t.Context(), records[:1])
	if busy, ok := errors.AsType[*sink.BusyError](err); !ok || !strings.Contains(busy.Reason, "too far behind") {
		t.Errorf("%v", err)
	}
}

// TestStreams holds the labels and times of one event of each kind.
func TestStreams(t *testing.T) {
	text, err := body(sinktest.Samples())
	if err != nil {
		t.Fatal(err)
	}
	var p push
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, s := range p.Streams {
		l, err := json.Marshal(s.Stream)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(l, '\n'))
		for _, v := range s.Values {
			out.WriteString(" " + string(v[0]) + "\n")
		}
	}
	sinktest.Golden(t, "testdata/streams.golden", out.Bytes())
}
