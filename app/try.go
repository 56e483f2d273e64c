package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
	"github.com/palisade-security/palisade/proxy/engine"
	"github.com/palisade-security/palisade/proxy/gate"
)

// Attempt is a request to decide about without sending it.
type Attempt struct {
	Method  string
	Target  string // path and query, or a whole URL
	As      string // subject; empty: nobody signed in
	Roles   []string
	Scopes  []string
	Claims  map[string]any
	ACR     string   // authentication context class
	AMR     []string // authentication methods
	Header  []string // "Name: value"
	Body    string
	Address string // client address; default 127.0.0.1
}

// ParseAttempt reads "GET /orders/1", "GET https://host/path" or just "/path".
func ParseAttempt(s string) (method, target string, err error) {
	method, target, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok {
		method, target = http.MethodGet, method
	}
	target = strings.TrimSpace(target)
	if !strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "https://") {
		return "", "", fmt.Errorf("%q is not a request; write 'GET /orders/1' or 'GET https://host/orders/1'", s)
	}
	return strings.ToUpper(method), target, nil
}

// Try decides about a request on the model as it stands in the files, sending nothing.
func Try(ctx context.Context, o *Options, a *Attempt) (*Explanation, []model.Finding, error) {
	_, snap, findings, err := o.load(true)
	if err != nil {
		return nil, findings, err
	}
	x, more, err := tryOn(ctx, snap, a)
	return x, append(findings, more...), err
}

// tryOn decides about a request on a model, sending nothing.
func tryOn(ctx context.Context, snap *model.Snapshot, a *Attempt) (*Explanation, []model.Finding, error) {
	b, err := gate.NewBuilder()
	if err != nil {
		return nil, nil, err
	}
	user, err := a.user(snap)
	if err != nil {
		return nil, nil, err
	}
	g, findings, err := b.Build(ctx, snap, &given{user: user})
	if err != nil {
		return nil, findings, err
	}
	hr, err := a.request(ctx, snap)
	if err != nil {
		return nil, findings, err
	}
	en := engine.New(discard{})
	en.Swap(g.Table)
	return explain(en.Decide(httptest.NewRecorder(), hr), snap), findings, nil
}

// request is the attempt as the front would see it. Without a host, the model's only one is meant, or the
// first that exposes the path.
func (a *Attempt) request(ctx context.Context, snap *model.Snapshot) (*http.Request, error) {
	target, host := a.Target, ""
	if strings.HasPrefix(target, "https://") {
		u, err := url.Parse(target)
		if err != nil {
			return nil, fmt.Errorf("reading the request: %w", err)
		}
		host = u.Host
		target = strings.TrimPrefix(target, "https://"+u.Host)
		if target == "" {
			target = "/"
		}
	}
	if host == "" {
		host = hostFor(snap, target)
	}
	if host == "" {
		return nil, errors.New("the model exposes no host; add services.<name>.expose")
	}
	// The target goes in as written: the canonicaliser judges it, not this client.
	hr, err := http.NewRequestWithContext(ctx, a.Method, "https://"+host+"/", bytes.NewReader([]byte(a.Body)))
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	hr.RequestURI, hr.Host = target, host
	hr.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, ServerName: bareHost(host)}
	address := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if a.Address != "" {
		if address, err = netip.ParseAddr(a.Address); err != nil {
			return nil, fmt.Errorf("%q is not a client address; write 203.0.113.7 or 2001:db8::7", a.Address)
		}
	}
	hr.RemoteAddr = netip.AddrPortFrom(address, 40000).String()
	hr.Header.Set("User-Agent", "palisade-try")
	hr.Header.Set("Accept", "*/*")
	if a.Body != "" {
		hr.Header.Set("Content-Type", "application/json")
		hr.Header.Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	for _, line := range a.Header {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("%q is not a header; write 'Name: value'", line)
		}
		hr.Header.Set(name, strings.TrimSpace(value))
	}
	return hr, nil
}

func bareHost(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return host
}

func hostFor(snap *model.Snapshot, target string) string {
	path, _, _ := strings.Cut(target, "?")
	first := ""
	for _, r := range snap.Routes {
		host := strings.Replace(r.Host, "*", "any", 1)
		if first == "" {
			first = host
		}
		if r.Path == path {
			return host
		}
	}
	return first
}

// user is whom the attempt names, as a verified token of the first provider would.
func (a *Attempt) user(snap *model.Snapshot) (*proxy.User, error) {
	if a.As == "" {
		if len(a.Roles) > 0 {
			return nil, errors.New("--role needs --as: a role belongs to a user")
		}
		return nil, nil
	}
	u := &proxy.User{Subject: a.As, Scopes: a.Scopes, Claims: a.Claims, ACR: a.ACR, AMR: a.AMR, ClientID: "palisade-try"}
	if len(snap.Providers) > 0 {
		u.Provider, u.Issuer = snap.Providers[0].Name, snap.Providers[0].Issuer
	}
	for _, name := range a.Roles {
		i := slices.IndexFunc(snap.Roles, func(r model.ResolvedRole) bool { return r.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("role %q is not declared; the model has %s", name, roleNames(snap))
		}
		u.Roles = append(u.Roles, snap.Roles[i].Includes...)
	}
	slices.Sort(u.Roles)
	u.Roles = slices.Compact(u.Roles)
	return u, nil
}

func roleNames(snap *model.Snapshot) string {
	names := make([]string, len(snap.Roles))
	for i, r := range snap.Roles {
		names[i] = r.Name
	}
	return strings.Join(names, ", ")
}

// given is the authenticator of an attempt: it believes what it is told.
type given struct{ user *proxy.User }

// ForRoute signs the given user in, and refuses nobody on routes that need somebody.
func (g *given) ForRoute(r model.ResolvedRoute) proxy.Filter {
	return proxy.FilterFunc(func(_ context.Context, req *proxy.Request) error {
		req.User = g.user
		if g.user == nil && !r.Anonymous {
			return &proxy.Denial{Kind: proxy.KindUnauthenticated, Reasons: []event.Reason{{Code: "no-token", Text: "the route needs a signed-in user; try --as user-1 --role …"}}}
		}
		return nil
	})
}

// discard records nothing.
type discard struct{}

// Durable does nothing.
func (discard) Durable(context.Context, *event.Event) error { return nil }

// Observe does nothing.
func (discard) Observe(*event.Event) {}
