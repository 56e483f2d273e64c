package field_test

import (
	"slices"
	"testing"

	"github.com/palisade-security/palisade/proxy/field"
)

func TestList(t *testing.T) {
	l := field.List{{"Accept", "a"}, {"Cookie", "b"}, {"accept", "c"}, {"X", "d"}}
	if l.Get("ACCEPT") != "a" || l.Count("Accept") != 2 || !l.Has("x") || l.Has("Y") || l.Get("Y") != "" {
		t.Errorf("found in %v", l)
	}
	if got := l.Values("accept"); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("values %v", got)
	}
	if l.Has("\u212a") || (field.List{{"K", ""}}).Has("\u212a") {
		t.Error("a Kelvin sign is no K")
	}
	all := l[:4:4]
	whole := l.Clone()
	for name, want := range map[string]field.List{
		"Accept": {{"Cookie", "b"}, {"X", "d"}},
		"X":      {{"Accept", "a"}, {"Cookie", "b"}, {"accept", "c"}},
		"Y":      whole,
	} {
		copy(all, whole)
		got := all
		got.Del(name)
		if !slices.Equal(got, want) {
			t.Errorf("without %s: %v", name, got)
		}
		if gone := all[len(got):]; slices.ContainsFunc(gone, func(f field.Field) bool { return f != field.Field{} }) {
			t.Errorf("without %s: %v are kept in memory", name, gone)
		}
	}
	l = whole.Clone()
	l.Set("accept", "e")
	if want := (field.List{{"Cookie", "b"}, {"X", "d"}, {"accept", "e"}}); !slices.Equal(l, want) {
		t.Errorf("set: %v", l)
	}
}

// BenchmarkSet replaces the fields that a gateway writes anew in a header of ordinary length.
func BenchmarkSet(b *testing.B) {
	l := make(field.List, 0, 16)
	for _, name := range []string{"Accept", "Accept-Encoding", "Accept-Language", "Cookie", "User-Agent", "Traceparent", "X-Request-Id"} {
		l.Add(name, "x")
	}
	b.ReportAllocs()
	for b.Loop() {
		l.Del("Content-Length")
		l.Set("X-Request-Id", "y")
		l.Set("Traceparent", "y")
	}
}
