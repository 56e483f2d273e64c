package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
)

func TestRoundTrip(t *testing.T) {
	all := samples()
	maps.Copy(all, connections())
	maps.Copy(all, acts())
	maps.Copy(all, logs())
	for name, want := range all {
		line := event.AppendJSON([]byte("kept:"), want)
		line, ok := bytes.CutPrefix(line, []byte("kept:"))
		if !ok || bytes.ContainsAny(line, "\n\r") || !json.Valid(line) {
			t.Fatalf("%s: %s", name, line)
		}
		got, err := event.Parse(line)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v\nfrom %s", name, got, want, line)
		}
	}
}

// TestFullIsFull keeps the sample honest when Event gains a field: then AppendJSON and Parse need it too.
func TestFullIsFull(t *testing.T) {
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[time.Time]() {
			if v.IsZero() {
				t.Errorf("%s is not filled", path)
			}
			return
		}
		for i := range v.NumField() {
			switch v.Type().Field(i).Type {
			case reflect.TypeFor[*event.Connection](), reflect.TypeFor[*event.Act](), reflect.TypeFor[*event.Log]():
				continue // an event is a request's, a connection's, an act's or a log record
			}
			walk(v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	}
	walk(reflect.ValueOf(*full()), "Event")
	walk(reflect.ValueOf(*connections()["carried"].Connection), "Connection")
	walk(reflect.ValueOf(*fullAct().Act), "Act")
	walk(reflect.ValueOf(*logs()["full"].Log), "Log")
}

func TestInvalidTextIsReplaced(t *testing.T) {
	e := &event.Event{Time: moment, Path: "/a\xffb\xc3", Host: "\x00\x7f\u2029😀"}
	line := event.AppendJSON(nil, e)
	if !json.Valid(line) {
		t.Fatalf("not JSON: %q", line)
	}
	got, err := event.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	if got.Path != "/a\ufffdb\ufffd" || got.Host != e.Host {
		t.Errorf("got %q %q", got.Path, got.Host)
	}
	if bytes.Contains(line, []byte("\u2029")) {
		t.Error("line separator is not escaped")
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		in      string
		foreign bool
	}{
		{``, false},
		{`{`, false},
		{`{"class_uid":"x"}`, false},
		{`{}`, true},
		{`{"class_uid":3002,"metadata":{"version":"1.7.0"}}`, true},
		{`{"class_uid":4002,"metadata":{"version":"0.9.0"}}`, true},
		{`{"class_uid":4001,"metadata":{"version":"1.7.0"}}`, true},
		{`{"class_uid":4002,"metadata":{"version":"1.7.0"},"unmapped":{"connection":{}}}`, true},
		{`{"class_uid":3002,"metadata":{"version":"1.7.0"},"unmapped":{"act":{"kind":"revoked"}}}`, true},
		{`{"class_uid":6003,"metadata":{"version":"1.7.0"},"unmapped":{"act":{"kind":"revoked"},"connection":{}}}`, true},
		{`{"class_uid":0,"metadata":{"version":"1.7.0"}}`, true},
		{`{"class_uid":0,"metadata":{"version":"0.9.0"},"unmapped":{"log":{}}}`, true},
		{`{"class_uid":0,"class_uid":1,"metadata":{"version":"1.7.0"},"unmapped":{"log":{}}}`, true},
		{`{"class_uid":0,"message":7}`, false},
	} {
		_, err := event.Parse([]byte(c.in))
		if err == nil || errors.Is(err, event.ErrForeign) != c.foreign {
			t.Errorf("%s: %v", c.in, err)
		}
	}
}

func FuzzAppendJSON(f *testing.F) {
	f.Add("GET", "shop.example:80", "/a", "x=1", "ua\xff", "k", "v\"", uint8(1), 200)
	f.Add("", "[::1]", "\u2028", "&&", "\x00", "", "\\", uint8(9), 0)
	f.Fuzz(func(t *testing.T, method, host, path, query, agent, key, value string, outcome uint8, status int) {
		e := full()
		e.Method, e.Host, e.Path, e.Query, e.UserAgent, e.Status = method, host, path, query, agent, status
		e.Trail[1].Outcome = event.Outcome(outcome)
		e.Trail[1].Reasons[0].Data = map[string]string{key: value}
		e.Headers[0] = event.Header{Name: key, Value: value}
		line := event.AppendJSON(nil, e)
		once, err := event.Parse(line)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		twice, err := event.Parse(event.AppendJSON(nil, once))
		if err != nil || !reflect.DeepEqual(once, twice) {
			t.Fatalf("%v\nonce  %+v\ntwice %+v", err, once, twice)
		}
		if once.Path != strings.ToValidUTF8(path, "\ufffd") && !strings.Contains(once.Path, "\ufffd") {
			t.Fatalf("path %q became %q", path, once.Path)
		}
	})
}

// FuzzScan holds that the fast way to read an event and the general one agree.
func FuzzScan(f *testing.F) {
	for _, all := range []map[string]*event.Event{samples(), connections(), acts(), logs()} {
		for _, e := range all {
			f.Add(event.AppendJSON(nil, e))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) { event.Agree(t, line) })
}

// TestScan takes the fast way with all that gateways write.
func TestScan(t *testing.T) {
	all := eventtest.New(1, moment, time.Millisecond).Take(3000)
	all = slices.AppendSeq(all, maps.Values(samples()))
	all = slices.AppendSeq(all, maps.Values(connections()))
	all = slices.AppendSeq(all, maps.Values(logs()))
	all = append(all, eventtest.New(2, moment, time.Millisecond).Logs(1000)...)
	for i, e := range all {
		line := append(event.AppendJSON(nil, e), '\n')
		if !event.Agree(t, line) && e.Act == nil {
			t.Errorf("read the general way: %s", line)
		}
		if i%100 != 0 {
			continue
		}
		for at := 0; at < len(line); at += 1 + len(line)/80 { // what is nearly right
			for _, c := range []byte("\"\\,:}]0-.\xff") {
				other := bytes.Clone(line)
				other[at] = c
				event.Agree(t, other)
			}
			event.Agree(t, line[:at])
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, e := range samples() {
		f.Add(event.AppendJSON(nil, e))
	}
	for _, e := range connections() {
		f.Add(event.AppendJSON(nil, e))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := event.Parse(line)
		if err != nil {
			return
		}
		if out := event.AppendJSON(nil, e); !json.Valid(out) {
			t.Fatalf("%s became %s", line, out)
		}
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	e := full()
	buf := make([]byte, 0, event.DefaultCapacity)
	b.ReportAllocs()
	for b.Loop() {
		buf = event.AppendJSON(buf[:0], e)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkAppendJSONAllowed(b *testing.B) {
	e := samples()["allowed"]
	buf := make([]byte, 0, event.DefaultCapacity)
	b.ReportAllocs()
	for b.Loop() {
		buf = event.AppendJSON(buf[:0], e)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkParse(b *testing.B) {
	for name, e := range map[string]*event.Event{"full": full(), "ordinary": ordinary()} {
		b.Run(name, func(b *testing.B) {
			line := event.AppendJSON(nil, e)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := event.Parse(line); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestRecordCommandsNoTerminal holds that a record can be shown as it is.
func TestRecordCommandsNoTerminal(t *testing.T) {
	path := "/\x1b[2J\u009b31m\u202ex\u2066y\u2028\u00e9\U0001f600"
	line := event.AppendJSON(nil, &event.Event{Path: path})
	if strings.ContainsAny(string(line), "\x1b\u009b\u202e\u2066\u2028") || !strings.Contains(string(line), "\u00e9\U0001f600") {
		t.Fatalf("got %q", line)
	}
	if e, err := event.Parse(line); err != nil || e.Path != path {
		t.Fatalf("got %+v, %v", e, err)
	}
}
