package openapi

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

var wide = bounds{depth: 32, keys: 1000, items: 1000, length: 1 << 20}

func TestScan(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "", ` [1, 2.5e3 ,"a\u00e9\ud83d\ude00", null,true,false] `: "", `"x"`: "", `0`: "", `-0.1E+2`: "",
		``: "json-empty", ` `: "json-empty",
		`{}x`: "json-trailing", `1 2`: "json-trailing", `{"a":1}{"a":2}`: "json-trailing",
		`{"a":1,"a":2}`: "json-duplicate-key", `{"a":1,"\u0061":2}`: "json-duplicate-key", `[{"b":{"x":1,"y":1,"x":1}}]`: "json-duplicate-key",
		"\"\xff\"": "json-utf8", "\"\xc0\xaf\"": "json-utf8", "\"\xed\xa0\x80\"": "json-utf8",
		`"\ud800"`: "json-surrogate", `"\udc00\ud800"`: "json-surrogate", `"\ud800x"`: "json-surrogate", `"\ud800\u0041"`: "json-surrogate",
		"\"\x01\"": "json-syntax", `"\x41"`: "json-syntax", `"abc`: "json-syntax", `"\`: "json-syntax", `"\u12`: "json-syntax",
		`01`: "json-trailing", `+1`: "json-syntax", `.5`: "json-syntax", `1.`: "json-syntax", `1e`: "json-syntax", `-`: "json-syntax", `NaN`: "json-syntax",
		`[1,]`: "json-syntax", `[`: "json-syntax", `{"a"}`: "json-syntax", `{"a":}`: "json-syntax", `{a:1}`: "json-syntax", `{"a":1,}`: "json-syntax", `'a'`: "json-syntax",
		`tru`: "json-syntax", `nul`: "json-syntax", "\ufeff{}": "json-syntax", "{}\x00": "json-trailing", `/**/1`: "json-syntax",
		`1e400`: "json-number", `1e99999999999999999999`: "json-number", `-1e-400`: "json-number", strings.Repeat("9", 200): "json-number",
	} {
		var d document
		f := d.scan([]byte(text), wide)
		if got := code(f); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func code(f *fault) string {
	if f == nil {
		return ""
	}
	return f.code
}

func TestScanBounds(t *testing.T) {
	tight := bounds{depth: 2, keys: 3, items: 2, length: 4}
	for text, want := range map[string]string{
		`[[1]]`: "", `[[[1]]]`: "json-depth", `{"a":{"b":{}}}`: "json-depth",
		`{"a":1,"b":2,"c":3}`: "", `{"a":1,"b":2,"c":3,"d":4}`: "json-keys", `[{"a":1,"b":1},{"a":1,"b":1}]`: "json-keys",
		`[1,2]`: "", `[1,2,3]`: "json-items", `"abcd"`: "", `"abcde"`: "json-string", `{"abcde":1}`: "json-string",
	} {
		var d document
		if got := code(d.scan([]byte(text), tight)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	var d document
	if got := code(d.scan(bytes.Repeat([]byte("["), 1<<20), bounds{depth: 32, items: 10, keys: 10, length: 10})); got != "json-depth" {
		t.Errorf("a million brackets: %q", got)
	}
}

// rebuild makes from the tape what encoding/json would make.
func rebuild(d *document, i uint32) any {
	switch t := d.tape[i]; t.kind {
	case kindBool:
		return string(d.raw(i)) == "true"
	case kindNumber:
		return json.Number(d.raw(i))
	case kindString:
		return string(d.bytes(i))
	case kindArray:
		out := []any{}
		for j := i + 1; j < t.next; j = d.tape[j].next {
			out = append(out, rebuild(d, j))
		}
		return out
	case kindObject:
		out := map[string]any{}
		for j := i + 1; j < t.next; j = d.tape[j+1].next {
			out[string(d.bytes(j))] = rebuild(d, j+1)
		}
		return out
	case kindNull, kindOpaque:
	}
	return nil
}

// FuzzJSONScan holds the scanner against encoding/json: whatever it accepts, that accepts too and reads alike.
func FuzzJSONScan(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-2.5e3,"x\n\u00e9\ud83d\ude00",null,true,false],"b":{}}`, `[[],{},""]`, `{"a":1,"a":2}`, `"\ud800"`, `1e400`, "\"\xff\"", `{"":{"":[0]}}`,
		`{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10,"k":11,"l":12,"m":13,"n":14,"m":15}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var d document
		if d.scan(src, wide) != nil {
			return
		}
		if !utf8.Valid(src) {
			t.Fatalf("accepted invalid UTF-8 %q", src)
		}
		decoder := json.NewDecoder(bytes.NewReader(src))
		decoder.UseNumber()
		var want any
		if err := decoder.Decode(&want); err != nil || !json.Valid(src) {
			t.Fatalf("accepted %q, encoding/json does not: %v", src, err)
		}
		var loose any
		if err := json.Unmarshal(src, &loose); err != nil {
			t.Fatalf("accepted %q, whose numbers no double holds: %v", src, err)
		}
		if got := rebuild(&d, 0); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q reads %#v, encoding/json reads %#v", src, got, want)
		}
		if !same(&d, 0, &d, 0) {
			t.Fatalf("%q is not the same as itself", src)
		}
	})
}
