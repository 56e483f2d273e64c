package console

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/palisade-security/palisade/event"
)

// asks is one way to ask for each route.
var asks = []struct {
	method, path string
	open         bool
	needs        Role
	want         int
}{
	{"GET", "/static/console.css", true, "", http.StatusOK},
	{"GET", "/static/map.css", true, "", http.StatusOK},
	{"GET", "/static/icon.svg", true, "", http.StatusOK},
	{"GET", "/static/vendor/htmx.min.js", true, "", http.StatusOK},
	{"GET", "/static/vendor/manifest.json", true, "", http.StatusNotFound},
	{"GET", "/static/../console.go", true, "", http.StatusTemporaryRedirect},
	{"GET", "/sign-in?again=1", true, "", http.StatusOK},
	{"POST", "/sign-in", true, "", http.StatusForbidden},
	{"GET", "/sign-in/provider", true, "", http.StatusNotFound},
	{"GET", "/sign-in/callback", true, "", http.StatusNotFound},
	{"GET", "/", false, Viewer, http.StatusOK},
	{"GET", "/live", false, Viewer, http.StatusOK},
	{"GET", "/live/stream?q=(", false, Viewer, http.StatusBadRequest},
	{"GET", "/events", false, Viewer, http.StatusOK},
	{"GET", "/request/none", false, Viewer, http.StatusNotFound},
	{"GET", "/map", false, Viewer, http.StatusOK},
	{"GET", "/services", false, Viewer, http.StatusOK},
	{"GET", "/services/orders", false, Viewer, http.StatusOK},
	{"GET", "/policies", false, Viewer, http.StatusOK},
	{"GET", "/proxies", false, Viewer, http.StatusOK},
	{"GET", "/model", false, Viewer, http.StatusOK},
	{"POST", "/model/plan", false, Admin, http.StatusBadRequest},
	{"GET", "/model/draft/none", false, Admin, http.StatusNotFound},
	{"POST", "/model/draft/none/apply", false, Admin, http.StatusNotFound},
	{"GET", "/nothing", false, Viewer, http.StatusNotFound},
	{"POST", "/theme", false, Viewer, http.StatusSeeOther},
	{"POST", "/sign-out", false, Viewer, http.StatusSeeOther},
}

// TestEveryRoute asks for every route with every role and with none. A route that is not asked for here fails the test.
func TestEveryRoute(t *testing.T) {
	_, c := newShop(t)
	for _, r := range c.routes() {
		method, path, _ := strings.Cut(r.pattern, " ")
		asked := false
		for _, a := range asks {
			req, err := http.NewRequestWithContext(t.Context(), a.method, "https://console.localhost"+a.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			_, pattern := c.mux.Handler(req)
			asked = asked || pattern == r.pattern
		}
		if !asked {
			t.Errorf("%s %s is not tested", method, path)
		}
	}
	for _, role := range []Role{"", Viewer, Operator, Admin} {
		for _, a := range asks {
			b := newBrowser(t, c)
			form := ""
			if role != "" {
				b.as(c, role)
				if a.method == "POST" && !a.open {
					form = "token=" + b.formToken()
				}
			}
			got, want := b.do(a.method, a.path, form), a.want
			switch {
			case a.open || role.Permits(a.needs):
			case role != "":
				want = http.StatusForbidden
			case a.method == "POST":
				want = http.StatusUnauthorized
			default:
				want = http.StatusSeeOther // to the page where one signs in
			}
			if got.StatusCode != want {
				t.Errorf("%s %s as %q: got %d, expected %d", a.method, a.path, role, got.StatusCode, want)
			}
			if !a.open && role == "" && want == http.StatusSeeOther && got.Header.Get("Location") != "/sign-in" {
				t.Errorf("%s leads to %s", a.path, got.Header.Get("Location"))
			}
			headers(t, a.path, got)
		}
	}
}

// headers checks what every answer must say.
func headers(t *testing.T, path string, a *answer) {
	t.Helper()
	policy := a.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("%s: the policy lacks %s: %q", path, part, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("%s: the policy is not strict: %q", path, policy)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin"} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %s is %q", path, name, got)
		}
	}
	if cached := a.Header.Get("Cache-Control"); cached != "no-store" && !strings.HasPrefix(path, "/static/") {
		t.Errorf("%s may be kept: %q", path, cached)
	}
}

func TestOtherSites(t *testing.T) {
	shop, c := newShop(t)
	for _, tt := range []struct {
		name   string
		header []string
		token  bool
		want   int
	}{
		{"our form", []string{"Sec-Fetch-Site", "same-origin"}, true, http.StatusSeeOther},
		{"without its token", []string{"Sec-Fetch-Site", "same-origin"}, false, http.StatusForbidden},
		{"another site", []string{"Sec-Fetch-Site", "cross-site"}, true, http.StatusForbidden},
		{"a neighbour", []string{"Sec-Fetch-Site", "same-site"}, true, http.StatusForbidden},
		{"an old browser at another site", []string{"Origin", "https://evil.example"}, true, http.StatusForbidden},
		{"another name", []string{"Host", "evil.example"}, true, http.StatusMisdirectedRequest},
		{"another name that begins like ours", []string{"Host", "console.localhost.evil.example:443"}, true, http.StatusMisdirectedRequest},
		{"too much", []string{"X-Large", "1"}, true, http.StatusRequestEntityTooLarge},
	} {
		b := newBrowser(t, c)
		b.as(c, Admin)
		form := "theme=dark&back=/"
		if tt.token {
			form += "&token=" + b.formToken()
		}
		if tt.name == "too much" {
			form = strings.Repeat("x", maxForm+1) + "=&" + form
		}
		if a := b.do("POST", "/theme", form, tt.header...); a.StatusCode != tt.want {
			t.Errorf("%s: got %d, expected %d", tt.name, a.StatusCode, tt.want)
		}
	}
	b := newBrowser(t, c)
	if a := b.do("POST", "/sign-in", "code=x", "Sec-Fetch-Site", "cross-site"); a.StatusCode != http.StatusForbidden || b.cookie() != "" {
		t.Errorf("another site signs a browser in: %d", a.StatusCode)
	}
	for _, back := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, "evil", "javascript:alert(1)"} {
		b := newBrowser(t, c)
		b.as(c, Viewer)
		if a := b.do("POST", "/theme", "theme=dark&token="+b.formToken()+"&back="+back); a.Header.Get("Location") != "/" {
			t.Errorf("%q leads to %q", back, a.Header.Get("Location"))
		}
	}
	if len(shop.recorded()) == 0 {
		t.Error("no sign-in is recorded")
	}
}

func TestSession(t *testing.T) {
	shop, c := newShop(t)
	b := newBrowser(t, c)

	// A cookie that somebody else chose is not taken over.
	link, err := c.Link("alice", Viewer)
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(link, "#")
	a := b.do("POST", "/sign-in", "code="+code, "Cookie", sessionCookie+"=chosen-by-another")
	set := a.Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-palisade=", "Path=/", "HttpOnly", "Secure", "SameSite=Strict"} {
		if !strings.Contains(set, want) {
			t.Errorf("the cookie lacks %s: %s", want, set)
		}
	}
	if b.cookie() == "chosen-by-another" || b.cookie() == "" || strings.Contains(set, "Domain") {
		t.Errorf("got %q", set)
	}
	first := b.cookie()

	// The link worked once.
	if a := newBrowser(t, c).do("POST", "/sign-in", "code="+code); a.StatusCode != http.StatusForbidden {
		t.Errorf("a second time: %d", a.StatusCode)
	}

	// Signing in again ends the session from before.
	b.as(c, Admin)
	if b.cookie() == first {
		t.Error("another role has the same session")
	}
	if c.door.find(first, true, time.Now()) != nil {
		t.Error("the session from before lives on")
	}
	last := b.cookie()
	if a := b.do("POST", "/sign-out", "token="+b.formToken()); a.StatusCode != http.StatusSeeOther || b.cookie() != "" {
		t.Errorf("%d, cookie %q", a.StatusCode, b.cookie())
	}
	if c.door.find(last, true, time.Now()) != nil {
		t.Error("the session outlives signing out")
	}
	var told []string
	for _, e := range shop.recorded() {
		told = append(told, e.Act.Who+" "+e.Act.Role+" "+e.Act.Reason+" "+string(e.Act.Outcome))
		if e.Act.Kind != event.KindAdminister || e.Client == "" || strings.Contains(e.Act.Text, code) {
			t.Errorf("%+v", e.Act)
		}
	}
	want := "alice viewer console-sign-in done,  console-sign-in denied,alice admin console-sign-in done,alice admin console-sign-out done"
	if got := strings.ReplaceAll(strings.Join(told, ","), ",  ", ",  "); got != want {
		t.Errorf("got %q", got)
	}
}

// TestLives holds how long links and sessions last.
func TestLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		late, good := d.link("a", Viewer, time.Now()), d.link("b", Admin, time.Now().Add(time.Second))
		time.Sleep(LinkLife)
		if _, _, ok := d.redeem(late, "", time.Now()); ok {
			t.Error("an old link opens")
		}
		cookie, s, ok := d.redeem(good, "", time.Now())
		if !ok || s.who != "b" || s.role != Admin {
			t.Fatalf("%+v %v", s, ok)
		}
		time.Sleep(idleLife - time.Second)
		if d.find(cookie, false, time.Now()) == nil {
			t.Error("a session in use ends")
		}
		time.Sleep(time.Second)
		if d.find(cookie, true, time.Now()) != nil {
			t.Error("what a page asks by itself keeps a session alive")
		}
		cookie, _, _ = d.redeem(d.link("c", Viewer, time.Now()), "", time.Now())
		for range int(mostLife/(idleLife/2)) - 1 {
			time.Sleep(idleLife / 2)
			if d.find(cookie, true, time.Now()) == nil {
				t.Fatal("a session in use ends")
			}
		}
		time.Sleep(idleLife / 2)
		if d.find(cookie, true, time.Now()) != nil {
			t.Error("a session never ends")
		}
		for range 2 * mostLinks {
			d.link("many", Viewer, time.Now())
		}
		for range mostSessions + 10 {
			d.redeem(d.link("many", Viewer, time.Now()), "", time.Now())
		}
		if len(d.links) > mostLinks || len(d.sessions) > mostSessions {
			t.Errorf("%d links, %d sessions", len(d.links), len(d.sessions))
		}
	})
}
