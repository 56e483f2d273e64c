package waf

import (
	"testing"

	"github.com/palisade-security/palisade/model"
)

// FuzzInspect sends arbitrary heads and bodies through the engine: it never panics and never fails to decide.
// The engine has the recommended rules only, since instrumented, the whole set allows less than one run a second.
func FuzzInspect(f *testing.F) {
	f.Add("q=1", "application/json", `{"a":[1,{"b":"c"}]}`)
	f.Add("q=%zz&&=", form, "a=%&b=+%00&=")
	f.Add("", parts, "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename*=utf-8''%41.txt; filename=\"\u0130\"\r\n\r\nx\r\n--XX--\r\n")
	f.Add("", parts, "--XX\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\nx\r\n--XX--\r\n")
	f.Add("", "multipart/form-data", "--\r\n")
	f.Add("", "text/xml", "<a><!DOCTYPE x><b c='d'>&e;</b></a>")
	engine, err := newCoraza(model.WAF{}, baseDirectives, compiler(f).rules, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query, content, body string) {
		r := post(content, body)
		r.RawQuery = query
		if _, err := engine.Inspect(t.Context(), r, []byte(body)); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzDisposition reads hostile part headers.
func FuzzDisposition(f *testing.F) {
	f.Add(`form-data; name="a"; filename*=utf-8''x; FILENAME*0="y"`)
	f.Add("\u0130\u0130filename\u0130=;filename")
	f.Fuzz(func(t *testing.T, raw string) {
		for _, v := range afterEach(raw, "filename") {
			if v == "" || len(v) > len(raw) {
				t.Errorf("read %q from %q", v, raw)
			}
		}
		if len(lower(raw)) != len(raw) {
			t.Errorf("the length of %q changed", raw)
		}
	})
}
