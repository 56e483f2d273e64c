package app_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/learn/drift"
	"github.com/palisade-security/palisade/token"
)

// TestDrift sends what its documents do not declare through a real fleet, and what is noise; finds the one and not the other; applies the
// patch with git, and finds nothing any more.
func TestDrift(t *testing.T) {
	f := newFleet(
		t, "path: /orders\n", "path: /orders\n        dry_run: [validate]\n", "path: /orders/{id}\n", "path: /orders/{id}\n        dry_run: [validate]\n",
		"rate: 30/1m, burst: 10", "rate: 1000/1m, burst: 1000",
	)
	f.Edit("openapi/orders.yaml", "    delete:\n      operationId: cancelOrder\n      responses: {\"204\": {description: cancelled}}\n", "")
	f.start()
	customer := "Authorization: Bearer " + f.token("user-1", token.Claims{Extra: map[string]any{"tenant": "blue"}}, "customer")
	admin := "Authorization: Bearer " + f.token("root-1", token.Claims{AMR: []string{"pwd", "mfa"}, Extra: map[string]any{"tenant": "blue"}}, "admin")
	const isJSON = "Content-Type: application/json"
	for _, ask := range []struct {
		target, body string
		header       []string
		status       int
	}{
		{"POST /orders", `{"product":1,"count":1,"gift":true,"wrap":{"paper":"crimson","folds":[3]},"4711-0815":"a"}`, []string{customer, isJSON}, 201},
		{"GET /orders?since=yesterday", "", []string{customer}, 200},
		{"GET /catalog?sort=cheap&sort=old&q=cup", "", []string{"X-Campaign: autumn-sale"}, 200},
		{"GET /catalog/1", "", nil, 200},
		{"DELETE /orders/1", "", []string{admin}, 204},
		// From here on noise: refused, unknown to the service, or an error of it.
		{"GET /orders?noise=1", "", nil, 401},
		{"GET /catalog/9999?noise=1", "", nil, 404},
		{"POST /catalog/1/noise", "{}", []string{isJSON}, 404},
		{"POST /orders", `{"product":9999,"count":1,"noise":1}`, []string{customer, isJSON}, 422},
	} {
		method, path, _ := strings.Cut(ask.target, " ")
		if a := f.Do(f.Client(false), method, path, ask.body, ask.header...); a.StatusCode != ask.status {
			t.Fatalf("%s: %d, expected %d: %s", ask.target, a.StatusCode, ask.status, a.Text)
		}
	}
	text := driftOf(t, f, true, &app.DriftQuery{}, "POST /orders", "GET /catalog sort", "DELETE /orders/{id}", "GET /orders since")
	for _, want := range []string{
		"drift catalog  ", "drift orders  ", "parameter GET /catalog sort (string)\n", "header    GET /catalog x-campaign (string)\n", "endpoint  DELETE /orders/{id}\n",
		"field     POST /orders /gift (boolean) in application/json\n", "field     POST /orders /wrap/folds/[] (integer) in", "by customer of dev 1×\n", "by admin", "by nobody signed in 1×\n",
		"field     POST /orders /* (string)", "not proposed: keys that look like values", "palisade explain 0", "documented, and not seen (", "parameter GET /catalog max_cents  ", "endpoint  PUT /catalog/{id}  ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	for _, never := range []string{"noise", "crimson", "cheap", "autumn", "yesterday", "4711"} {
		if strings.Contains(text, never) {
			t.Errorf("%q is in\n%s", never, text)
		}
	}

	t.Chdir(f.Dir)
	patch := driftOf(t, f, true, &app.DriftQuery{Patch: true})
	c := exec.CommandContext(t.Context(), "git", "apply")
	c.Stdin, c.Env = strings.NewReader(patch), append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(f.Dir))
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, said, patch)
	}
	f.reload <- struct{}{}
	after := time.Now()
	var left drift.Report
	o := *f.options
	var out bytes.Buffer
	o.Out, o.JSON = &out, true
	if _, err := app.Drift(t.Context(), &o, &app.DriftQuery{Span: app.Span{Until: after}}); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &left); err != nil || len(left.Undocumented) != 1 || left.Undocumented[0].Name != "/*" {
		t.Errorf("%v: left is\n%s", err, out.String())
	}
	out.Reset()
	if undocumented, err := app.Drift(t.Context(), &o, &app.DriftQuery{Service: "catalog", Patch: true, Span: app.Span{Until: after}}); err != nil || undocumented {
		t.Errorf("%v: of what is applied is left\n%s", err, out.String())
	}
	if !strings.Contains(f.Read("openapi/orders.yaml"), "    delete: {responses: {\"204\": {description: seen in traffic}}}\n") {
		t.Errorf("patched\n%s", f.Read("openapi/orders.yaml"))
	}
	f.Eventually("the patched document is in force", func() bool {
		a := f.Do(f.Client(false), http.MethodGet, "/catalog?sort=cheap", "")
		return a.StatusCode == http.StatusOK
	})
}

// driftOf is what the verb writes, once all that is wanted is in it: records come into the store a moment later.
func driftOf(t *testing.T, f *fleet, undocumented bool, q *app.DriftQuery, want ...string) string {
	t.Helper()
	text := ""
	f.Eventually("drift is recorded", func() bool {
		o := *f.options
		var out bytes.Buffer
		o.Out = &out
		got, err := app.Drift(t.Context(), &o, q)
		if text = out.String(); err != nil || got != undocumented {
			return false
		}
		for _, s := range want {
			if !strings.Contains(text, s) {
				return false
			}
		}
		return true
	})
	return text
}

// TestDriftNeeds says what is missing.
func TestDriftNeeds(t *testing.T) {
	f := newFleet(t)
	o := *f.options
	for want, q := range map[string]*app.DriftQuery{
		`there is no service "nobody"`:             {Service: "nobody"},
		"no service declares an API document":      {Service: "web"},
		"nothing is compared: no request that a d": {From: t.TempDir()},
	} {
		if _, err := app.Drift(t.Context(), &o, q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, expected %s", err, want)
		}
	}
}
