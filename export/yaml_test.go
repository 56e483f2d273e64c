package export

import (
	"reflect"
	"testing"

	goccy "github.com/goccy/go-yaml"
	"sigs.k8s.io/yaml"
)

// TestEncode holds every kind of value, and what Kubernetes' reader makes of it.
func TestEncode(t *testing.T) {
	text := encode(fields{
		{"plain", "a/b.c-d_1"},
		{"on", list{"on", 7, true, nil, fields{}, list{}, "1:30", "0x1", "~", ""}},
		{"nested", marked{comment: "why\nso", value: list{
			fields{{"a", list{"b"}}, {"c", fields{{"d", 1}}}},
			marked{comment: "second", value: fields{{"e", marked{comment: "third", value: "f"}}}},
		}}},
		{"reset", marked{tag: "!reset"}},
	})
	const want = `plain: a/b.c-d_1
"on":
- "on"
- 7
- true
- null
- {}
- []
- "1:30"
- "0x1"
- "~"
- ""
# why?so
nested:
- a:
  - b
  c:
    d: 1
# second
- # third
  e: f
reset: !reset null
`
	if text != want {
		t.Errorf("got\n%s", text)
	}
	var got map[string]any
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	parsed := map[string]any{
		"plain": "a/b.c-d_1",
		"on":    []any{"on", 7.0, true, nil, map[string]any{}, []any{}, "1:30", "0x1", "~", ""},
		"nested": []any{
			map[string]any{"a": []any{"b"}, "c": map[string]any{"d": 1.0}},
			map[string]any{"e": "f"},
		},
		"reset": "null", // the tag is Compose's
	}
	if !reflect.DeepEqual(got, parsed) {
		t.Errorf("it is read as %v", got)
	}
}

// FuzzQuoted makes sure that readers of YAML 1.1 and 1.2 read a string back, as value, as key and behind a comment.
func FuzzQuoted(f *testing.F) {
	for _, s := range []string{"", "on", "No", "null", "1e3", "2001-01-01", "a: b", "a #b", "- a", "\"\\", "\u2028\x85", "é", "0o7", "<<", "=", "$x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 150 {
			t.Skip("keys may have 1024 characters, escapes included")
		}
		for _, r := range s {
			if r == 0xfffd || r >= 0x7f && r < 0xa0 || r == 0xfeff || r > 0xffff {
				t.Skip("nothing in a model or an option has it")
			}
		}
		text := encode(fields{{"key", marked{comment: s, value: fields{{"x" + s, list{s}}}}}})
		want := map[string]map[string][]string{"key": {"x" + s: {s}}}
		var one, two map[string]map[string][]string
		if err := yaml.UnmarshalStrict([]byte(text), &one); err != nil || !reflect.DeepEqual(one, want) {
			t.Errorf("%q: %v %v\n%s", s, one, err, text)
		}
		if err := goccy.Unmarshal([]byte(text), &two); err != nil || !reflect.DeepEqual(two, want) {
			t.Errorf("%q: %v %v\n%s", s, two, err, text)
		}
	})
}
