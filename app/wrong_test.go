package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/token"
)

// wrong is a request that must be refused, and how.
type wrong struct {
	name   string
	method string // default GET
	path   string
	body   string
	header []string
	status int
	kind   string // slug of the problem
	also   string // header of the answer, "Name: value"
	h1     bool   // over HTTP/1.1 only: HTTP/2 cannot say it
}

// wrongRequests are those of one protocol: users are limited one by one, so each protocol has its own.
func (f *fleet) wrongRequests(protocol string) []wrong {
	customer := "Authorization: Bearer " + f.token("user-1/"+protocol, token.Claims{}, "customer")
	clerk := "Authorization: Bearer " + f.token("clerk-1", token.Claims{}, "clerk")
	admin := "Authorization: Bearer " + f.token("root-1", token.Claims{}, "admin")
	busy := "Authorization: Bearer " + f.token("busy-1/"+protocol, token.Claims{}, "customer")
	json := "Content-Type: application/json"
	order := `{"product": 1, "count": 1}`
	return []wrong{
		{name: "nobody signed in", path: "/orders", status: 401, kind: "unauthenticated", also: `Www-Authenticate: Bearer realm="shop"`},
		{name: "not a token", path: "/orders", header: []string{"Authorization: Bearer nonsense"}, status: 401, kind: "invalid-token"},
		{name: "another scheme", path: "/orders", header: []string{"Authorization: Basic dXNlcjpwYXNz"}, status: 401, kind: "invalid-token"},
		{name: "a forged token", path: "/orders", header: []string{customer[:len(customer)-8] + "AAAAAAAA"}, status: 401, kind: "invalid-token"},
		{name: "another role", path: "/orders", header: []string{clerk}, status: 403, kind: "forbidden"},
		{name: "a policy forbids", method: "DELETE", path: "/orders/1", header: []string{admin}, status: 403, kind: "forbidden"},
		{name: "SQL injection", path: "/catalog?max_cents=1%27%20OR%20%271%27=%271", status: 403, kind: "attack-detected"},
		{name: "script in a body", method: "POST", path: "/orders", body: `{"product": 1, "count": 1, "note": "<script>alert(1)</script>"}`, header: []string{customer, json}, status: 403, kind: "attack-detected"},
		{name: "no such path", path: "/nothing", status: 404, kind: "not-found"},
		{name: "no such host", path: "/", header: []string{"Host: other.localhost"}, status: 421, kind: "misdirected-request"},
		{name: "method of another route", method: "POST", path: "/catalog", status: 405, kind: "method-not-allowed", also: "Allow: GET"},
		{name: "unknown method", method: "BREW", path: "/catalog", status: 405, kind: "method-not-allowed"},
		{name: "body too large", method: "POST", path: "/orders", body: strings.Repeat("x", 2<<20), header: []string{customer, json}, status: 413, kind: "content-too-large"},
		{name: "target too long", path: "/catalog?x=" + strings.Repeat("x", 9<<10), status: 414, kind: "target-too-long"},
		{name: "not JSON", method: "POST", path: "/orders", body: "product=1", header: []string{customer, "Content-Type: application/x-www-form-urlencoded"}, status: 415, kind: "unsupported-media-type"},
		{name: "wrong type", method: "POST", path: "/orders", body: `{"product": "one", "count": 1}`, header: []string{customer, json}, status: 422, kind: "schema-violation"},
		{name: "undeclared field", method: "POST", path: "/orders", body: `{"product": 1, "count": 1, "price": 1}`, header: []string{customer, json}, status: 422, kind: "schema-violation"},
		{name: "wrong parameter", path: "/orders/zero", header: []string{customer}, status: 422, kind: "schema-violation"},
		{name: "broken JSON", method: "POST", path: "/orders", body: `{"product": 1,`, header: []string{customer, json}, status: 403, kind: "attack-detected"}, // the rule set refuses what it cannot read
		{name: "encoded slash", path: "/orders/..%2f1", status: 400, kind: "malformed-request"},
		{name: "dot segments", path: "/catalog/../orders", status: 400, kind: "malformed-request"},
		{name: "double encoding", path: "/catalog/%252e%252e", status: 400, kind: "malformed-request"},
		{name: "overlong UTF-8", path: "/catalog/%c0%ae", status: 400, kind: "malformed-request"},
		{name: "NUL", path: "/catalog/1%00", status: 400, kind: "malformed-request"},
		{name: "two Authorization fields", path: "/orders", header: []string{customer, clerk}, status: 400, kind: "malformed-request"},
		{name: "undeclared switch", path: "/catalog", header: []string{"Connection: Upgrade", "Upgrade: websocket"}, status: 400, kind: "malformed-request", h1: true},
		{name: "many headers", path: "/catalog", header: manyHeaders(150), status: 431, kind: "header-too-large"},
		{name: "more than the burst", method: "POST", path: "/orders", body: order, header: []string{busy, json}, status: 429, kind: "rate-limited", also: "Retry-After: "},
	}
}

func manyHeaders(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("X-Many-%d: x", i)
	}
	return out
}

// TestWrongRequests sends every wrong request over both protocols: each gets its problem document, and its
// record is found by the id in it.
func TestWrongRequests(t *testing.T) {
	f := startFleet(t, "rate: 30/1m, burst: 10", "rate: 20/1h, burst: 20")
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		c := f.Client(protocol == "HTTP/2.0")
		table := f.wrongRequests(protocol)
		for range 20 {
			f.Do(c, "GET", "/orders", "", table[len(table)-1].header[0])
		}
		for _, w := range table {
			if w.h1 && protocol != "HTTP/1.1" {
				continue
			}
			t.Run(protocol+"/"+w.name, func(t *testing.T) { f.refused(t, c, w, protocol) })
		}
	}
}

func (f *fleet) refused(t *testing.T, c *http.Client, w wrong, protocol string) {
	t.Helper()
	method := w.method
	if method == "" {
		method = http.MethodGet
	}
	req := f.Request(method, "/", w.body, w.header...)
	path, query, _ := strings.Cut(w.path, "?")
	req.URL = &url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Opaque: path, RawQuery: query} // as written, not as net/url would have it
	a := f.Send(c, req)
	if a.Proto != protocol {
		t.Errorf("answered over %s", a.Proto)
	}
	if a.StatusCode != w.status || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("status %d, %s, want %d\n%s", a.StatusCode, a.Header.Get("Content-Type"), w.status, a.Text)
	}
	p := a.Problem(t)
	if p.Type != "https://palisade.dev/problems/"+w.kind || p.Status != w.status || p.Title == "" {
		t.Errorf("problem %+v, want %s", p, w.kind)
	}
	if p.RequestID == "" || p.RequestID != a.ID() || p.Instance != "urn:uuid:"+p.RequestID {
		t.Errorf("request id %q in the document, %q in the header, instance %q", p.RequestID, a.ID(), p.Instance)
	}
	if p.Reasons != nil {
		t.Errorf("inner reasons told outside of dev mode: %v", p.Reasons)
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: %s", got)
	}
	name, value, _ := strings.Cut(w.also, ": ")
	if name != "" && !strings.HasPrefix(a.Header.Get(name), value) || name != "" && a.Header.Get(name) == "" {
		t.Errorf("%s: %q, want %q", name, a.Header.Get(name), value)
	}
	f.explained(t, a.ID(), false)
}
