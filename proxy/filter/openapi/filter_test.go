package openapi

import (
	"errors"
	"hash/maphash"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

// request makes a request as the canonicaliser would. Headers are "Name: value".
func request(target, body string, headers ...string) *proxy.Request {
	method, path, _ := strings.Cut(target, " ")
	path, query, _ := strings.Cut(path, "?")
	r := &proxy.Request{Method: method, Path: path, RawQuery: query, Trail: []event.Stage{{Name: event.StageValidate}}}
	for s := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		decoded, _ := url.PathUnescape(s)
		r.Segments = append(r.Segments, decoded)
	}
	if query != "" {
		for pair := range strings.SplitSeq(query, "&") {
			name, value, _ := strings.Cut(pair, "=")
			name, _ = url.QueryUnescape(name)
			value, _ = url.QueryUnescape(value)
			r.Query = append(r.Query, proxy.Param{Name: name, Value: value})
		}
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	r.Body = proxy.NewBody(strings.NewReader(body), int64(len(body)), 1<<20)
	return r
}

func compileFile(t testing.TB, name string) *API {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return compileText(t, string(text))
}

func compileText(t testing.TB, text string) *API {
	t.Helper()
	api, findings := Compile(model.ResolvedService{Name: "shop", API: []byte(text), APIFile: "shop.yaml"})
	if api == nil {
		t.Fatalf("not compiled: %+v", findings)
	}
	return api
}

// outcome is "" for a pass, else the slug and the reasons: code in/name/pointer.
func outcome(t testing.TB, f proxy.Filter, r *proxy.Request) string {
	t.Helper()
	err := f.Filter(t.Context(), r)
	if err == nil {
		return ""
	}
	var d *proxy.Denial
	if !errors.As(err, &d) {
		t.Fatalf("not a denial: %v", err)
	}
	out := d.Kind.Slug
	for _, reason := range d.Reasons {
		out += " " + reason.Code
		for _, key := range []string{"in", "name", "pointer"} {
			if v := reason.Data[key]; v != "" {
				out += ":" + v
			}
		}
	}
	return out
}

const order = `{"customer":"c","lines":[{"sku":"AB-1","count":1}]`

func TestRequests(t *testing.T) {
	f := compileFile(t, "shop.yaml").Filter(model.ResolvedRoute{}, true)
	const json = "Content-Type: application/json"
	const post = "POST /api/v1/orders"
	for _, tc := range []struct {
		target, body string
		headers      []string
		want         string
	}{
		{"GET /api/v1/orders", "", nil, ""},
		{"HEAD /api/v1/orders", "", nil, ""},
		{"GET /orders", "", nil, "undeclared-endpoint undeclared-endpoint"},
		{"GET /api/v1/orders/", "", nil, "undeclared-endpoint undeclared-endpoint"},
		{"PUT /api/v1/orders", "", nil, "undeclared-endpoint undeclared-endpoint"},
		{"GET /api/v1/orders?limit=10&status=open&since=2026-11-22T10:00:00Z", "", nil, ""},
		{"GET /api/v1/orders?limit=0", "", nil, "schema-violation parameter-invalid:query:limit"},
		{"GET /api/v1/orders?limit=ten", "", nil, "schema-violation parameter-invalid:query:limit"},
		{"GET /api/v1/orders?limit=1e1", "", nil, ""},
		{"GET /api/v1/orders?limit=1.5", "", nil, "schema-violation parameter-invalid:query:limit"},
		{"GET /api/v1/orders?limit=", "", nil, "schema-violation parameter-invalid:query:limit"},
		{"GET /api/v1/orders?limit=1&limit=2", "", nil, "schema-violation parameter-duplicate:query:limit"},
		{"GET /api/v1/orders?limit=1%5D", "", nil, "schema-violation parameter-invalid:query:limit"},
		{"GET /api/v1/orders?status=gone", "", nil, "schema-violation parameter-invalid:query:status"},
		{"GET /api/v1/orders?status=open%22", "", nil, "schema-violation parameter-invalid:query:status"},
		{"GET /api/v1/orders?since=yesterday", "", nil, "schema-violation parameter-invalid:query:since"},
		{"GET /api/v1/orders?tag=a&tag=b", "", nil, ""},
		{"GET /api/v1/orders?tag=a&tag=bbbbb", "", nil, "schema-violation parameter-invalid:query:tag:/1"},
		{"GET /api/v1/orders?tag=a&tag=b&tag=c&tag=d", "", nil, "schema-violation parameter-invalid:query:tag"},
		{"GET /api/v1/orders?ids=1,2,3", "", nil, ""},
		{"GET /api/v1/orders?ids=1,x", "", nil, "schema-violation parameter-invalid:query:ids:/1"},
		{"GET /api/v1/orders?ids=1&ids=2", "", nil, "schema-violation parameter-duplicate:query:ids"},
		{"GET /api/v1/orders?pipe=1%7C2", "", nil, ""},
		{"GET /api/v1/orders?filter[a]=1&filter[b]=2", "", nil, ""},
		{"GET /api/v1/orders?filter[a]=x", "", nil, "schema-violation parameter-invalid:query:filter:/a"},
		{"GET /api/v1/orders?filter[a]=1&filter[a]=2", "", nil, "schema-violation json-duplicate-key:query:filter"},
		{"GET /api/v1/orders?filter[z]=1", "", nil, "schema-violation parameter-invalid:query:filter:/z"},
		{"GET /api/v1/orders?flag=", "", nil, ""},
		{"GET /api/v1/orders?flag=maybe", "", nil, "schema-violation parameter-invalid:query:flag"},
		{"GET /api/v1/orders?either=3", "", nil, ""},
		{"GET /api/v1/orders?either=333", "", nil, ""},
		{"GET /api/v1/orders?either=33", "", nil, "schema-violation parameter-invalid:query:either"},
		{"GET /api/v1/orders?where=nope", "", nil, "schema-violation json-syntax:query:where"},
		{"GET /api/v1/orders?where=%7B%22x%22:1%7D", "", nil, ""},
		{"GET /api/v1/orders?where=%7B%22x%22:1,%22x%22:2%7D", "", nil, "schema-violation json-duplicate-key:query:where"},
		{"GET /api/v1/orders?where=%7B%7D", "", nil, "schema-violation parameter-invalid:query:where:/x"},
		{"GET /api/v1/orders?unknown=1", "", nil, ""},
		{"GET /api/v1/orders", "", []string{"Trace: 3e4666bf-d5e5-4aa7-b8ce-cefe41c7568a"}, ""},
		{"GET /api/v1/orders", "", []string{"trace: nope"}, "schema-violation parameter-invalid:header:trace"},
		{"GET /api/v1/orders", "", []string{"Cookie: a=b; must=yes"}, ""},
		{"GET /api/v1/orders", "", []string{"Cookie: a=b; must=y"}, "schema-violation parameter-invalid:cookie:must"},
		{"GET /api/v1/orders", "", []string{"Cookie: must=yes", "Cookie: must=no"}, "schema-violation parameter-duplicate:cookie:must"},
		{"GET /api/v1/orders", "x", nil, "schema-violation undeclared-body:body"},
		{"GET /api/v1/orders/7", "", nil, ""},
		{"GET /api/v1/orders/7%2F8", "", nil, "schema-violation parameter-invalid:path:id"},
		{"GET /api/v1/orders/99999999999", "", nil, "schema-violation parameter-invalid:path:id"},
		{"GET /api/v1/orders/search", "", nil, ""},
		{"DELETE /api/v1/orders/search?sure=true", "", nil, "undeclared-endpoint undeclared-endpoint"},
		{"DELETE /api/v1/orders/1", "", nil, "schema-violation parameter-missing:query:sure"},
		{"DELETE /api/v1/orders/x?sure=1", "", nil, "schema-violation parameter-invalid:query:sure parameter-invalid:path:id"},
		{"GET /api/v1/files/a.txt", "", nil, ""},
		{"GET /api/v1/files/a.b.txt", "", nil, "schema-violation parameter-invalid:path:ext"},
		{"GET /api/v1/files/.txt", "", nil, "undeclared-endpoint undeclared-endpoint"},

		{post, order + "}", []string{json}, ""},
		{post, order + "}", []string{"Content-Type: application/json; charset=UTF-8"}, ""},
		{post, order + `,"note":null,"price":0.03,"email":"a.b@example.org","day":"2026-11-22","ip":"192.0.2.1","home":"https://example.org/x?y#z","labels":{"a":"b"}}`, []string{json}, ""},
		{post, order + `,"note":1,"price":0.035,"email":"a","day":"2026-13-22","ip":"1.2.3","home":"x","labels":{"secretname":"toolong"}}`, []string{json}, "schema-violation body-invalid:body:/note body-invalid:body:/price body-invalid:body:/email body-invalid:body:/day body-invalid:body:/ip body-invalid:body:/home body-invalid:body:/labels/*"},
		{post, order + `,"price":0}`, []string{json}, "schema-violation body-invalid:body:/price"},
		{post, order + `,"id":"1"}`, []string{json}, "schema-violation body-invalid:body:/id"},
		{post, order + `,"admin":true,"4711":1}`, []string{json}, "schema-violation body-invalid:body:/admin body-invalid:body:/*"},
		{post, `{}`, []string{json}, "schema-violation body-invalid:body:/customer body-invalid:body:/lines"},
		{post, `{"customer":null,"lines":[]}`, []string{json}, "schema-violation body-invalid:body:/customer body-invalid:body:/lines"},
		{post, `{"customer":"c","lines":[{"sku":"AB-1","count":1},{"count":1.0,"sku":"AB-\u0031"}]}`, []string{json}, "schema-violation body-invalid:body:/lines"},
		{post, `{"customer":"c","lines":[{"sku":"ab","count":0}]}`, []string{json}, "schema-violation body-invalid:body:/lines/0/sku body-invalid:body:/lines/0/count"},
		{post, order + `,"customer":"d"}`, []string{json}, "schema-violation json-duplicate-key:body"},
		{post, order + `}{}`, []string{json}, "schema-violation json-trailing:body"},
		{post, strings.Repeat("[", 40), []string{json}, "schema-violation json-depth:body"},
		{post, ``, []string{json}, "schema-violation body-missing:body"},
		{post, order + "}", nil, "unsupported-media-type unsupported-media-type"},
		{post, order + "}", []string{"Content-Type: application/xml"}, "unsupported-media-type unsupported-media-type"},
		{post, order + "}", []string{json, json}, "unsupported-media-type unsupported-media-type"},
		{post, order + "}", []string{json, "Content-Encoding: gzip"}, "unsupported-media-type unsupported-media-type"},
		{post, order + "}", []string{"Content-Type: application/json; charset=utf-7"}, "unsupported-media-type unsupported-media-type"},
		{post, `{"any":1}`, []string{"Content-Type: application/merge-patch+json"}, ""},
		{post, `[]`, []string{"Content-Type: application/merge-patch+json"}, "schema-violation body-invalid:body"},
		{post, "n=1&l=true&l=false&s=1", []string{"Content-Type: application/x-www-form-urlencoded"}, ""},
		{post, "n=x&l=true&s=1", []string{"Content-Type: application/x-www-form-urlencoded"}, "schema-violation body-invalid:body:/n"},
		{post, "n=1&n=2", []string{"Content-Type: application/x-www-form-urlencoded"}, "schema-violation duplicate-field:body"},
		{post, "n=1&x=2", []string{"Content-Type: application/x-www-form-urlencoded"}, "schema-violation body-invalid:body:/x"},
		{post, "n=%zz", []string{"Content-Type: application/x-www-form-urlencoded"}, "schema-violation form-syntax:body"},
		{post, multi(`name="file"; filename="a"`, "\xff\x00", `name="n"`, "7", `name="meta"`, `{"k":"v"}`), []string{"Content-Type: multipart/form-data; boundary=B"}, ""},
		{post, multi(`name="file"; filename="a"`, "x", `name="n"`, "seven"), []string{"Content-Type: multipart/form-data; boundary=B"}, "schema-violation body-invalid:body:/n"},
		{post, multi(`name="file"; filename="a"`, "x", `name="meta"`, `{"k":"v"},"n":{`), []string{"Content-Type: multipart/form-data; boundary=B"}, "schema-violation json-trailing:body"},
		{post, multi(`name="n"`, "7"), []string{"Content-Type: multipart/form-data; boundary=B"}, "schema-violation body-invalid:body:/file"},
		{post, "--B\r\n", []string{"Content-Type: multipart/form-data; boundary=B"}, "schema-violation form-syntax:body"},
		{post, "hello", []string{"Content-Type: text/plain"}, ""},
		{post, "hello!", []string{"Content-Type: text/plain"}, "schema-violation body-invalid:body"},
		{post, "\xff\x00\xff", []string{"Content-Type: application/octet-stream"}, ""},
		{"PATCH /api/v1/orders/1", `{"kind":"round","r":1}`, []string{json}, ""},
		{"PATCH /api/v1/orders/1", `{"kind":"Square","a":1}`, []string{json}, ""},
		{"PATCH /api/v1/orders/1", `{"kind":"round","a":1}`, []string{json}, "schema-violation body-invalid:body:/r"},
		{"PATCH /api/v1/orders/1", `{"kind":"other","a":1}`, []string{json}, "schema-violation body-invalid:body:/kind"},
		{"PATCH /api/v1/orders/1", ``, nil, ""},
		{"POST /api/v1/tree", strings.Repeat(`{"next":`, 30) + "1" + strings.Repeat("}", 30), []string{json}, "schema-violation body-invalid:body"},
		{"POST /api/v1/tree", strings.Repeat(`{"z":1,"next":`, 30) + "1" + strings.Repeat(`,"x":1,"y":1}`, 30), []string{json}, "schema-violation too-complex:body"},
	} {
		if got := outcome(t, f, request(tc.target, tc.body, tc.headers...)); got != tc.want {
			t.Errorf("%s %.200q %q:\n got  %s\n want %s", tc.target, tc.body, tc.headers, got, tc.want)
		}
	}
}

func multi(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		b.WriteString("--B\r\nContent-Disposition: form-data; " + pairs[i] + "\r\n\r\n" + pairs[i+1] + "\r\n")
	}
	return b.String() + "--B--\r\n"
}

func TestNothingSubmittedIsRepeated(t *testing.T) {
	f := compileFile(t, "shop.yaml").Filter(model.ResolvedRoute{}, true)
	const secret = "hunter2hunter2hunter2hunter2"
	for _, r := range []*proxy.Request{
		request("GET /api/v1/orders?limit="+secret+"&status="+secret+"&tag="+secret+"&filter["+secret+"]="+secret, "", "Trace: "+secret),
		request("GET /api/v1/orders/"+secret, ""),
		request("POST /api/v1/orders", `{"customer":"`+secret+`","`+secret+`":"`+secret+`","labels":{"`+secret+`":"`+secret+`"},"lines":["`+secret+`"]}`, "Content-Type: application/json"),
		request("POST /api/v1/orders", secret, "Content-Type: application/json"),
		request("POST /api/v1/orders", "n="+secret+"&"+secret+"=1", "Content-Type: application/x-www-form-urlencoded"),
		request("POST /api/v1/orders", secret, "Content-Type: "+secret),
		request("POST /api/v1/"+secret, secret, "Content-Type: "+secret),
		request("PATCH /api/v1/orders/1", `{"kind":"`+secret+`"}`, "Content-Type: application/json"),
	} {
		err := f.Filter(t.Context(), r)
		var d *proxy.Denial
		if !errors.As(err, &d) {
			t.Fatalf("%s: %v", r.Path, err)
		}
		for _, reason := range d.Reasons {
			text := d.Detail + reason.Code + reason.Text
			for k, v := range reason.Data {
				text += k + v
			}
			if strings.Contains(text, secret) {
				t.Errorf("%s %s: the reason repeats what was sent: %+v", r.Method, r.Path, reason)
			}
		}
	}
}

func TestDrift(t *testing.T) {
	f := compileFile(t, "shop.yaml").Filter(model.ResolvedRoute{}, true)
	r := request("GET /api/v1/orders?utm=1&limit=5&utm=2&filter[a]=1&x%00y=1", "")
	if got := outcome(t, f, r); got != "" {
		t.Fatal(got)
	}
	reasons := r.Trail[0].Reasons
	if len(reasons) != 1 || reasons[0].Data["drift"] != "true" || reasons[0].Data["names"] != "utm,x?y" || reasons[0].Position != "shop.yaml:10:5" {
		t.Errorf("noted %+v", reasons)
	}
	err := f.Filter(t.Context(), request("GET /api/v1/secret", ""))
	var d *proxy.Denial
	if !errors.As(err, &d) || d.Reasons[0].Data["drift"] != "true" {
		t.Errorf("got %v", err)
	}
}

func TestBodyIsForwardedAsChecked(t *testing.T) {
	f := compileFile(t, "shop.yaml").Filter(model.ResolvedRoute{}, true)
	r := request("POST /api/v1/orders", order+"}", "Content-Type: application/json")
	if got := outcome(t, f, r); got != "" {
		t.Fatal(got)
	}
	if b, whole := r.Body.Buffered(); !whole || string(b) != order+"}" {
		t.Errorf("buffered %q, %t", b, whole)
	}
	r = request("POST /api/v1/orders", "raw", "Content-Type: application/octet-stream")
	if got := outcome(t, f, r); got != "" {
		t.Fatal(got)
	}
	if _, whole := r.Body.Buffered(); whole {
		t.Error("a body that is not looked into was buffered")
	}
	r = request("POST /api/v1/orders", order+"}", "Content-Type: application/json")
	r.Body = proxy.NewBody(strings.NewReader(order+"}"), -1, 10)
	if got := outcome(t, f, r); got != "content-too-large body-too-large" {
		t.Error(got)
	}
	r = request("GET /api/v1/orders", "")
	r.Body = proxy.NewBody(strings.NewReader(""), -1, 10)
	if got := outcome(t, f, r); got != "" {
		t.Error(got)
	}
}

func TestUniqueMany(t *testing.T) {
	n := compileSchema(t, "3.1.0", `{"uniqueItems":true}`)
	for _, tc := range []struct {
		last string
		want bool
	}{{`{"b":[null,true],"a":999}`, true}, {`{"b":[null,true],"a":7.0}`, false}, {`{"b":[true,null],"a":7}`, true}} {
		text := "["
		for i := range 200 {
			text += `{"a":` + strconv.Itoa(i) + `,"b":[null,true]},`
		}
		var d document
		if f := d.scan([]byte(text+tc.last+"]"), wide); f != nil {
			t.Fatal(f)
		}
		c := checker{document: &d, seed: maphash.MakeSeed()}
		if got, _ := c.judge(n); got != tc.want {
			t.Errorf("%s: %t, want %t", tc.last, got, tc.want)
		}
	}
}

func TestBounds(t *testing.T) {
	f := compileFile(t, "shop.yaml").Filter(model.ResolvedRoute{Validate: model.Validate{Depth: 3, Keys: 5, Items: 2, String: 10}}, true)
	for body, want := range map[string]string{
		order + "}":                      "",
		order + `,"note":"12345678901"}`: "schema-violation json-string:body",
		order + `,"a":1,"b":1}`:          "schema-violation json-keys:body",
		`{"lines":[1,2,3]}`:              "schema-violation json-items:body",
		`{"a":{"b":{"c":{}}}}`:           "schema-violation json-depth:body",
	} {
		if got := outcome(t, f, request("POST /api/v1/orders", body, "Content-Type: application/json")); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	f := compileFile(b, "shop.yaml").Filter(model.ResolvedRoute{}, true)
	r := request("GET /api/v1/orders?limit=10&status=open&since=2026-11-22T10:00:00Z", "")
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Filter(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

// kilobyte is an order of 1 KiB, without its last brace.
func kilobyte() string {
	var lines strings.Builder
	for i := range 31 {
		if i > 0 {
			lines.WriteByte(',')
		}
		lines.WriteString(`{"sku":"AB-1` + string(rune('0'+i/10)) + string(rune('0'+i%10)) + `","count":1}`)
	}
	return `{"customer":"somebody","lines":[` + lines.String() + `]`
}

func BenchmarkPost1KiB(b *testing.B) {
	f := compileFile(b, "shop.yaml").Filter(model.ResolvedRoute{}, true)
	body := kilobyte() + "}"
	r := request("POST /api/v1/orders", body, "Content-Type: application/json")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Filter(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
