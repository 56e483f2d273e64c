package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/internal/fleettest"
)

// webBrowser is signed in to a console by nothing but what it is told.
type webBrowser struct {
	t      *testing.T
	client *http.Client
	link   *url.URL
}

// newWebBrowser asks for a link to the console of what runs.
func newWebBrowser(t *testing.T, f *fleettest.Fleet, role string) *webBrowser {
	t.Helper()
	r := verb(t, nil, "console", "link", "--role="+role, f.Dir)
	link, err := url.Parse(strings.TrimSpace(r.out))
	if err != nil || link.Fragment == "" || r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: f.TLS(), DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", link.Port()))
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &webBrowser{t, &http.Client{Transport: transport, Jar: jar}, link}
}

func (b *webBrowser) ask(method, path, form string) (status int, body string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, "https://"+b.link.Host+path, strings.NewReader(form))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer.StatusCode, string(data)
}

// shows asks for pages, by what they must say.
func (b *webBrowser) shows(pages map[string]string) {
	b.t.Helper()
	for path, want := range pages {
		if status, body := b.ask("GET", path, ""); status != http.StatusOK || !strings.Contains(strings.Join(strings.Fields(body), " "), want) {
			b.t.Errorf("%s: %d, without %q:\n%s", path, status, want, body)
		}
	}
}

// TestUpConsole holds that a link of the terminal opens the console of a running fleet, once, and that it shows what happened.
func TestUpConsole(t *testing.T) {
	u := newUp(t, "", "")
	u.start()
	u.Eventually("the fleet serves", func() bool { return strings.Contains(u.Messages.String(), "The edge serves") })
	if out := u.Messages.String(); !strings.Contains(out, "https://console.localhost:") || strings.Contains(out, "/sign-in#") {
		t.Errorf("where no terminal is, no secret is printed; got\n%s", out)
	}
	b := newWebBrowser(t, u.Fleet, "viewer")
	if status, body := b.ask("GET", "/events", ""); status != http.StatusOK || !strings.Contains(body, "One-time code") {
		t.Errorf("without a session: %d %s", status, body)
	}
	if status, body := b.ask("POST", "/sign-in", "code="+b.link.Fragment); !strings.Contains(body, "Sign out") {
		t.Fatalf("%d %s", status, body)
	}
	if status, _ := b.ask("POST", "/sign-in", "code="+b.link.Fragment); status != http.StatusForbidden {
		t.Errorf("the link opens twice: %d", status)
	}
	u.Eventually("the store of events is open", func() bool { status, _ := b.ask("GET", "/", ""); return status == http.StatusOK })
	u.Edge, u.Host = u.addrs[0], "app.localhost"
	u.Do(u.Client(false), "GET", "/nowhere", "")
	var found string
	u.Eventually("the request is found", func() bool {
		_, body := b.ask("GET", "/events?q=path:/nowhere", "")
		_, rest, ok := strings.Cut(body, `href="/request/`)
		found, _, _ = strings.Cut(rest, `"`)
		return ok
	})
	b.shows(map[string]string{
		"/request/" + found:                               "no-route",
		"/policies?as=user-1&method=GET&target=/front":    "user-1 may GET /front",
		"/policies?as=user-1&method=DELETE&target=/front": "user-1 may not DELETE /front",
		"/map":            `data-node="back"`,
		"/map?blast=back": "If back is taken",
		"/services/front": "app.localhost",
		"/proxies":        "in this process",
		"/events?q=reason:console-sign-in+outcome:done": "console-sign-in",
		"/": "public/app.localhost",
	})
	if r := verb(t, nil, "console", "link", "--state="+u.Path("elsewhere")); r.code != exitError {
		t.Errorf("%+v", r)
	}
}

// TestControlConsole holds that control has a console if it is told to, and that who looks is recorded, and the link is not.
func TestControlConsole(t *testing.T) {
	d := newControl(t, "")
	d.start("control", "--console=127.0.0.1:0", d.Dir)
	d.Says("this control leads")
	b := newWebBrowser(t, d.Fleet, "operator")
	if status, body := b.ask("POST", "/sign-in", "code="+b.link.Fragment); !strings.Contains(body, "Sign out") {
		t.Fatalf("%d %s", status, body)
	}
	d.Eventually("the store of events is open", func() bool { status, _ := b.ask("GET", "/", ""); return status == http.StatusOK })
	b.shows(map[string]string{
		"/":         "intermediate authority",
		"/services": "payments",
		"/map":      `data-node="payments"`,
		"/policies?method=GET&target=https://web.localhost/": "may GET /",
		"/proxies": "None known",
	})
	d.Eventually("signing in is an event", func() bool {
		_, body := b.ask("GET", "/events?q=reason:console-sign-in", "")
		return strings.Contains(body, "console-sign-in")
	})
	if r := verb(t, nil, "history", "--acts", d.Dir); strings.Contains(r.out, b.link.Fragment) || !strings.Contains(r.out, "console") {
		t.Errorf("%+v", r)
	}
}
