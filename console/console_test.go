package console

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/model/plan"
	"github.com/palisade-security/palisade/policy"
	"github.com/palisade-security/palisade/store/events"
	"github.com/palisade-security/palisade/store/query"
)

// shop is a fleet with a store of its own, as the console sees it. What it decides is what it was told to.
type shop struct {
	snap  *model.Snapshot
	state State

	mu      sync.Mutex
	acts    []*event.Event
	applied []How
	hold    chan struct{} // applying waits for it; nil: it does not
}

func (s *shop) Model() (*model.Snapshot, *model.Fleet) { return s.snap, nil }

// Explain lets whatever was seen at the edge have led to all else.
func (s *shop) Explain(_ *event.Event, trace []*event.Event) Reasons {
	first := &Hop{}
	var way []*Hop
	for _, e := range trace {
		if e.Side == event.SideUnknown && first.Event == nil {
			first.Event, way = e, []*Hop{first}
		} else {
			first.Next = append(first.Next, &Hop{Event: e})
		}
	}
	return Reasons{Way: way, Policies: map[string]string{"orders.cedar#0": "permit(principal, action, resource);"}, Flips: []policy.Flip{{Text: "add the role finance", Position: "palisade.yaml:7:3"}}}
}

func (s *shop) Decide(_ context.Context, q *Question) (*event.Event, error) {
	if !strings.HasPrefix(q.Target, "/") {
		return nil, errors.New(q.Target + " is not a request")
	}
	e := &event.Event{Method: q.Method, Path: q.Target, Allowed: q.As == "user-1", Trail: []event.Stage{{Name: event.StageAuthorise, Outcome: event.OutcomePass, Reasons: []event.Reason{{Code: "permit", Policy: "orders.cedar#0"}}}}}
	if !e.Allowed {
		e.Trail[0].Outcome = event.OutcomeDeny
	}
	return e, nil
}

func (s *shop) State(context.Context) State { return s.state }

func (s *shop) Past(context.Context) ([]Past, error) {
	return []Past{{2, s.snap.Version, time.Now(), "alice", "now"}, {1, strings.Repeat("01234567", 8), time.Now().Add(-time.Hour), "bob", ""}}, nil
}

// Draft denies what the proposal says in its text.
func (s *shop) Draft(_ context.Context, _ Person, p *Proposal) (*Draft, error) {
	text := string(p.Document)
	if text == "broken" {
		return nil, &Refusal{"palisade.yaml:3:1: error: that is no model"}
	}
	d := &Draft{Document: p.Document, Version: p.Version, Plan: plan.Plan{Before: s.snap.Version, After: strings.Repeat("fedcba98", 8), Changes: []plan.Change{
		{Kind: plan.Widens, Key: "services.items.callers", Words: "web may call items", After: model.Position{File: "palisade.yaml", Line: 12, Column: 3}},
		{Kind: plan.MayWiden, Key: "policies.orders", Words: "the text changes"},
		{Kind: plan.Narrows, Key: "services.orders.callers", Words: "web may no longer call orders"},
	}}}
	if strings.Contains(text, "unknown") {
		d.Unused = "the events of the time are gone"
		return d, nil
	}
	d.Used = &Used{Since: time.Now().Add(-24 * time.Hour), Records: 1200}
	if strings.Contains(text, "denies") {
		d.Used.Denied = 17
		d.Used.Kinds = []UsedKind{{Denied: true, Count: 17, What: "GET orders /orders/{id}", Who: "by web", Now: "authorise: no-permit", Was: "authorise: permit", Samples: []string{"0198"}}}
	}
	return d, nil
}

func (s *shop) Apply(_ context.Context, by Person, d *Draft, how How) (*Applied, error) {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = append(s.applied, how)
	if how.Note == "refuse" {
		return nil, &Refusal{"another model came into force meanwhile, " + by.Name}
	}
	return &Applied{Outcome: "applied", Version: d.Plan.After, Trials: []Trial{{Name: "orders", Instance: "host-1", Verdict: "no more errors than before", Before: Rates{Requests: 10, Over: time.Second}}}}, nil
}

func (s *shop) record(_ context.Context, e *event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acts = append(s.acts, e)
}

func (s *shop) recorded() []*event.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acts
}

// newShop is a fleet whose events are those of the last half hour, and more.
func newShop(t *testing.T, more ...*event.Event) (*shop, *Console) {
	t.Helper()
	return newShopOf(t, nil, more...)
}

// newShopOf is newShop with another planner; nil: the shop's own.
func newShopOf(t *testing.T, planner Planner, more ...*event.Event) (*shop, *Console) {
	t.Helper()
	s := &shop{snap: shopModel()}
	s.state = State{
		Certificates: []Certificate{{"spiffe://shop.example/service/orders", time.Now().Add(time.Hour)}, {"shop.example", time.Now().Add(800 * time.Hour)}},
		Proxies:      []Proxy{{Name: "edge", Version: s.snap.Version, Current: true, Requests: 1234}, {Name: "orders", Instance: "host-1", Version: "0123456789abcdef", Problem: "its SVID has ended", Seen: time.Now(), Expires: time.Now()}},
	}
	store, _, err := events.Open(t.Context(), events.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Now()
	for _, e := range ofShop(eventtest.New(1, now.Add(-30*time.Minute), time.Second).Take(1500)) {
		if e.Time.Before(now) {
			more = append(more, e)
		}
	}
	if err := store.Append(t.Context(), more); err != nil {
		t.Fatal(err)
	}
	if planner == nil {
		planner = s
	}
	c, err := New(Options{Name: "shop", Hosts: []string{"console.localhost", "127.0.0.1"}, Events: store, Fleet: s, Planner: planner, Record: s.record})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return s, c
}

// ofShop gives the gateway of eventtest's fleet its own name.
func ofShop(all []*event.Event) []*event.Event {
	for _, e := range all {
		e.Workload = strings.Replace(e.Workload, "/service/edge", "/edge/edge", 1)
	}
	return all
}

// shopModel declares about what eventtest's fleet is.
func shopModel() *model.Snapshot {
	route := func(service, path string, methods ...string) model.ResolvedRoute {
		return model.ResolvedRoute{ID: service + " shop.example" + path, Service: service, Host: "shop.example", Path: path, Methods: methods, Allow: []model.ResolvedGrant{{Grant: model.Grant{Roles: []string{"customer"}}}}}
	}
	id := func(name string) string { return "spiffe://shop.example/service/" + name }
	return &model.Snapshot{
		Version: strings.Repeat("0badc0de", 8), Fleet: "shop", TrustDomain: "shop.example", Mesh: &model.ResolvedMesh{},
		Roles: []model.ResolvedRole{{Name: "customer", Includes: []string{"customer"}}, {Name: "admin", Includes: []string{"admin", "customer"}}},
		Services: []model.ResolvedService{
			{Name: "items", Owner: "team-goods", Address: "http://10.1.0.5:80", Data: []string{"public"}, Callers: []string{"orders", "web"}, ID: id("items")},
			{Name: "orders", Owner: "team-orders", Address: "http://10.1.0.6:80", Data: []string{"personal"}, ID: id("orders"), Limits: []model.Limit{{Per: "user", Rate: model.Rate{Count: 100, Window: time.Minute}}}},
			{Name: "payments", Owner: "team-money", Address: "http://10.1.0.8:80", Data: []string{"payment"}, Callers: []string{"orders"}, ID: id("payments")},
			{Name: "stock", Owner: "team-goods", Address: "http://10.1.0.9:80", Callers: []string{"orders"}, ID: id("stock")},
			{Name: "users", Owner: "team-orders", Address: "http://10.1.0.4:80", Data: []string{"personal"}, ID: id("users")},
			{Name: "web", Owner: "team-front", Address: "http://10.1.0.3:80", ID: id("web")},
		},
		Routes: []model.ResolvedRoute{
			route("items", "/items", "GET"), route("items", "/items/{id}", "GET"), route("orders", "/orders", "GET", "POST"), route("orders", "/orders/{id}", "DELETE", "GET"),
			route("users", "/users/{id}/profile", "GET"), route("web", "/", "GET"),
		},
		Policies: []model.PolicyFile{{Name: "policies/orders.cedar", Text: "permit(principal, action, resource);"}},
	}
}

// browser is one that trusts the console and keeps cookies.
type browser struct {
	t      *testing.T
	server *httptest.Server
	client *http.Client
	jar    *cookiejar.Jar
}

func newBrowser(t *testing.T, c *Console) *browser {
	t.Helper()
	server := httptest.NewTLSServer(c)
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	client.Jar, client.CheckRedirect = jar, func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS12
	return &browser{t, server, client, jar}
}

type answer struct {
	*http.Response
	body string
}

func (b *browser) do(method, path, form string, header ...string) *answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.server.URL+path, strings.NewReader(form))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return &answer{resp, string(data)}
}

// as signs in by a link.
func (b *browser) as(c *Console, role Role) {
	b.t.Helper()
	link, err := c.Link("alice", role)
	if err != nil {
		b.t.Fatal(err)
	}
	_, code, _ := strings.Cut(link, "#")
	if a := b.do("POST", "/sign-in", "code="+code); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/" {
		b.t.Fatalf("%d %s", a.StatusCode, a.body)
	}
}

func (b *browser) cookie() string {
	u, err := url.Parse(b.server.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.jar.Cookies(u) {
		if c.Name == sessionCookie {
			return c.Value
		}
	}
	return ""
}

// formToken is what forms of the signed-in browser carry.
func (b *browser) formToken() string {
	b.t.Helper()
	found := regexp.MustCompile(`name="token" value="([^"]+)"`).FindStringSubmatch(b.do("GET", "/proxies", "").body)
	if found == nil {
		b.t.Fatal("the page has no form")
	}
	return found[1]
}

func TestPages(t *testing.T) {
	_, c := newShop(t)
	b := newBrowser(t, c)
	b.as(c, Viewer)
	for path, want := range map[string]string{
		"/":                                "Traffic at the edge",
		"/?span=15m":                       "selected>last 15 minutes",
		"/events":                          "Newest events",
		"/events?q=outcome:denied":         "no-permit",
		"/events?q=service:orders&by=user": "user-",
		"/live":                            `id="live"`,
		"/map":                             `data-node="payments"`,
		"/map?focus=orders&steps=1":        `data-node="orders"`,
		"/map?blast=orders":                "If orders is taken",
		"/map?diff=1":                      "What changed since the time before",
		"/map?q=team-goods":                "Found:",
		"/services":                        "team-money",
		"/services?q=personal":             "2 services",
		"/services/orders":                 "100/1m per user",
		"/policies":                        "orders.cedar",
		"/policies?as=user-1&method=DELETE&target=/orders/7": "user-1 may DELETE /orders/7",
		"/policies?as=bob&method=DELETE&target=/orders/7":    "add the role finance",
		"/proxies": "its SVID has ended",
		"/model":   "needs the role admin",
	} {
		a := b.do("GET", path, "")
		if a.StatusCode != http.StatusOK || !strings.Contains(strings.Join(strings.Fields(a.body), " "), want) {
			t.Errorf("%s: %d, without %q:\n%s", path, a.StatusCode, want, a.body)
		}
	}
}

// TestServiceCounts: a request is counted once, though each proxy on its way has recorded it.
func TestServiceCounts(t *testing.T) {
	_, c := newShop(t)
	b := newBrowser(t, c)
	b.as(c, Viewer)
	seen := func(side string) int64 {
		where, err := query.Parse("service:web side:" + side)
		if err != nil {
			t.Fatal(err)
		}
		n, err := c.o.Events.Count(t.Context(), query.Query{From: time.Now().Add(-time.Hour), To: time.Now(), Where: where}, query.Service, 1)
		if err != nil {
			t.Fatal(err)
		}
		return n.Total
	}
	edge, inbound := seen("edge"), seen("inbound")
	if edge == 0 || inbound == 0 || seen("outbound") != 0 {
		t.Fatalf("%d at the edge, %d at web: this shows nothing", edge, inbound)
	}
	for _, path := range []string{"/services?q=web&span=1h", "/services/web?span=1h"} {
		a := b.do("GET", path, "")
		if !strings.Contains(a.body, fmt.Sprintf(`<td class="n">%d</td>`, edge)) {
			t.Errorf("%s: %d requests are not there:\n%s", path, edge, a.body)
		}
	}
	if a := b.do("GET", "/services/web?span=1h", ""); !strings.Contains(a.body, fmt.Sprintf(`edge <span class="soft">%d</span>`, inbound)) {
		t.Errorf("the edge's %d calls are not there:\n%s", inbound, a.body)
	}
}
