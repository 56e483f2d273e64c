// Package sinktest has what tests of sinks share: events of every kind, golden files, and the check that tables of fields
// say the truth. It is for tests only.
package sinktest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/sink"
)

var update = flag.Bool("update", false, "write what the code says into the golden files") //nolint:gochecknoglobals // a flag of go test

// Start is when the events begin.
var Start = time.Date(2026, 11, 22, 10, 30, 0, 123456789, time.UTC) //nolint:gochecknoglobals // a constant

// Records are n events of a fleet at work, numbered from 1.
func Records(n int) []sink.Record { return Number(eventtest.New(11, Start, time.Second).Take(n)) }

// Number makes records of events.
func Number(events []*event.Event) []sink.Record {
	out := make([]sink.Record, len(events))
	for i, e := range events {
		out[i] = sink.Record{Number: uint64(i + 1), Event: e}
	}
	return out
}

// Samples are one event of each kind and outcome, and one made of what breaks formats.
func Samples() []sink.Record {
	seen := map[string]bool{}
	var out []*event.Event
	for _, r := range Records(4000) {
		e := r.Event
		what := fmt.Sprint(sink.Outcome(e), e.Problem, e.Side, e.Connection != nil)
		if e.Act != nil {
			what = string(e.Act.Kind)
		}
		if !seen[what] {
			seen[what] = true
			out = append(out, e)
		}
	}
	return Number(append(append(out, eventtest.New(12, Start, time.Second).Logs(3)...), Hostile()))
}

// Hostile is an event made of what breaks formats.
func Hostile() *event.Event {
	const text = "a\"b]c\\d\ne\x00f\x1b[31m\u2028g\xff<h>{i}"
	return &event.Event{
		Time: Start, ID: "0193b6f0-0000-7000-8000-00000000dead", Fleet: "shop", Method: "G\"ET]", Path: "/" + text, Query: "q=" + text, Host: "[" + text,
		UserAgent: text, Referer: text, Client: "unix " + text, Headers: []event.Header{{Name: "x", Value: text}},
		Route: text, Service: text, Problem: text, TraceID: text, SpanID: "zz", User: &event.User{Provider: text, Subject: text, Roles: []string{text}},
		Upstream: text, Status: 400,
		Trail: []event.Stage{{Name: event.StageInspect, Outcome: event.OutcomeDeny, Reasons: []event.Reason{{Code: text, Text: text, Policy: text}}}},
	}
}

// Golden compares with a file.
func Golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and read the difference\n%s", path, got)
	}
}

// CheckFields compares the values of fields with what stands in the event as written, where the table says so.
func CheckFields(t *testing.T, fields []sink.Field) {
	t.Helper()
	told := map[string]bool{}
	for _, r := range Records(4000) {
		var written any
		if err := json.Unmarshal(event.AppendJSON(nil, r.Event), &written); err != nil {
			t.Fatal(err)
		}
		for _, f := range fields {
			if strings.HasPrefix(f.From, "(") || told[f.Name] {
				continue
			}
			got, want := "", lookup(written, f.From)
			sink.Each([]sink.Field{f}, r.Event, func(_ string, v any) { got = fmt.Sprint(v) })
			if got != want {
				told[f.Name] = true
				t.Errorf("%s is %q, and %s is %q: %s", f.Name, got, f.From, want, event.AppendJSON(nil, r.Event))
			}
		}
	}
}

// lookup finds a value by a path with dots; empty if there is none, or if it is 0.
func lookup(in any, path string) string {
	for name := range strings.SplitSeq(path, ".") {
		object, ok := in.(map[string]any)
		if !ok {
			return ""
		}
		in = object[name]
	}
	switch v := in.(type) {
	case string:
		return v
	case float64:
		if v != 0 {
			return fmt.Sprint(int64(v))
		}
	}
	return ""
}

// CheckTable compares a table of fields with the one in a document, in lines of the form | `name` | from |.
func CheckTable(t *testing.T, document string, fields []sink.Field) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, f := range fields {
		from := "`" + f.From + "`"
		if inner, derived := strings.CutPrefix(f.From, "("); derived {
			from = strings.TrimSuffix(inner, ")")
		}
		table.WriteString("| `" + f.Name + "` | " + from + " |\n")
	}
	if !strings.Contains(string(text), table.String()) {
		t.Errorf("%s does not hold the table:\n%s", document, table.String())
	}
}
