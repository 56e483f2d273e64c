package segment_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/store/query"
	"github.com/palisade-security/palisade/store/segment"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func block(t testing.TB, events []*event.Event) *segment.View {
	t.Helper()
	b := segment.NewBlock(0)
	for number := 1; number <= len(events); number += 777 { // in parts, as they come
		b.Append(segment.NewBatch(events[number-1:min(number+776, len(events))]), uint64(number))
	}
	return b.View()
}

// seal writes events into a segment and opens it.
func seal(t testing.TB, dir string, events []*event.Event) *segment.Segment {
	t.Helper()
	from := []segment.Chunk{block(t, events)}
	rows, err := segment.Order(from)
	must(t, err)
	info, err := segment.Write(dir, "a.parquet", from, rows)
	must(t, err)
	s, err := segment.Open(dir, info)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func every(c segment.Chunk) []uint32 {
	out := make([]uint32, c.Rows())
	for i := range out {
		out[i] = uint32(i)
	}
	return out
}

// TestExact holds that what was recorded comes back from the columns byte for byte.
func TestExact(t *testing.T) {
	fleet := eventtest.New(1, start, time.Millisecond)
	events := append(fleet.Take(5000), fleet.Logs(500)...)
	odd := &event.Event{Time: start, ID: "a\xff\x00", Host: "[x", User: &event.User{Subject: "ü\xfe", Attributes: &event.Attributes{ACR: "\xff", AuthTime: start, Claims: []event.Claim{{Name: "\u2028", Value: []string{"\xff"}}, {Name: "n"}}}}, Headers: []event.Header{{Name: "a", Value: "<\xff>"}}, Trail: []event.Stage{{Outcome: 77}, {Took: -1, Reasons: []event.Reason{{Data: map[string]string{"\u2028": "\xff"}}}}}}
	events = append(events, odd, &event.Event{Time: start, User: &event.User{}, Connection: &event.Connection{Side: 9}, Side: event.SideEgress},
		&event.Event{Time: start, Client: "x", ClientPort: 7, Act: &event.Act{Kind: "of later", Who: "spiffe://x/service/y", Outcome: "odd", Omitted: -3}},
		&event.Event{Time: start, Allowed: true, Log: &event.Log{Text: "a\xff\x00", Severity: 99, Attributes: map[string]string{"\xfe": "\u2028"}, Omitted: -1}},
		&event.Event{Time: start.Add(time.Hour), Open: true, Act: &event.Act{Who: "bob", Object: "service/a"}})
	var want []string
	for _, e := range events {
		want = append(want, string(event.AppendJSON(nil, e)))
	}
	s := seal(t, t.TempDir(), events)
	must(t, s.Verify())
	var got []string
	for _, c := range append(s.Chunks(), block(t, events)) {
		back, err := segment.Events(c, every(c))
		must(t, err)
		for _, e := range back {
			got = append(got, string(event.AppendJSON(nil, e)))
		}
	}
	if !reflect.DeepEqual(got[len(events):], want) {
		t.Error("a block returns something else")
	}
	if !slices.IsSortedFunc(got[:len(events)], func(a, b string) int { return timeOf(t, a).Compare(timeOf(t, b)) }) {
		t.Error("a segment is not in the order of time")
	}
	sealed := slices.Sorted(slices.Values(got[:len(events)]))
	slices.Sort(want)
	for i := range want {
		if sealed[i] != want[i] {
			t.Fatalf("sealed\n%s\nwant\n%s", sealed[i], want[i])
		}
	}
}

func timeOf(t *testing.T, line string) time.Time {
	t.Helper()
	e, err := event.Parse([]byte(line))
	if err != nil {
		e = &event.Event{Time: start.Add(time.Hour)} // of a kind that Parse does not know
	}
	return e.Time
}

// TestSelect compares with what query says of each event.
func TestSelect(t *testing.T) {
	events := append(eventtest.New(2, start, time.Millisecond).Take(20_000), eventtest.New(7, start, time.Millisecond).Logs(2000)...)
	slices.SortStableFunc(events, func(a, b *event.Event) int { return a.Time.Compare(b.Time) })
	traced := events[slices.IndexFunc(events, func(e *event.Event) bool { return e.TraceID != "" })]
	s := seal(t, t.TempDir(), events)
	chunks := append(s.Chunks(), block(t, events))
	for _, text := range []string{
		"", "service:orders", "outcome:denied user:user-1*", "id:" + events[77].ID, "trace:" + traced.TraceID, "id:none", "user:nobody", "caller:web", "caller:edge status:>=400",
		"status:404 or duration:>10ms", "-side:edge", `"user-12"`, "wp-login", "no-permit", "KEYCLOAK", "path:/orders/*", "firefox -service:items", "kind:applied or kind:connection", "attested", "reason:limit-exceeded method:GET",
		"time:>=2026-11-22T09:00:05Z", "user:alice", `host:""`,
		"kind:log", "level:error or level:fatal", `level:"" kind:log`, "host:node-1 reserved", `"<&>"`, "of item 49",
	} {
		x, err := query.Parse(text)
		must(t, err)
		for _, q := range []query.Query{{Where: x}, {Where: x, From: start.Add(3 * time.Second), To: start.Add(9 * time.Second)}} {
			var want []uint32
			for i, e := range events {
				if q.Match(e) {
					want = append(want, uint32(i))
				}
			}
			for i, c := range chunks {
				set, err := segment.Select(c, &q)
				must(t, err)
				if got := set.Rows(); !slices.Equal(got, want) || set.Len() != len(want) {
					t.Errorf("%q in chunk %d: %d rows, want %d", text, i, len(got), len(want))
				}
			}
		}
	}
}

// TestDamage changes a byte here and there, and cuts. Reading finds it, or returns the same as before since it does not need
// it (the first four bytes, columns with nothing in them). Verify finds it.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	events := eventtest.New(3, start, time.Millisecond).Take(500)
	info := seal(t, dir, events).Info
	path := filepath.Join(dir, info.Name)
	whole, err := os.ReadFile(path)
	must(t, err)
	want, err := read(&info, dir)
	must(t, err)
	found := 0
	for at := 5; at < len(whole); at += len(whole)/97 + 1 {
		bad := bytes.Clone(whole)
		bad[at] ^= 0x10
		must(t, os.WriteFile(path, bad, 0o600))
		var damage *segment.DamageError
		switch got, err := read(&info, dir); {
		case err == nil && bytes.Equal(got, want):
		case errors.As(err, &damage) && damage.Name == info.Name:
			found++
		default:
			t.Errorf("byte %d of %d: %v", at, len(whole), err)
		}
		if s, err := segment.Open(dir, &info); err == nil {
			if err := s.Verify(); !errors.As(err, &damage) {
				t.Errorf("byte %d of %d: Verify says %v", at, len(whole), err)
			}
			must(t, s.Close())
		}
	}
	if found < 70 {
		t.Errorf("damage was found %d times", found)
	}
	for _, n := range []int{0, 10, len(whole) / 2, len(whole) - 1} {
		must(t, os.WriteFile(path, whole[:n], 0o600))
		var damage *segment.DamageError
		if _, err := read(&info, dir); !errors.As(err, &damage) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
	must(t, os.Remove(path))
	var damage *segment.DamageError
	if _, err := read(&info, dir); !errors.As(err, &damage) {
		t.Errorf("gone: %v", err)
	}
}

// read returns all records of a segment.
func read(info *segment.Info, dir string) ([]byte, error) {
	s, err := segment.Open(dir, info)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var out []byte
	for _, c := range s.Chunks() {
		events, err := segment.Events(c, every(c))
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			out = event.AppendJSON(out, e)
		}
	}
	return out, nil
}

// TestInfo compares what is known without reading.
func TestInfo(t *testing.T) {
	events := eventtest.New(4, start, time.Millisecond).Take(2000)
	info := seal(t, t.TempDir(), events).Info
	tally := &query.Tally{}
	for _, e := range events {
		must(t, tally.Add(query.TextOf(e, query.Outcome), 1))
	}
	for _, c := range tally.Counts(10).Top {
		if info.Values["outcome"][c.Value] != c.Count {
			t.Errorf("%s: %d, want %d", c.Value, info.Values["outcome"][c.Value], c.Count)
		}
	}
	if info.Lowest != 1 || info.Highest != 2000 || info.Rows != 2000 || info.First < start.UnixNano() || info.Last <= info.First {
		t.Errorf("%+v", info)
	}
}

func TestRefuses(t *testing.T) {
	for _, at := range []time.Time{{}, time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if err := segment.Check(&event.Event{ID: "a", Time: at}); err == nil {
			t.Errorf("%s is taken: %v", at, err)
		}
	}
	if _, err := segment.Write(t.TempDir(), "x", nil, nil); err == nil {
		t.Error("a segment without events is written")
	}
}
