package openapi

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

const shaped = `openapi: 3.1.0
info: {title: shaped, version: "1"}
servers: [{url: "https://api.example/v1"}]
components:
  securitySchemes: {key: {type: apiKey, in: header, name: X-Key}}
  schemas:
    Base: {type: object, properties: {id: {type: integer}, tags: {type: array, items: {type: object, properties: {name: {type: string}}}}}}
paths:
  /things:
    post:
      parameters: [{name: X-Tenant, in: header, schema: {type: string}}, {name: page, in: query, schema: {type: integer}}]
      requestBody:
        content:
          application/json:
            schema:
              allOf:
                - {$ref: "#/components/schemas/Base"}
                - {type: object, properties: {inner: {type: object, properties: {a: {type: string}}}, free: {type: object}, map: {type: object, additionalProperties: {type: object, properties: {k: {type: string}}}}, any: {}}}
          application/x-www-form-urlencoded: {schema: {type: object, properties: {a: {type: string}}}}
      responses: {"201": {description: made}, 4XX: {description: no}}
    put:
      requestBody: {content: {application/json: {schema: {type: object, additionalProperties: false, properties: {a: {type: string}}}}}}
      responses: {default: {description: all}}
`

// noted are the notes of a request, each as its place, media type and names by type.
func noted(t *testing.T, f proxy.Filter, r *proxy.Request) string {
	t.Helper()
	refused := outcome(t, f, r)
	out := []string{}
	for _, reason := range r.Trail[0].Reasons {
		if reason.Data["drift"] != "true" || reason.Code != FieldCode && reason.Code != ParameterCode {
			t.Errorf("noted %+v", reason)
		}
		text := reason.Data["in"]
		for _, k := range slices.Sorted(maps.Keys(reason.Data)) {
			if k != "drift" && k != "in" && (k != "media" || reason.Data[k] != "application/json") {
				text += " " + k + "=" + reason.Data[k]
			}
		}
		out = append(out, text)
	}
	if refused != "" {
		out = append(out, refused)
	}
	return strings.Join(out, "; ")
}

func TestShapes(t *testing.T) {
	api := compileText(t, shaped)
	const json, form = "Content-Type: application/json", "Content-Type: application/x-www-form-urlencoded"
	for name, tc := range map[string]struct {
		target, body string
		dry          bool
		headers      []string
		want         string
	}{
		"declared":          {"POST /v1/things?page=1", `{"id":1,"inner":{"a":"x"},"tags":[{"name":"n"}]}`, false, []string{json, "X-Tenant: a", "X-Key: k", "User-Agent: curl", "Sec-Fetch-Mode: cors", "traceparent: 0"}, ""},
		"fields":            {"POST /v1/things", `{"note":"secret","n":7,"f":1.5,"b":true,"z":null}`, false, []string{json}, "body boolean=/b integer=/n null=/z number=/f string=/note"},
		"within":            {"POST /v1/things", `{"inner":{"x":{"y":[{"z":1}]}},"tags":[{"name":"n","c":1},{"c":2}]}`, false, []string{json}, "body array=/inner/x/y integer=/inner/x/y/[]/z,/tags/[]/c object=/inner/x,/inner/x/y/[]"},
		"free":              {"POST /v1/things", `{"free":{"a":1},"any":{"b":1},"map":{"k1":{"k":"x","o":1}}}`, false, []string{json}, "body integer=/map/k1/o"},
		"values as keys":    {"POST /v1/things", `{"someone@example.com":1,"4711":2,"map":{"550e8400-e29b-41d4-a716-446655440000":{"o":1}}}`, false, []string{json}, "body integer=/*,/map/*/o"},
		"headers":           {"POST /v1/things", `{}`, false, []string{json, "X-Shop: 1", "x-shop: 2", "X-4711999: 1", "X-Forwarded-For: a", "Cookie: a=b"}, "header names=x-shop"},
		"form":              {"POST /v1/things", `a=1&b=2`, false, []string{form}, "body media=application/x-www-form-urlencoded string=/b"},
		"refused":           {"PUT /v1/things", `{"b":1}`, false, []string{json}, "schema-violation body-invalid:body:/b"},
		"refused in dry":    {"PUT /v1/things", `{"b":1}`, true, []string{json}, "body integer=/b; schema-violation body-invalid:body:/b"},
		"unknown":           {"POST /v1/others", `{"b":[1]}`, false, []string{json}, "undeclared-endpoint undeclared-endpoint"},
		"unknown in dry":    {"POST /v1/others", `{"b":[1]}`, true, []string{json}, "body array=/b integer=/b/[]; undeclared-endpoint undeclared-endpoint"},
		"other type in dry": {"PUT /v1/things", `{"b":1}`, true, []string{"Content-Type: application/x+json"}, "body integer=/b media=application/x+json; unsupported-media-type unsupported-media-type"},
		"media of a value":  {"PUT /v1/things", `{"b":1}`, true, []string{"Content-Type: application/someone@example.com+json"}, "unsupported-media-type unsupported-media-type"},
		"no JSON in dry":    {"POST /v1/others", `{"b":`, true, []string{json}, "undeclared-endpoint undeclared-endpoint"},
	} {
		route := model.ResolvedRoute{}
		if tc.dry {
			route.DryRun = []string{"validate"}
		}
		if got := noted(t, api.Filter(route, true), request(tc.target, tc.body, tc.headers...)); got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, tc.want)
		}
		if r := request(tc.target, tc.body, tc.headers...); noted(t, api.Filter(route, false), r) != "" && len(r.Trail[0].Reasons) != 0 {
			t.Errorf("%s: noted without shapes: %+v", name, r.Trail[0].Reasons)
		} else if got := outcome(t, api.Filter(route, false), r); strings.Contains(got, "/b") {
			t.Errorf("%s: named without shapes: %s", name, got)
		}
	}
}

// TestShapesAreBounded holds that one request cannot make its record large.
func TestShapesAreBounded(t *testing.T) {
	f := compileText(t, shaped).Filter(model.ResolvedRoute{}, true)
	var b strings.Builder
	for i := range 900 {
		b.WriteString(`,"a` + strings.Repeat("b", i%60) + strings.Repeat("c", i/60) + `":{"x":{"x":{"x":{"x":{"x":{"x":{"x":{"x":{"x":1}}}}}}}}}`)
		if i == 90 {
			break
		}
	}
	r := request("POST /v1/things", "{"+b.String()[1:]+"}", "Content-Type: application/json")
	if got := outcome(t, f, r); got != "" {
		t.Fatal(got)
	}
	n := 0
	for k, v := range r.Trail[0].Reasons[0].Data {
		n += len(k) + len(v)
	}
	if fields := strings.Count(r.Trail[0].Reasons[0].Data["object"], ",") + 1; fields > maxFields || n > maxFields*maxFieldDepth*66 {
		t.Errorf("%d bytes, %d fields", n, fields)
	}
}

func TestOperations(t *testing.T) {
	api := compileText(t, shaped)
	if all := api.Operations(); len(all) != 2 || all[0].Method() != "POST" || all[0].Template() != "/things" || api.Base() != "/v1" || !slices.Equal(all[0].Parameters(), []string{"page"}) || api.Templates()[0] != "/things" {
		t.Errorf("%+v", all)
	}
	if _, ok := api.Find("GET", []string{"v1", "things"}); ok || api.Template([]string{"v1", "things"}) != "/things" || api.Template([]string{"v1"}) != "" {
		t.Error("GET is found")
	}
	o, ok := api.Find("POST", []string{"v1", "things"})
	if !ok || !o.DeclaresQuery("page") || o.DeclaresQuery("x") || !o.DeclaresHeader("x-tenant") || o.DeclaresHeader("x-shop") || !o.DeclaresStatus(201) || !o.DeclaresStatus(404) || o.DeclaresStatus(202) {
		t.Errorf("%+v", o.op)
	}
	for path, want := range map[string]bool{
		"/id": true, "/x": false, "/inner/a": true, "/inner/x": false, "/inner/x/y": false, "/tags/[]/name": true, "/tags/[]/c": false, "/free/a": true, "/any/a/b": true,
		"/map/*/k": true, "/map/*/o": false, "/*": false,
	} {
		if o.DeclaresField("application/json; charset=utf-8", path) != want {
			t.Errorf("%s: %t", path, !want)
		}
	}
	if o.DeclaresField("text/xml", "/id") {
		t.Error("text/xml is declared")
	}
}

// FuzzShape holds that what is noted of any body is bounded and quotes no value.
func FuzzShape(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{"inner":{"someone@example.com":"v"}}`, `[{"a":[[[]]]}]`, `{"map":{"k":{"x":1}}}`, `{"\u0061":{"*":null}}`} {
		f.Add(s)
	}
	filter := compileText(f, shaped).Filter(model.ResolvedRoute{DryRun: []string{"validate"}}, true)
	f.Fuzz(func(t *testing.T, body string) {
		for _, target := range []string{"POST /v1/things", "POST /v1/others"} {
			r := request(target, body, "Content-Type: application/json")
			outcome(t, filter, r)
			for _, reason := range r.Trail[0].Reasons {
				for kind, list := range reason.Data {
					if kind == "drift" || kind == "in" || kind == "media" {
						continue
					}
					for path := range strings.SplitSeq(list, ",") {
						if !strings.HasPrefix(path, "/") || len(path) > (maxFieldDepth+1)*66 || strings.ContainsAny(path, " \"'@=:\n\x00") {
							t.Errorf("%s: noted %q", kind, path)
						}
					}
				}
			}
		}
	})
}

// BenchmarkShapes is what noting costs: of a body of 1 KiB with 64 fields, and of ten headers.
func BenchmarkShapes(b *testing.B) {
	text, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		b.Fatal(err)
	}
	api := compileText(b, strings.ReplaceAll(string(text), "additionalProperties: false", "description: open"))
	headers := []string{
		"Content-Type: application/json", "User-Agent: curl/8.5.0", "Accept: */*", "Accept-Encoding: gzip", "Accept-Language: en", "Sec-Fetch-Mode: cors",
		"Sec-Fetch-Site: same-origin", "Referer: https://shop.example/", "Cache-Control: no-cache", "Traceparent: 00-e9ef91dcc879494f102748e1180b0b7e-e66bf35c25979833-01",
	}
	for _, c := range []struct {
		name, more string
		shapes     bool
	}{{"off", "}", false}, {"declared", "}", true}, {"undeclared", `,"gift":true,"wrap":"red"}`, true}} {
		b.Run(c.name, func(b *testing.B) {
			f := api.Filter(model.ResolvedRoute{}, c.shapes)
			r := request("POST /api/v1/orders", kilobyte()+c.more, headers...)
			b.ReportAllocs()
			for b.Loop() {
				r.Trail[0].Reasons = nil
				if err := f.Filter(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
