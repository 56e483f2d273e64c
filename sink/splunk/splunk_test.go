package splunk

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/sink/sinktest"
)

// double takes events as the collector does: objects one behind the other, those before a bad one are taken.
type double struct {
	t      *testing.T
	ids    []string
	bad    string // id of an event that it refuses
	status int
	answer string
}

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/services/collector/event" || r.Header.Get("Authorization") != "Splunk tok" {
		d.t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	if d.status != 0 {
		w.WriteHeader(d.status)
		_, _ = io.WriteString(w, d.answer)
		return
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		d.t.Error(err)
		return
	}
	strict := json.NewDecoder(z)
	strict.DisallowUnknownFields()
	for n := 0; ; n++ {
		var in envelope
		err := strict.Decode(&in)
		if errors.Is(err, io.EOF) {
			break
		}
		e, wrong := event.Parse(in.Event)
		if err != nil || wrong != nil || in.SourceType != SourceType || in.Index != "audit" || in.Time != seconds(e) {
			d.t.Fatalf("%v %v %+v", err, wrong, in)
		}
		if e.ID == d.bad {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"text":"Event field cannot be blank","code":13,"invalid-event-number":%d}`, n)
			return
		}
		d.ids = append(d.ids, e.ID)
	}
	_, _ = io.WriteString(w, `{"text":"Success","code":0}`)
}

func TestSend(t *testing.T) {
	d := &double{t: t}
	server := httptest.NewServer(d)
	defer server.Close()
	to := New(Options{URL: server.URL, Token: "tok", Index: "audit"})
	defer to.Close()
	records := sinktest.Records(100)
	if err := to.Send(t.Context(), records); err != nil || len(d.ids) != 100 || d.ids[99] != records[99].Event.ID {
		t.Fatal(err, len(d.ids))
	}
	d.bad = records[3].Event.ID
	err := to.Send(t.Context(), records[:6])
	partial, ok := errors.AsType[*sink.PartialError](err)
	if !ok || len(partial.Refused) != 1 || partial.Refused[0].At != 3 || len(partial.Again) != 2 || partial.Again[0] != 4 || partial.After >= 0 {
		t.Errorf("%v %+v", err, partial)
	}
	d.status, d.answer = http.StatusBadRequest, `{"text":"Incorrect index","code":7,"invalid-event-number":1}`
	if err := to.Send(t.Context(), records); err == nil || !strings.Contains(err.Error(), "Incorrect index") {
		t.Errorf("%v", err)
	} else if _, partial := errors.AsType[*sink.PartialError](err); partial {
		t.Errorf("an operator can mend the index: %v", err)
	}
	d.status, d.answer = http.StatusServiceUnavailable, `{"text":"Server is busy","code":9}`
	err = to.Send(t.Context(), records)
	if busy, ok := errors.AsType[*sink.BusyError](err); !ok || !strings.Contains(busy.Reason, "Server is busy") {
		t.Errorf("%v", err)
	}
}

// TestEnvelopes holds the envelopes of one event of each kind, but for the events.
func TestEnvelopes(t *testing.T) {
	text, err := New(Options{}).body(sinktest.Samples())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		at := bytes.Index(line, []byte(`,"event":`))
		out.Write(append(line[:at:at], '\n'))
	}
	sinktest.Golden(t, "testdata/envelopes.golden", out.Bytes())
}

// FuzzJudge reads what hostile servers say.
func FuzzJudge(f *testing.F) {
	f.Add(400, []byte(`{"text":"x","code":6,"invalid-event-number":1}`))
	f.Add(400, []byte(`{"code":7}`))
	f.Add(400, []byte(`{"invalid-event-number":-1}`))
	f.Add(503, []byte(`<`))
	f.Fuzz(func(t *testing.T, status int, text []byte) {
		err := New(Options{}).judge(&sink.Reply{Status: status, Body: text}, 3)
		if partial, ok := errors.AsType[*sink.PartialError](err); ok && (len(partial.Refused) != 1 || partial.Refused[0].At > 2 || len(partial.Again) > 2) {
			t.Errorf("%+v", partial)
		}
	})
}
