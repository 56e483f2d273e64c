package openapi

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"net/url"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

// schemas are JSON Schemas 2020-12 with values that probe them.
func schemas() map[string][]string {
	values := []string{`null`, `true`, `0`, `1`, `1.0`, `2.5`, `-3`, `1e2`, `"a"`, `""`, `"abc"`, `"é😀"`, `[]`, `[1]`, `[1,1.0]`, `[1,"a",null]`, `["a","a"]`, `[{"a":1,"b":2},{"b":2,"a":1.0}]`, `{}`, `{"a":1}`, `{"a":"x","b":2}`, `{"a":1,"b":2,"c":3}`, `{"x-a":1}`, `{"x-a":"s","c":null}`, `{"kind":"k","n":{"a":1}}`, `{"kind":"l","n":{"a":"s","b":[1,2]}}`}
	out := make(map[string][]string)
	for _, s := range []string{
		`{}`, `true`, `false`, `{"type":"integer"}`, `{"type":["string","null"]}`, `{"type":["integer","array"]}`, `{"type":"number","exclusiveMinimum":0,"maximum":2.5}`,
		`{"exclusiveMaximum":1,"minimum":-3}`, `{"multipleOf":0.5}`, `{"multipleOf":2}`, `{"minLength":2,"maxLength":2}`, `{"pattern":"^a"}`, `{"enum":[1,"a",null,[1],{"a":1}]}`,
		`{"const":1}`, `{"const":{"a":1}}`, `{"const":"a"}`, `{"minItems":1,"maxItems":2}`, `{"uniqueItems":true}`, `{"items":{"type":"integer"}}`, `{"items":false}`, `{"prefixItems":[{"type":"integer"},{"type":"string"}]}`,
		`{"prefixItems":[{"type":"integer"}],"items":{"type":"string"}}`, `{"contains":{"type":"string"}}`, `{"contains":{"type":"integer"},"minContains":2}`, `{"contains":{"type":"integer"},"minContains":0,"maxContains":1}`,
		`{"properties":{"a":{"type":"integer"}}}`, `{"properties":{"a":{"type":"integer"}},"additionalProperties":false}`, `{"properties":{"a":true},"additionalProperties":{"type":"integer"}}`, `{"required":["a","b"]}`,
		`{"minProperties":1,"maxProperties":2}`, `{"patternProperties":{"^x-":{"type":"string"}}}`, `{"patternProperties":{"^x-":true},"additionalProperties":false}`, `{"propertyNames":{"maxLength":1}}`,
		`{"dependentRequired":{"a":["b"]}}`, `{"dependentSchemas":{"a":{"required":["b"],"properties":{"a":{"type":"string"}}}}}`,
		`{"allOf":[{"type":"object"},{"required":["a"]}]}`, `{"anyOf":[{"type":"integer"},{"required":["c"],"type":"object"}]}`, `{"oneOf":[{"type":"integer"},{"type":"number","minimum":2}]}`, `{"not":{"type":"string"}}`, `{"not":{}}`,
		`{"if":{"type":"integer"},"then":{"minimum":1},"else":{"type":["object","null"]}}`, `{"if":{"required":["a"]},"then":{"required":["b"]}}`,
		`{"properties":{"a":true},"unevaluatedProperties":false}`, `{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":false}`, `{"anyOf":[{"required":["a"],"properties":{"a":{"type":"integer"}}},{"required":["b"],"properties":{"b":true}}],"unevaluatedProperties":false}`,
		`{"oneOf":[{"required":["c"],"properties":{"c":true}},{"not":{"required":["c"]},"properties":{"a":true}}],"unevaluatedProperties":{"type":"integer"}}`,
		`{"if":{"required":["a"],"properties":{"a":{"type":"integer"}}},"then":{"properties":{"b":true}},"unevaluatedProperties":false}`, `{"dependentSchemas":{"a":{"properties":{"a":true}}},"unevaluatedProperties":false}`,
		`{"allOf":[{"unevaluatedProperties":true}],"unevaluatedProperties":false}`, `{"patternProperties":{"^x":true},"unevaluatedProperties":false}`, `{"not":{"not":{"properties":{"a":true}}},"unevaluatedProperties":false}`,
		`{"prefixItems":[true],"unevaluatedItems":false}`, `{"contains":{"type":"integer"},"unevaluatedItems":{"type":"string"}}`, `{"allOf":[{"prefixItems":[{"type":"integer"}]}],"unevaluatedItems":false}`, `{"anyOf":[{"items":{"type":"integer"}},{"prefixItems":[true]}],"unevaluatedItems":false}`,
		`{"properties":{"kind":{"enum":["k","l"]},"n":{"type":"object","properties":{"a":{"type":["integer","string"]},"b":{"items":{"minimum":1}}}}},"required":["kind"]}`,
		`{"format":"int32","type":"integer"}`, `{"nullable":true,"type":"string"}`,
	} {
		out[s] = values
	}
	return out
}

// TestAgreesWithJSONSchema holds the checker against an independent implementation of JSON Schema 2020-12.
func TestAgreesWithJSONSchema(t *testing.T) {
	n := 0
	for text, values := range schemas() {
		compiled := compileSchema(t, "3.1.0", text)
		peer := peerSchema(t, text)
		for _, v := range values {
			var d document
			if f := d.scan([]byte(v), wide); f != nil {
				t.Fatalf("%s: %+v", v, f)
			}
			c := checker{document: &d, seed: maphash.MakeSeed()}
			got, _ := c.judge(compiled)
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(v))
			if err != nil {
				t.Fatal(err)
			}
			if want := peer.Validate(value) == nil; got != want {
				t.Errorf("%s with %s: %t, want %t", text, v, got, want)
			}
			if !got && len(c.out) == 0 {
				t.Errorf("%s with %s: refused without a violation", text, v)
			}
			n++
		}
	}
	t.Logf("%d schema and value pairs", n)
}

func peerSchema(t *testing.T, text string) *jsonschema.Schema {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("test:///s.json", v); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("test:///s.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// compileSchema loads a schema as the body of an operation.
func compileSchema(t testing.TB, version, schema string) *node {
	t.Helper()
	api := compileText(t, documentOf(version, schema))
	return api.root.literal["x"].item.operations["POST"].body.media[0].node
}

func documentOf(version, schema string) string {
	return `{"openapi":"` + version + `","info":{"title":"t","version":"1"},"paths":{"/x":{"post":{"requestBody":{"content":{"application/json":{"schema":` + schema + `}}},"responses":{"200":{"description":"ok"}}}}}}`
}

// TestAgreesWithLibrary holds the checker against the library's own on what OpenAPI 3.0 has for itself.
func TestAgreesWithLibrary(t *testing.T) {
	for _, text := range []string{
		`{"type":"string","nullable":true}`, `{"type":"integer","minimum":1,"exclusiveMinimum":true}`, `{"type":"number","maximum":2.5,"exclusiveMaximum":true}`,
		`{"type":"object","nullable":true,"required":["a"],"properties":{"a":{"type":"integer"}}}`, `{"type":"object","required":["a","b"],"properties":{"a":{"type":"integer","readOnly":true},"b":{}}}`,
		`{"type":"array","items":{"type":"integer"},"uniqueItems":true}`, `{"type":"object","additionalProperties":{"type":"integer"},"maxProperties":2}`, `{"type":"integer","format":"int32"}`,
	} {
		compiled := compileSchema(t, "3.0.3", text)
		var s openapi3.Schema
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		for _, v := range append(schemas()["{}"], `4294967296`, `9223372036854775808`) {
			var d document
			if f := d.scan([]byte(v), wide); f != nil {
				t.Fatalf("%s: %+v", v, f)
			}
			c := checker{document: &d, seed: maphash.MakeSeed()}
			got, _ := c.judge(compiled)
			var value any
			if err := json.NewDecoder(bytes.NewReader([]byte(v))).Decode(&value); err != nil {
				t.Fatal(err)
			}
			if want := s.VisitJSON(value, openapi3.VisitAsRequest()) == nil; got != want {
				t.Errorf("%s with %s: %t, the library says %t", text, v, got, want)
			}
		}
	}
}

func TestFormats(t *testing.T) {
	for name, values := range map[string][2][]string{
		"date-time":     {{"2026-11-22T10:00:00Z", "2026-11-22T10:00:00.123+01:00", "2016-12-31T23:59:60Z"}, {"2026-11-22", "2026-11-22 10:00:00Z", "2026-02-30T10:00:00Z", "2026-11-22T10:00:00", "2026-11-22T1:00:00Z", "2026-11-22T10:00:00,5Z", "2026-11-22T10:00:60Z"}},
		"date":          {{"2024-02-29"}, {"2023-02-29", "2024-2-9", "20240229", "2024-02-29T"}},
		"time":          {{"10:00:00Z", "10:00:00.5+01:00"}, {"10:00", "25:00:00Z"}},
		"uuid":          {{"3e4666bf-d5e5-4aa7-b8ce-cefe41c7568a", "00000000-0000-0000-0000-000000000000"}, {"3e4666bfd5e54aa7b8cecefe41c7568a", "3e4666bf-d5e5-4aa7-b8ce-cefe41c7568", "3e4666bf-d5e5-4aa7-b8ce-cefe41c7568g", "{3e4666bf-d5e5-4aa7-b8ce-cefe41c7568a}"}},
		"email":         {{"a@b", "a.b+c@example.org"}, {"a", "@b", "a@", "a@b@c", "a..b@c", "a b@c", "a@b\r\nBcc: x"}},
		"hostname":      {{"a", "a-b.example"}, {"", "-a", "a_b", "a..b", "a.", strings.Repeat("a", 64)}},
		"ipv4":          {{"192.0.2.1"}, {"192.0.2", "192.0.2.256", "::1", "010.0.0.1"}},
		"ipv6":          {{"::1", "2001:db8::1"}, {"192.0.2.1", "fe80::1%eth0", ":::"}},
		"uri":           {{"https://a/b?c#d", "urn:x:y"}, {"/a", "a b", "https://a b", "http://é", "://"}},
		"uri-reference": {{"/a", "a?b", ""}, {"a b", "%zz"}},
		"byte":          {{"", "YQ==", "YQ", "-_8="}, {"a", "Y Q=", "é", "YQ\n=="}},
	} {
		f := formatOf(name)
		for _, v := range values[0] {
			if !f.text(v) {
				t.Errorf("%s refuses %q", name, v)
			}
		}
		for _, v := range values[1] {
			if f.text(v) {
				t.Errorf("%s accepts %q", name, v)
			}
		}
	}
}

func TestFindings(t *testing.T) {
	valid := documentOf("3.1.0", `{}`)
	for name, tc := range map[string]struct{ doc, code, where string }{
		"not a document":     {`hello`, "api-unreadable", ""},
		"empty":              {`{}`, "api-version", ""},
		"version 2":          {`{"swagger":"2.0","info":{"title":"t","version":"1"},"paths":{}}`, "api-version", ""},
		"file reference":     {strings.Replace(valid, `"schema":{}`, `"schema":{"$ref":"/etc/passwd"}`, 1), "external-reference", ""},
		"network reference":  {strings.Replace(valid, `"schema":{}`, `"schema":{"$ref":"http://192.0.2.1/x.json#/a"}`, 1), "external-reference", ""},
		"dangling reference": {strings.Replace(valid, `"schema":{}`, `"schema":{"$ref":"#/components/schemas/No"}`, 1), "api-unreadable", ""},
		"lookahead":          {documentOf("3.0.3", `{"type":"string","pattern":"^(?=a)"}`), "unsupported-pattern", ""},
		"dynamic reference":  {documentOf("3.1.0", `{"$dynamicRef":"#x"}`), "unsupported-keyword", ""},
		"type array in 3.0":  {documentOf("3.0.3", `{"type":["string","null"]}`), "api-invalid", ""},
		"unknown type":       {documentOf("3.0.3", `{"type":"text"}`), "api-invalid", ""},
		"no info":            {`{"openapi":"3.0.3","paths":{}}`, "api-invalid", ""},
		"place in YAML":      {"openapi: 3.0.3\ninfo: {title: t, version: '1'}\npaths:\n  /x:\n    get:\n      parameters:\n        - name: q\n          in: query\n          schema:\n            type: string\n            pattern: '(?!a)'\n      responses: {'200': {description: ok}}\n", "unsupported-pattern", "9:11"},
	} {
		t.Run(name, func(t *testing.T) {
			api, findings := Compile(model.ResolvedService{Name: "s", API: []byte(tc.doc), APIFile: "api.yaml"})
			if api != nil || len(findings) == 0 {
				t.Fatalf("compiled: %+v", findings)
			}
			f := findings[0]
			if f.Code != tc.code || f.Severity != model.Error || f.Position.File != "api.yaml" {
				t.Errorf("got %+v, want %s", f, tc.code)
			}
			if tc.where != "" && positionText(f.Position) != "api.yaml:"+tc.where {
				t.Errorf("at %s, want %s", positionText(f.Position), tc.where)
			}
		})
	}
}

func TestModernDocument(t *testing.T) {
	f := compileFile(t, "modern.yaml").Filter(model.ResolvedRoute{}, true)
	const json = "Content-Type: application/json"
	for body, want := range map[string]string{
		`{"name":null,"kind":"a","list":[1,"x"]}`:          "",
		`{"name":"n","kind":"a","list":[1,"x"],"tail":[]}`: "",
		`{"name":1,"kind":"a"}`:                            "schema-violation body-invalid:body:/name",
		`{"name":"n","kind":"b"}`:                          "schema-violation body-invalid:body:/kind",
		`{"name":"n","kind":"a","list":["x",1]}`:           "schema-violation body-invalid:body:/list/0 body-invalid:body:/list/1",
		`{"name":"toolongname","kind":"a"}`:                "schema-violation body-invalid:body:/name",
		`{"name":"n","kind":"a","extra":1}`:                "schema-violation body-invalid:body:/extra",
		`{"name":"n","kind":"a","child":{"name":2}}`:       "schema-violation body-invalid:body:/child/kind body-invalid:body:/child/name",
		`{"name":"n","kind":"a","code":50}`:                "schema-violation body-invalid:body:/code",
		`{"name":"n","kind":"a","card":"1"}`:               "schema-violation body-invalid:body:/billing",
	} {
		if got := outcome(t, f, request("POST /things", body, json)); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	if got := outcome(t, f, request("GET /things?page=null", "")); got != "" {
		t.Errorf("a nullable parameter: %s", got)
	}
}

// FuzzValidate sends hostile requests: whatever they hold, the answer is a pass or a denial.
func FuzzValidate(f *testing.F) {
	f.Add("GET", "/api/v1/orders", "limit=10&tag=a&filter[a]=1&where={}&ids=1,2", "", "")
	f.Add("POST", "/api/v1/orders", "", "application/json", order+"}")
	f.Add("POST", "/api/v1/orders", "", "application/x-www-form-urlencoded", "n=1&l=true")
	f.Add("POST", "/api/v1/orders", "", "multipart/form-data; boundary=B", multi(`name="file"; filename="a"`, "x", `name="meta"`, `{"k":"v"}`))
	f.Add("PATCH", "/api/v1/orders/1", "", "application/json", `{"kind":"round","r":1}`)
	f.Add("POST", "/api/v1/tree", "", "application/json", `{"x":1,"next":{"y":1,"next":{"z":1}}}`)
	f.Add("GET", "/api/v1/files/a.b.txt", "", "", "")
	old, modern := compileFile(f, "shop.yaml").Filter(model.ResolvedRoute{}, true), compileFile(f, "modern.yaml").Filter(model.ResolvedRoute{}, true)
	f.Fuzz(func(t *testing.T, method, path, query, contentType, body string) {
		if _, err := url.ParseRequestURI(path); err != nil || strings.Contains(path, "?") {
			return
		}
		for _, filter := range []proxy.Filter{old, modern} {
			outcome(t, filter, request(method+" "+path+"?"+query, body, "Content-Type: "+contentType, "Cookie: "+query, "Trace: "+body))
		}
	})
}

// FuzzCompile reads hostile documents: they compile or are refused with findings.
func FuzzCompile(f *testing.F) {
	f.Add(documentOf("3.0.3", `{"type":"object","properties":{"a":null},"allOf":[null]}`))
	f.Add(documentOf("3.1.0", `{"$ref":"#/paths/~1x/post/requestBody/content/application~1json/schema"}`))
	f.Add(`{"openapi":"3.1.0","info":{"title":"t","version":"1"},"servers":[null],"paths":{"/x":null,"/{a}{b}":{"get":null},"/y":{"get":{"parameters":[null],"requestBody":{"content":{"a/b":null}}}}},"components":{"securitySchemes":{"a":null}}}`)
	f.Add("openapi: 3.0.0\npaths: {/x: &a {get: *a}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		api, findings := Compile(model.ResolvedService{Name: "s", API: []byte(text)})
		if api == nil && len(findings) == 0 {
			t.Fatal("refused without a finding")
		}
		if api != nil {
			outcome(t, api.Filter(model.ResolvedRoute{}, true), request("POST /x?a=1", `{"a":1}`, "Content-Type: application/json"))
		}
	})
}
