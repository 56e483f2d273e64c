package elastic

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/sink/sinktest"
)

// TestDocuments holds the documents of one event of each kind. OCSF's own text in them is left out: it is held elsewhere.
func TestDocuments(t *testing.T) {
	var out bytes.Buffer
	w := json.NewEncoder(&out)
	w.SetEscapeHTML(false)
	w.SetIndent("", " ")
	for _, r := range sinktest.Samples() {
		d := Document(r.Event)
		delete(d["event"].(map[string]any), "original")
		if err := w.Encode(d); err != nil {
			t.Fatal(err)
		}
	}
	sinktest.Golden(t, "testdata/documents.golden", out.Bytes())
}

func TestFields(t *testing.T) {
	sinktest.CheckFields(t, Fields())
	sinktest.CheckTable(t, "../../docs/export-events.md", Fields())
}

// double takes bulk requests as Elasticsearch does: it checks the framing and answers for each document.
type double struct {
	t      *testing.T
	there  map[string]bool
	status func(id string, document map[string]any) int
	whole  int
}

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := d.t
	if r.Method != http.MethodPost || r.URL.Path != "/logs-palisade.events-default/_bulk" || r.Header.Get("Authorization") != "ApiKey the-key" ||
		r.Header.Get("Content-Type") != "application/x-ndjson" || r.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	if d.whole != 0 {
		w.WriteHeader(d.whole)
		return
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		t.Error(err)
		return
	}
	text, err := io.ReadAll(z)
	if err != nil || !bytes.HasSuffix(text, []byte("\n")) {
		t.Errorf("%v; the last line ends with a line break: %q", err, text[max(0, len(text)-20):])
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if len(lines)%2 != 0 {
		t.Fatalf("%d lines", len(lines))
	}
	var items []string
	failed := false
	for pair := range slices.Chunk(lines, 2) {
		var action struct {
			Create *struct {
				ID string `json:"_id"`
			}
		}
		strict := json.NewDecoder(bytes.NewReader(pair[0]))
		strict.DisallowUnknownFields()
		var document map[string]any
		if err := errors.Join(strict.Decode(&action), json.Unmarshal(pair[1], &document)); err != nil || action.Create == nil || document["@timestamp"] == nil {
			t.Errorf("%v: %s %s", err, pair[0], pair[1])
			continue
		}
		status := 201
		if d.there[action.Create.ID] {
			status = 409
		} else if d.status != nil {
			status = d.status(action.Create.ID, document)
		}
		why := ""
		if status/100 == 2 {
			d.there[action.Create.ID] = true
		} else {
			why, failed = `,"error":{"type":"some_exception","reason":"because"}`, true
		}
		items = append(items, fmt.Sprintf(`{"create":{"_index":".ds-x","_id":%q,"status":%d%s}}`, action.Create.ID, status, why))
	}
	fmt.Fprintf(w, `{"took":1,"errors":%v,"items":[%s]}`, failed, strings.Join(items, ","))
}

// TestSend speaks with a double of the bulk API.
func TestSend(t *testing.T) {
	d := &double{t: t, there: map[string]bool{}}
	server := httptest.NewServer(d)
	defer server.Close()
	to := New(Options{URL: server.URL + "/", Token: "the-key"})
	defer to.Close()
	records := sinktest.Samples()
	n := len(records)
	d.status = func(id string, _ map[string]any) int {
		switch id {
		case records[1].Event.UID():
			return 400
		case records[2].Event.UID():
			return 429
		case records[3].Event.UID():
			return 503
		}
		return 201
	}
	err := to.Send(t.Context(), records)
	partial, ok := errors.AsType[*sink.PartialError](err)
	if !ok || len(partial.Refused) != 1 || partial.Refused[0].At != 1 || partial.Refused[0].Reason != "400 some_exception: because" || !slices.Equal(partial.Again, []int{2, 3}) {
		t.Fatalf("%v %+v", err, partial)
	}
	d.status = nil
	if err := to.Send(t.Context(), records); err != nil || len(d.there) != n {
		t.Errorf("again, most of it there: %v; %d of %d", err, len(d.there), n)
	}
	d.whole = 413
	if err := to.Send(t.Context(), records); !errors.Is(err, sink.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	d.whole = 401
	if err := to.Send(t.Context(), records); err == nil || strings.Contains(err.Error(), "the-key") {
		t.Errorf("%v", err)
	}
}

// FuzzOutcome reads what hostile servers say.
func FuzzOutcome(f *testing.F) {
	f.Add([]byte(`{"took":1,"errors":true,"items":[{"create":{"_id":"a","status":400,"error":{"type":"x","reason":"y"}}},{"create":{"status":201}}]}`))
	f.Add([]byte(`{"errors":false,"items":[{},{"create":{"status":-7}}]}`))
	f.Add([]byte(`<html>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		err := New(Options{}).outcome(text, 2)
		if partial, ok := errors.AsType[*sink.PartialError](err); ok && len(partial.Refused)+len(partial.Again) > 2 {
			t.Errorf("%+v", partial)
		}
	})
}
