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
)

// TestUpConsole holds that a link of the terminal opens the console of a running fleet, once, and that it shows what happened.
func TestUpConsole(t *testing.T) {
	u := newUp(t, "", "")
	u.start()
	u.Eventually("the fleet serves", func() bool { return strings.Contains(u.Messages.String(), "The edge serves") })
	if out := u.Messages.String(); !strings.Contains(out, "https://console.localhost:") || strings.Contains(out, "/sign-in#") {
		t.Errorf("where no terminal is, no secret is printed; got\n%s", out)
	}
	r := verb(t, nil, "console", "link", "--role=viewer", u.Dir)
	link, err := url.Parse(strings.TrimSpace(r.out))
	if err != nil || link.Fragment == "" || r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: u.TLS(), DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", link.Port()))
	}}
	defer transport.CloseIdleConnections()
	browser := &http.Client{Transport: transport, Jar: jar}
	ask := func(method, path, form string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+link.Host+path, strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	if status, body := ask("GET", "/events", ""); status != http.StatusOK || !strings.Contains(body, "One-time code") {
		t.Errorf("without a session: %d %s", status, body)
	}
	if status, body := ask("POST", "/sign-in", "code="+link.Fragment); !strings.Contains(body, "Sign out") {
		t.Fatalf("%d %s", status, body)
	}
	u.Eventually("the store of events is open", func() bool { status, _ := ask("GET", "/", ""); return status == http.StatusOK })
	if status, _ := ask("POST", "/sign-in", "code="+link.Fragment); status != http.StatusForbidden {
		t.Errorf("the link opens twice: %d", status)
	}
	u.Edge, u.Host = u.addrs[0], "app.localhost"
	u.Do(u.Client(false), "GET", "/nowhere", "")
	var found string
	u.Eventually("the request is found", func() bool {
		_, body := ask("GET", "/events?q=path:/nowhere", "")
		_, rest, ok := strings.Cut(body, `href="/request/`)
		found, _, _ = strings.Cut(rest, `"`)
		return ok
	})
	for path, want := range map[string]string{
		"/request/" + found:                               "no-route",
		"/policies?as=user-1&method=GET&target=/front":    "user-1 may GET /front",
		"/policies?as=user-1&method=DELETE&target=/front": "user-1 may not DELETE /front",
		"/map":            `data-node="back"`,
		"/map?blast=back": "If back is taken",
		"/services/front": "app.localhost",
		"/proxies":        "in this process",
		"/events?q=reason:console-sign-in+outcome:done": "console-sign-in",
		"/": "public/app.localhost",
	} {
		if status, body := ask("GET", path, ""); status != http.StatusOK || !strings.Contains(strings.Join(strings.Fields(body), " "), want) {
			t.Errorf("%s: %d, without %q:\n%s", path, status, want, body)
		}
	}
	if r := verb(t, nil, "console", "link", "--state="+u.Path("elsewhere")); r.code != exitError {
		t.Errorf("%+v", r)
	}
}
