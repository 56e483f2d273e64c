package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/internal/fleettest"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/replay"
	"github.com/palisade-security/palisade/store/journal"
	"github.com/palisade-security/palisade/token"
)

// tenants reads claims, scopes and circumstances of users.
const tenants = `
@id("no-guests")
forbid (principal is User, action, resource in Service::"orders")
when { principal.claims has tenant && principal.claims.tenant == "guest" };

@id("writers-have-the-scope")
forbid (principal is User, action in Action::"write", resource in Service::"catalog")
unless { principal.scopes.contains("catalog:write") && context.authenticated };
`

const replayed = 1200

// TestReplay records thousands of varied requests of a real fleet and decides them again under the same model, and under others.
func TestReplay(t *testing.T) {
	f := newFleet(t)
	f.Write("policies/tenants.cedar", tenants)
	f.Edit("palisade.yaml", "path: /catalog, allow: [{anyone: true, methods: [GET]}]}", "path: /catalog, dry_run: [limit], limits: [{per: address, rate: 100/1m, burst: 50}], allow: [{anyone: true, methods: [GET]}]}")
	f.start()
	askVaried(f, replayed)
	f.stop()
	<-f.done
	events := recordsOf(t, f)
	if len(events) < replayed {
		t.Fatalf("%d decisions of %d requests", len(events), replayed)
	}

	t.Run("same model", func(t *testing.T) { sameModel(t, f, events) })
	t.Run("claims that nobody read", func(t *testing.T) {
		with := f.other(t)
		with.Edit("palisade.yaml", "claims: {tenant: string}", "claims: {tenant: string, level: long}")
		with.Write("policies/level.cedar", `forbid (principal is User, action, resource in Service::"orders") unless { principal.claims has level && principal.claims.level > 1 };`)
		r := replayOf(t, f, with.Dir)
		if n := countOf(r.Unknown, "claim level: no policy read it then"); n == 0 || r.Denied != 0 || r.Allowed != 0 {
			t.Errorf("%d unknown, %d newly denied, %d newly allowed: %+v", n, r.Denied, r.Allowed, r.Unknown)
		}
	})
	t.Run("narrower", func(t *testing.T) {
		with := f.other(t)
		with.Edit("palisade.yaml", "{roles: [clerk], methods: [PUT]}", "{roles: [admin], methods: [PUT]}", "allow: [{roles: [customer], methods: [GET, POST]}]", "allow: [{roles: [customer], methods: [GET]}]", "callers: [web, orders]", "callers: [web]")
		r := replayOf(t, f, with.Dir)
		wantChange(t, r, replay.NewlyDenied, "edge", "POST", "/orders", "method-not-declared")
		wantChange(t, r, replay.NewlyDenied, "edge", "PUT", "/catalog/{id}", "no-permit")
		wantChange(t, r, replay.NewlyDenied, "inbound", "GET", "/**", "undeclared-call")
		wantChange(t, r, replay.NewlyDenied, "outbound", "GET", "/**", "call-not-declared")
		if r.Allowed != 0 {
			t.Errorf("%d newly allowed", r.Allowed)
		}
	})
	t.Run("wider", func(t *testing.T) {
		with := f.other(t)
		with.Edit("palisade.yaml", "{roles: [admin], methods: [DELETE]}", "{roles: [customer], methods: [DELETE]}", "path: /orders\n        allow: [{roles: [customer], methods: [GET, POST]}]", "path: /orders\n        dry_run: [validate, inspect]\n        allow: [{anyone: true, methods: [GET, POST]}]")
		with.Write("policies/orders.cedar", "")
		r := replayOf(t, f, with.Dir)
		wantChange(t, r, replay.NewlyAllowed, "edge", "DELETE", "/orders/{id}", "permit")
		wantChange(t, r, replay.NewlyAllowed, "edge", "GET", "/orders", "permit")
		wantChange(t, r, replay.NewlyAllowed, "edge", "POST", "/orders", "permit")
		if r.Denied != 0 {
			t.Errorf("%d newly denied", r.Denied)
		}
	})
	t.Run("the verb", func(t *testing.T) { replayVerb(t, f) })
}

// sameModel holds that the same model decides the same: the outcome, the stage, the code, the policy and its place.
func sameModel(t *testing.T, f *fleet, events []*event.Event) {
	rp := replayWith(t, f.Dir)
	outcomes := map[string]int{}
	for _, e := range events {
		o, err := rp.Decide(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if o.Unknown != "" || o.Was != o.Now {
			t.Errorf("%s %s %s: unknown %q\nwas %+v\nnow %+v", e.ID, e.Method, e.Path, o.Unknown, o.Was, o.Now)
		}
		switch {
		case o.Kept != "":
			outcomes["kept"]++
		case o.Was.Allowed:
			outcomes["allowed"]++
		default:
			outcomes[o.Was.Stage]++
		}
		if e.DryRun {
			outcomes["dry run"]++
		}
		if e.Side != event.SideUnknown {
			outcomes[e.Side.String()]++
		}
	}
	t.Logf("%d decisions: %v", len(events), outcomes)
	for _, of := range []string{
		"kept", "allowed", event.StageRoute, event.StageAuthenticate, event.StageAuthorise, event.StageInspect, event.StageValidate,
		event.StageLimitPrincipal, "dry run", "inbound", "outbound",
	} {
		if outcomes[of] == 0 {
			t.Errorf("no record of the kind %s", of)
		}
	}
}

// replayVerb looks at what people are shown.
func replayVerb(t *testing.T, f *fleet) {
	with := f.other(t)
	with.Edit("palisade.yaml", "{roles: [clerk], methods: [PUT]}", "{roles: [admin], methods: [PUT]}")
	var out bytes.Buffer
	o := *f.options
	o.Out = &out
	narrows, err := app.Replay(t.Context(), &o, &app.ReplayQuery{Model: with.Dir})
	if err != nil || !narrows {
		t.Fatalf("%v, %v", narrows, err)
	}
	for _, want := range []string{"newly denied", "PUT catalog /catalog/{id}", "clerk of dev", "authorise: no-permit", "was authorise: permit", "newly allowed 0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	out.Reset()
	o.JSON = true
	narrows, err = app.Replay(t.Context(), &o, &app.ReplayQuery{From: f.Path(".palisade"), Span: app.Span{Since: time.Now().Add(time.Hour)}})
	var r replay.Report
	if err2 := json.Unmarshal(out.Bytes(), &r); err != nil || err2 != nil || narrows || r.Records != 0 {
		t.Errorf("%v, %v, %v: %+v", narrows, err, err2, r)
	}
	if _, err := app.Replay(t.Context(), &o, &app.ReplayQuery{From: t.TempDir() + "/none"}); err == nil || !strings.Contains(err.Error(), "no record in") {
		t.Errorf("got %v", err)
	}
}

// askVaried sends n requests of all sorts.
func askVaried(f *fleet, n int) {
	tenant := func(name, subject string, scopes []string, amr []string, roles ...string) string {
		return "Authorization: Bearer " + f.token(subject, token.Claims{Extra: map[string]any{"tenant": name}, Scopes: scopes, AMR: amr}, roles...)
	}
	users := []string{
		"", "", "Authorization: Basic eDp5", "Authorization: Bearer e30.e30.e30",
		tenant("blue", "user-1", nil, []string{"pwd"}, "customer"), tenant("guest", "user-2", nil, nil, "customer"),
		tenant("blue", "clerk-1", []string{"catalog:write"}, nil, "clerk"), tenant("red", "clerk-2", []string{"openid"}, nil, "clerk"),
		tenant("blue", "root-1", nil, []string{"mfa"}, "admin"), tenant("blue", "root-2", nil, []string{"pwd"}, "admin"),
		tenant("blue", "nobody-1", nil, nil), tenant("blue", "money-1", nil, nil, "finance"),
	}
	for i := range 30 {
		users = append(users, tenant("blue", fmt.Sprintf("user-%d", 10+i), nil, nil, "customer"))
	}
	asked := []struct{ method, path, body string }{
		{"GET", "/", ""},
		{"GET", "/catalog", ""},
		{"GET", "/catalog/1", ""},
		{"PUT", "/catalog/1", `{"name": "cup", "cents": 300, "stock": 2}`},
		{"GET", "/orders", ""},
		{"POST", "/orders", `{"product": 1, "count": 1}`},
		{"POST", "/orders", `{"product": "x"}`},
		{"GET", "/orders/1", ""},
		{"DELETE", "/orders/1", ""},
		{"GET", "/orders/%31", ""},
		{"GET", "/nothing", ""},
		{"POST", "/catalog", "{}"},
		{"GET", "/catalog?q=1'%20OR%20'1'='1", ""},
		{"GET", "/catalog/%2e%2e/x", ""},
		{"OPTIONS", "/orders", ""},
		{"HEAD", "/catalog", ""},
		{"GET", "/orders/1?secret=x", ""},
	}
	var g sync.WaitGroup
	for worker := range 8 {
		g.Go(func() {
			c, r := f.Client(worker%2 == 0), rand.New(rand.NewPCG(uint64(worker), 5))
			for range n / 8 {
				a := asked[r.IntN(len(asked))]
				header := []string{users[r.IntN(len(users))]}
				if header[0] == "" {
					header = nil
				}
				if a.body != "" {
					header = append(header, "Content-Type: application/json")
				}
				req := f.Request(a.method, a.path, a.body, header...)
				answer, err := c.Do(req)
				if err != nil {
					f.T.Error(err)
					return
				}
				_ = answer.Body.Close() // what is answered is not looked at
			}
		})
	}
	g.Wait()
	f.Do(f.Client(false), http.MethodGet, "/", "", "Transfer-Encoding: x")
}

// recordsOf are the decisions that a fleet has recorded.
func recordsOf(t *testing.T, f *fleet) (out []*event.Event) {
	t.Helper()
	for rec, err := range journal.Read(f.Path(".palisade/events"), 0) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Parse(rec.Data)
		if err != nil {
			t.Fatal(err)
		}
		if replay.Decidable(e) {
			out = append(out, e)
		}
	}
	return out
}

// replayWith decides under the model in a folder.
func replayWith(t *testing.T, dir string) *replay.Replay {
	t.Helper()
	d, findings, err := model.Load(dir)
	if err != nil || model.HasErrors(findings) {
		t.Fatal(err, findings)
	}
	snap, findings := d.Compile(model.Options{Development: true, Elsewhere: true, Getenv: func(string) (string, bool) { return "", false }})
	if model.HasErrors(findings) {
		t.Fatal(findings)
	}
	rp, findings, err := replay.New(t.Context(), snap)
	if err != nil {
		t.Fatal(err, findings)
	}
	return rp
}

func replayOf(t *testing.T, f *fleet, dir string) *replay.Report {
	t.Helper()
	events := recordsOf(t, f)
	r, err := replayWith(t, dir).Run(t.Context(), func(yield func(*event.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, c := range r.Kept {
		kept += c.Count
	}
	if r.Records != len(events) || r.Same+r.Denied+r.Allowed+kept+r.NotDecided() != r.Records {
		t.Errorf("%d records of %d: %d the same, %d and %d changed, %d kept, %d unknown", r.Records, len(events), r.Same, r.Denied, r.Allowed, kept, r.NotDecided())
	}
	return r
}

func wantChange(t *testing.T, r *replay.Report, newly, side, method, template, code string) {
	t.Helper()
	for _, c := range r.Changes {
		if c.Newly == newly && c.What.Side == side && c.What.Method == method && c.What.Template == template && c.Now.Code == code {
			if c.Count == 0 || len(c.Samples) == 0 || c.First.After(c.Last) {
				t.Errorf("got %+v", c)
			}
			return
		}
	}
	text, _ := json.MarshalIndent(r.Changes, "", " ")
	t.Errorf("no %s %s %s %s for %s in\n%s", newly, side, method, template, code, text)
}

func countOf(all []replay.Count, why string) int {
	for _, c := range all {
		if c.Why == why {
			return c.Count
		}
	}
	return 0
}

// other is the model in another folder.
func (f *fleet) other(t *testing.T) *fleettest.Fleet {
	t.Helper()
	out := fleettest.New(t)
	for _, name := range []string{"palisade.yaml", "policies/orders.cedar", "policies/tenants.cedar", "openapi/orders.yaml", "openapi/catalog.yaml"} {
		out.Write(name, f.Read(name))
	}
	return out
}
