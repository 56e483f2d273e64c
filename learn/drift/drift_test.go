package drift_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/unified"
	"github.com/palisade-security/palisade/learn/drift"
	"github.com/palisade-security/palisade/model"
)

const shopYAML = `# What people order.
openapi: 3.0.3
info: {title: Orders, version: "1"}
servers: [{url: https://shop.example/v1}]
paths:
  # all of them
  /orders:
    get:
      parameters:
        - {name: page, in: query, schema: {type: integer}}
        - {name: sort, in: query, schema: {type: string}}
      responses: {"200": {description: mine}}
    post:
      requestBody:
        content:
          application/json:
            schema: {$ref: "#/components/schemas/Order"}
      responses:
        "201":
          description: the order

  # one of them
  /orders/{order}:
    parameters:
      - {name: order, in: path, required: true, schema: {type: integer}}
    get: {responses: {"200": {description: one}}}
  /export:
    post: {responses: {default: {description: done}}}
components:
  schemas:
    Line: {type: object, additionalProperties: false, properties: {sku: {type: string}}}
    Order:
      allOf:
        - $ref: "#/components/schemas/Base"
        - type: object
          properties:
            lines: {type: array, items: {$ref: "#/components/schemas/Line"}}
            either: {oneOf: [{type: object, properties: {a: {type: string}}}, {type: object, properties: {b: {type: string}}}]}
            # anything
            notes: {type: object}
    Base:
      type: object
      properties:
        id: {type: integer}
`

const jsonDocument = `{
  "openapi": "3.1.0",
  "info": {"title": "Stock", "version": "1"},
  "paths": {
    "/stock": {
      "get": {
        "responses": {
          "200": {
            "description": "all"
          }
        }
      }
    }
  }
}
`

func snapshot(documents map[string]string) *model.Snapshot {
	s := &model.Snapshot{TrustDomain: "shop.example"}
	for _, name := range []string{"orders.yaml", "stock.json"} {
		service, _, _ := strings.Cut(name, ".")
		s.Services = append(s.Services, model.ResolvedService{Name: service, API: []byte(documents[name]), APIFile: name})
	}
	s.Services = append(s.Services, model.ResolvedService{Name: "web"})
	return s
}

func declared() map[string]string {
	return map[string]string{"orders.yaml": shopYAML, "stock.json": jsonDocument}
}

func open(t testing.TB, documents map[string]string) *drift.Evidence {
	t.Helper()
	v, findings, err := drift.New(snapshot(documents), "")
	if err != nil {
		t.Fatal(err, findings)
	}
	return v
}

var start = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

// ok is a request at the edge that a service answered with success. Fields are noted as "media type=/path,/path".
func ok(service, target string, fields ...string) *event.Event {
	method, path, _ := strings.Cut(target, " ")
	path, query, _ := strings.Cut(path, "?")
	e := &event.Event{
		Time: start, ID: "0001", Service: service, Method: method, Path: path, Query: query, Allowed: true, Status: 200, UpstreamStatus: 200,
		User: &event.User{Provider: "dev", Subject: "somebody", Roles: []string{"customer"}}, Trail: []event.Stage{{Name: event.StageValidate, Outcome: event.OutcomePass}},
	}
	for _, f := range fields {
		in, list, _ := strings.Cut(f, " ")
		r := event.Reason{Code: "undeclared-field", Data: map[string]string{"in": "body", "media": in}}
		if in == "header" {
			r = event.Reason{Code: "undeclared-parameter", Data: map[string]string{"in": in, "names": list}}
			list = ""
		}
		for one := range strings.FieldsSeq(list) {
			kind, paths, _ := strings.Cut(one, "=")
			r.Data[kind] = paths
		}
		e.Trail[0].Reasons = append(e.Trail[0].Reasons, r)
	}
	return e
}

// traffic is what all tests look at.
func traffic() []*event.Event {
	const media = "application/json"
	call := ok("orders", "POST /v1/orders", media+" string=/gift")
	call.Side, call.Workload, call.User = event.SideInbound, "spiffe://shop.example/service/jobs", nil
	twice := ok("orders", "GET /v1/orders?twice=1")
	twice.Side, twice.Workload = event.SideInbound, "spiffe://shop.example/edge/edge"
	made := ok("orders", "POST /v1/orders", media+" object=/meta boolean=/gift null=/wrap string=/meta/a,/wrap,/* array=/tags integer=/tags/[],/lines/[]/count,/either/c", "header x-shop,x-4711888")
	made.Status, made.UpstreamStatus = 202, 202
	late := ok("orders", "DELETE /v1/orders/7")
	late.User, late.ID, late.Time = nil, "0002", start.Add(26*time.Hour)
	late.Status, late.UpstreamStatus = 204, 204
	return []*event.Event{
		ok("orders", "GET /v1/orders?page=1&limit=10&filter%5Ba%5D=x&someone%40example.com=1"), ok("orders", "HEAD /v1/orders?limit=all"), made, call, twice, late,
		ok("orders", "POST /v1/orders/7/refund?why=broken&full=true", media+" number=/amount object=/to string=/to/iban"),
		ok("orders", "POST /v1/orders/8/refund", media+" integer=/amount"), ok("orders", "GET /v1/invoices/550e8400-e29b-41d4-a716-446655440000/pdf"),
		ok("orders", "PURGE /v1/orders"), ok("orders", "GET /elsewhere"), ok("stock", "GET /stock?low=5"), ok("stock", "PUT /stock/4711", media+" integer=/count null=/place string=/place"),
		ok("web", "GET /anything"),
	}
}

// noise is what must never count.
func noise() (out []*event.Event) {
	for range 20 {
		e := ok("orders", "GET /v1/.env?cmd=id", "application/json string=/evil")
		switch len(out) % 10 {
		case 0:
			e.Allowed = false
		case 1:
			e.UpstreamStatus, e.Status = 404, 404
		case 2:
			e.UpstreamStatus, e.Status = 500, 500
		case 3:
			e.UpstreamStatus = 0 // the gateway's own answer
		case 4:
			e.Status = 502 // withheld
		case 5:
			e.Open = true
		case 6:
			e.UpstreamStatus, e.Status = 302, 302
		case 7:
			e.Side = event.SideOutbound
		case 8:
			e.Connection = &event.Connection{}
		default:
			e.Act = &event.Act{}
		}
		out = append(out, e)
	}
	return out
}

func lines(r *drift.Report) []string {
	var out []string
	for i := range r.Undocumented {
		u := &r.Undocumented[i]
		out = append(out, strings.Join(strings.Fields(fmt.Sprintf("%s %d %s %s %s %s %s %s", u.Service, u.Count, u.Kind, u.Method, u.Path, u.Name, strings.Join(u.Types, ","), u.Media)), " "))
	}
	slices.Sort(out)
	return out
}

func TestReport(t *testing.T) {
	v := open(t, declared())
	for _, e := range slices.Concat(noise(), traffic(), noise()) {
		v.Event(e)
	}
	r := v.Report(1)
	want := []string{
		"orders 1 endpoint DELETE /orders/{order}",
		"orders 1 endpoint GET /elsewhere",
		"orders 1 endpoint GET /invoices/{id}/pdf",
		"orders 1 endpoint PURGE /orders",
		"orders 2 endpoint POST /orders/{order}/refund",
		"orders 1 field POST /orders /* string application/json",
		"orders 1 field POST /orders /either/c integer application/json",
		"orders 1 field POST /orders /lines/[]/count integer application/json",
		"orders 1 field POST /orders /meta object application/json",
		"orders 1 field POST /orders /meta/a string application/json",
		"orders 1 field POST /orders /tags array application/json",
		"orders 1 field POST /orders /tags/[] integer application/json",
		"orders 1 field POST /orders /wrap null,string application/json",
		"orders 2 field POST /orders /gift boolean,string application/json",
		"orders 1 header POST /orders x-shop string",
		"orders 1 parameter GET /orders filter[a] string",
		"orders 2 parameter GET /orders limit integer,string",
		"orders 1 status POST /orders 200", "orders 1 status POST /orders 202",
		"stock 1 endpoint PUT /stock/{id}", "stock 1 parameter GET /stock low integer",
	}
	slices.Sort(want)
	if got := lines(r); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var unused []string
	for _, u := range r.Unused {
		unused = append(unused, strings.TrimSpace(string(u.Kind)+" "+u.Method+" "+u.Path+" "+u.Name)+" "+u.Position)
	}
	if want := []string{"endpoint POST /export orders.yaml:28:5", "parameter GET /orders sort orders.yaml:8:5", "endpoint GET /orders/{order} orders.yaml:26:5"}; !slices.Equal(unused, want) {
		t.Errorf("unused %q", unused)
	}
	if s := r.Services[0]; s.Requests != 10 || s.Hours != 2 || s.Days != 2 || s.Dropped != 1 || !s.First.Equal(start) {
		t.Errorf("%+v", s)
	}
	i := slices.IndexFunc(r.Undocumented, func(u drift.Undocumented) bool { return u.Name == "/gift" })
	if u := &r.Undocumented[i]; len(u.By) != 2 || u.By[0].Name != "customer of dev" || u.By[1].Name != "service jobs" || !slices.Equal(u.Samples, []string{"0001", "0001"}) {
		t.Errorf("%+v", u)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"somebody", "broken", "550e8400", "someone", "4711", "evil", ".env"} {
		if strings.Contains(string(text), value) {
			t.Errorf("%s is shown", value)
		}
	}
	if n := len(v.Report(2).Undocumented); n != 3 {
		t.Errorf("%d were seen twice", n)
	}
}

// TestPropose holds that the patch is the golden one, that git and patch apply it, and that nothing that was proposed drifts any more.
func TestPropose(t *testing.T) {
	v := open(t, declared())
	for _, e := range traffic() {
		v.Event(e)
	}
	r := v.Report(1)
	proposals, err := v.Propose(r)
	if err != nil || len(proposals) != 2 {
		t.Fatal(len(proposals), err)
	}
	left := map[string]string{}
	for i := range r.Undocumented {
		if u := &r.Undocumented[i]; !u.Proposed {
			left[strings.TrimSpace(u.Method+" "+u.Path+" "+u.Name)] = u.Why
		}
	}
	if len(left) != 4 || !strings.Contains(left["PURGE /orders"], "no operation") || !strings.Contains(left["GET /elsewhere"], "outside of /v1") ||
		!strings.Contains(left["POST /orders /*"], "look like values") || !strings.Contains(left["POST /orders /either/c"], "by hand") {
		t.Errorf("left %q", left)
	}
	patch := ""
	for i := range proposals {
		p := &proposals[i]
		patch += unified.Diff(p.Edited.File, string(p.Edited.Before), string(p.Edited.After))
	}
	golden(t, "patch", patch)
	overlay, err := json.MarshalIndent(proposals[0].Overlay(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "overlay.json", string(overlay)+"\n")

	for _, command := range [][]string{{"patch", "-p1", "--fuzz=0"}, {"git", "apply", "--whitespace=error"}} {
		after := apply(t, patch, command...)
		again := open(t, after)
		for _, e := range traffic() {
			again.Event(e)
		}
		still := again.Report(1)
		for i := range still.Undocumented {
			u := &still.Undocumented[i]
			if _, known := left[strings.TrimSpace(u.Method+" "+u.Path+" "+u.Name)]; !known {
				t.Errorf("%s: %s %s %s %s is still undocumented", command[0], u.Kind, u.Method, u.Path, u.Name)
			}
		}
		if p, err := again.Propose(still); err != nil || len(p) != 0 {
			t.Errorf("%d proposals again, %v", len(p), err)
		}
	}
}

// apply writes the documents into a folder, applies a patch there with a program, and reads them again.
func apply(t *testing.T, patch string, command ...string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range declared() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.CommandContext(t.Context(), command[0], command[1:]...)
	c.Dir, c.Stdin = dir, strings.NewReader("# words above it\n"+patch)
	c.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command[0], err, said)
	}
	after := map[string]string{}
	for name, before := range declared() {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(b) == before {
			t.Errorf("%s left %s as it was", command[0], name)
		}
		after[name] = string(b)
	}
	return after
}

var update = flag.Bool("update", false, "write what the code says into the golden files") //nolint:gochecknoglobals // a flag of go test

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is\n%s", name, got)
	}
}

func TestNew(t *testing.T) {
	if _, _, err := drift.New(snapshot(declared()), "web"); err == nil || !strings.Contains(err.Error(), "no service declares an API document") {
		t.Errorf("got %v", err)
	}
	broken := declared()
	broken["stock.json"] = "{}"
	if _, findings, err := drift.New(snapshot(broken), ""); err == nil || len(findings) == 0 {
		t.Errorf("got %v, %+v", err, findings)
	}
	if v, _, err := drift.New(snapshot(broken), "orders"); err != nil || len(v.Report(1).Services) != 1 {
		t.Errorf("got %v", err)
	}
}
