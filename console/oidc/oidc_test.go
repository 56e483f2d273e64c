package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// issuer answers as a provider does, except where a test has it lie. Its ID token is the nonce that it was asked for.
type issuer struct {
	*httptest.Server
	t         *testing.T
	secret    string
	asked     int // for metadata
	metadata  map[string]any
	challenge string
	nonce     string
	answer    func(w http.ResponseWriter) bool // in place of the token; false: nothing was written
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t, metadata: map[string]any{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.asked++
		m := map[string]any{"issuer": i.URL, "authorization_endpoint": i.URL + "/auth?tenant=1", "token_endpoint": i.URL + "/token", "end_session_endpoint": i.URL + "/end"}
		maps.Copy(m, i.metadata)
		_ = json.NewEncoder(w).Encode(m)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if i.answer != nil && i.answer(w) {
			return
		}
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		id, secret, basic := r.BasicAuth()
		if !basic {
			id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
		}
		switch {
		case base64.RawURLEncoding.EncodeToString(sum[:]) != i.challenge, r.PostFormValue("code") != "good", r.PostFormValue("redirect_uri") != redirect, r.PostFormValue("grant_type") != "authorization_code":
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		case id != "console", i.secret != "" && secret != url.QueryEscape(i.secret) && basic, i.secret != secret && !basic:
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"id_token": i.nonce, "token_type": "Bearer"})
		}
	})
	i.Server = httptest.NewTLSServer(mux)
	t.Cleanup(i.Close)
	return i
}

const redirect = "https://console.example/sign-in/callback"

// provider trusts the issuer and believes of an ID token that it is its nonce.
func (i *issuer) provider() *Provider {
	client := i.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o := Options{Issuer: i.URL, ClientID: "console", Redirect: redirect, Scopes: []string{"roles"}, Client: client, Verify: func(_ context.Context, token string) (*Identity, error) {
		if token == "forged" {
			return nil, errors.New("bad-signature")
		}
		nonce, party, _ := strings.Cut(token, "|")
		return &Identity{Subject: "alice", Nonce: nonce, Party: party, Expires: time.Now().Add(time.Hour)}, nil
	}}
	if i.secret != "" {
		o.Secret = func() (string, error) { return i.secret, nil }
	}
	return New(o)
}

// begin sets out and returns what the browser holds, and the answer that it would bring.
func (i *issuer) begin(p *Provider, now time.Time) (flow string, answer url.Values) {
	i.t.Helper()
	flow, address, err := p.Begin(i.t.Context(), now)
	if err != nil {
		i.t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		i.t.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{"tenant": "1", "response_type": "code", "client_id": "console", "redirect_uri": redirect, "scope": "openid roles", "code_challenge_method": "S256"} {
		if q.Get(name) != want {
			i.t.Errorf("%s is %q", name, q.Get(name))
		}
	}
	i.challenge, i.nonce = q.Get("code_challenge"), q.Get("nonce")
	return flow, url.Values{"state": {q.Get("state")}, "code": {"good"}}
}

func TestSignIn(t *testing.T) {
	for name, tt := range map[string]struct {
		secret  string
		methods []string
	}{
		"public": {}, "basic": {secret: "a:b/c d%"}, "told basic": {"x", []string{"client_secret_post", "client_secret_basic"}}, "post": {"a&b=c", []string{"client_secret_post"}},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			i.secret = tt.secret
			if tt.methods != nil {
				i.metadata["token_endpoint_auth_methods_supported"] = tt.methods
			}
			p := i.provider()
			flow, answer := i.begin(p, time.Now())
			who, err := p.Finish(t.Context(), flow, answer, time.Now())
			if err != nil || who.Subject != "alice" {
				t.Fatalf("%+v %v", who, err)
			}
			if leave := p.Leave(); leave != i.URL+"/end?client_id=console" {
				t.Errorf("leave at %q", leave)
			}
		})
	}
}

// TestForeignAnswers brings answers that belong to somebody else, and tokens that do not belong to the answer.
func TestForeignAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(i *issuer, p *Provider, flow *string, answer url.Values, now *time.Time)
		want   string
	}{
		"no cookie":           {func(_ *issuer, _ *Provider, flow *string, _ url.Values, _ *time.Time) { *flow = "" }, "not begun in this browser"},
		"another's cookie":    {func(i *issuer, p *Provider, flow *string, _ url.Values, now *time.Time) { *flow, _ = i.begin(p, *now) }, "not begun in this browser"},
		"another state":       {func(_ *issuer, _ *Provider, _ *string, a url.Values, _ *time.Time) { a.Set("state", "x") }, "not begun in this browser"},
		"no state":            {func(_ *issuer, _ *Provider, _ *string, a url.Values, _ *time.Time) { a.Del("state") }, "not begun in this browser"},
		"two states":          {func(_ *issuer, _ *Provider, _ *string, a url.Values, _ *time.Time) { a.Add("state", a.Get("state")) }, "not begun in this browser"},
		"another process":     {func(i *issuer, p *Provider, _ *string, _ url.Values, _ *time.Time) { p.key = i.provider().key }, "not begun in this browser"},
		"too late":            {func(_ *issuer, _ *Provider, _ *string, _ url.Values, now *time.Time) { *now = now.Add(FlowLife) }, "too long ago"},
		"before it was begun": {func(_ *issuer, _ *Provider, _ *string, _ url.Values, now *time.Time) { *now = now.Add(-time.Minute) }, "not begun"},
		"a prolonged cookie": {func(_ *issuer, _ *Provider, flow *string, _ url.Values, now *time.Time) {
			*now = now.Add(FlowLife)
			*flow = strings.Split(*flow, ".")[0] + "." + "99999999999"
		}, "not begun in this browser"},
		"a broken cookie": {func(_ *issuer, _ *Provider, flow *string, _ url.Values, _ *time.Time) { *flow = "x.y.z" }, "not begun in this browser"},
		"another issuer": {func(_ *issuer, _ *Provider, _ *string, a url.Values, _ *time.Time) {
			a.Set("iss", "https://evil.example")
		}, "another issuer"},
		"an error":           {func(_ *issuer, _ *Provider, _ *string, a url.Values, _ *time.Time) { a.Set("error", "access_denied") }, "access_denied"},
		"an error in markup": {func(_ *issuer, _ *Provider, _ *string, a url.Values, _ *time.Time) { a.Set("error", "<script>") }, "for a reason of its own"},
		"no code":            {func(_ *issuer, _ *Provider, _ *string, a url.Values, _ *time.Time) { a.Del("code") }, "no code"},
		"two codes":          {func(_ *issuer, _ *Provider, _ *string, a url.Values, _ *time.Time) { a.Add("code", "good") }, "no code"},
		"a stolen code": {func(i *issuer, _ *Provider, _ *string, _ url.Values, _ *time.Time) {
			i.challenge = "of-another-browser"
		}, "invalid_grant"},
		"another nonce":  {func(i *issuer, _ *Provider, _ *string, _ url.Values, _ *time.Time) { i.nonce = "of-another-sign-in" }, "another sign-in"},
		"another client": {func(i *issuer, _ *Provider, _ *string, _ url.Values, _ *time.Time) { i.nonce += "|shop" }, "another client"},
		"a forged token": {func(i *issuer, _ *Provider, _ *string, _ url.Values, _ *time.Time) { i.nonce = "forged" }, "bad-signature"},
		"no token":       {func(i *issuer, _ *Provider, _ *string, _ url.Values, _ *time.Time) { i.nonce = "" }, "the provider answers 200"},
		"a redirect": {func(i *issuer, _ *Provider, _ *string, _ url.Values, _ *time.Time) {
			i.answer = func(w http.ResponseWriter) bool {
				w.Header().Set("Location", "https://evil.example/")
				w.WriteHeader(http.StatusTemporaryRedirect)
				return true
			}
		}, "the provider answers 307"},
		"an endless answer": {func(i *issuer, _ *Provider, _ *string, _ url.Values, _ *time.Time) {
			i.answer = func(w http.ResponseWriter) bool {
				_, _ = w.Write([]byte(strings.Repeat(" ", maxDocument+1)))
				return true
			}
		}, "answers more than"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			p := i.provider()
			now := time.Now()
			flow, answer := i.begin(p, now)
			tt.change(i, p, &flow, answer, &now)
			who, err := p.Finish(t.Context(), flow, answer, now)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v %v, expected %q", who, err, tt.want)
			}
		})
	}
	// An issuer that says so names itself in every answer (RFC 9207, section 2.4).
	i := newIssuer(t)
	i.metadata["authorization_response_iss_parameter_supported"] = true
	p := i.provider()
	flow, answer := i.begin(p, time.Now())
	if _, err := p.Finish(t.Context(), flow, answer, time.Now()); err == nil {
		t.Error("an answer without its issuer is believed")
	}
	answer.Set("iss", i.URL)
	if _, err := p.Finish(t.Context(), flow, answer, time.Now()); err != nil {
		t.Error(err)
	}
}

// TestMetadata refuses what would lead people or secrets elsewhere, and does not ask for it each time.
func TestMetadata(t *testing.T) {
	for name, change := range map[string]map[string]any{
		"another issuer":      {"issuer": "https://evil.example"},
		"plain authorization": {"authorization_endpoint": "http://idp.example/auth"},
		"a script":            {"authorization_endpoint": "javascript:alert(1)"},
		"plain token":         {"token_endpoint": "http://idp.example/token"},
		"no token":            {"token_endpoint": ""},
		"a plain end":         {"end_session_endpoint": "http://idp.example/end"},
		"a user":              {"token_endpoint": "https://a:b@idp.example/token"},
		"no PKCE":             {"code_challenge_methods_supported": []string{"plain"}},
		"no text":             {"issuer": 7},
	} {
		i := newIssuer(t)
		i.metadata = change
		p := i.provider()
		now := time.Now()
		for range 3 {
			if flow, address, err := p.Begin(t.Context(), now); err == nil {
				t.Errorf("%s: %s %s", name, flow, address)
			}
		}
		if i.asked != 1 {
			t.Errorf("%s: asked %d times at once", name, i.asked)
		}
		i.metadata = nil
		if _, _, err := p.Begin(t.Context(), now.Add(againTime)); err != nil {
			t.Errorf("%s: mended, but %v", name, err)
		}
		i.metadata = change // what was known stays in force
		if _, _, err := p.Begin(t.Context(), now.Add(2*metadataLife)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if i.asked != 3 {
			t.Errorf("%s: asked %d times", name, i.asked)
		}
	}
}

// TestGone holds that somebody who leaves while the provider is slow does not spoil it for others.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Issuer: "https://idp.example", Client: &http.Client{Transport: slow{}}})
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if _, _, err := p.Begin(ctx, time.Now()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if p.wrong != nil {
			t.Error("the provider is blamed")
		}
	})
}

type slow struct{}

func (slow) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func FuzzFinish(f *testing.F) {
	f.Add("AAAA.1795427553", "state=x&code=good")
	f.Add("", "error=access_denied&state=")
	f.Add(".", "iss=%00&state=a&state=b")
	p := New(Options{Issuer: "https://idp.example", ClientID: "console", Client: &http.Client{Transport: slow{}}})
	f.Fuzz(func(t *testing.T, flow, answer string) {
		v, err := url.ParseQuery(answer)
		if err != nil {
			return
		}
		if _, err := p.Finish(t.Context(), flow, v, time.Unix(1795427553, 0)); !errors.Is(err, ErrFlow) {
			t.Errorf("%q %q: %v", flow, answer, err)
		}
	})
}
